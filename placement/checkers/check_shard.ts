import type { CheckResult, Checker } from './check_result.js';
import { blocked, sound } from './check_result.js';
import { checkJoint } from './joint_checker.js';
import { checkLabels } from './label_checker.js';
import { checkLearners } from './learner_checker.js';
import { checkReplicas } from './replica_checker.js';

/**
 * The first finding is worked on, the next one when it is done. Learners come before voters, because one that was left
 * behind may be the voter that is missing.
 */
const checkers: readonly Checker[] = [checkJoint, checkLearners, checkReplicas, checkLabels];

/** Looks at one shard. A shard without a leader cannot be repaired: its group must elect one first. */
export const checkShard: Checker = (view, shard, loads): CheckResult => {
  if (view.liveLeaderOf(shard.shardId) === undefined) return blocked('no leader');
  for (const check of checkers) {
    const result = check(view, shard, loads);
    if (result.kind !== 'sound') return result;
  }
  return sound;
};
