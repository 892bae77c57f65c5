import { isJoint } from '../operators/step.js';
import type { Checker } from './check_result.js';
import { repair, sound } from './check_result.js';

/** Leaves a joint configuration that an operator left behind: it tolerates fewer failures than either half. */
export const jointChecker: Checker = {
  name: 'joint',
  check: (_context, shard) =>
    isJoint(shard)
      ? repair(shard, 'leave-joint', 'a joint configuration was left behind', [{ kind: 'leaveJoint' }])
      : sound,
};
