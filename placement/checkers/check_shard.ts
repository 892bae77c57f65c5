import type { ShardRecord } from '../state/records.js';
import type { CheckContext } from './check_context.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, sound } from './check_result.js';
import { jointChecker } from './joint_checker.js';
import { labelChecker } from './label_checker.js';
import { leaderPlaceChecker } from './leader_place_checker.js';
import { learnerChecker } from './learner_checker.js';
import { learnerRuleChecker } from './learner_rule_checker.js';
import { mergeChecker } from './merge_checker.js';
import { replicaChecker } from './replica_checker.js';
import { splitChecker } from './split_checker.js';

/**
 * The first finding is worked on, the next one when it is done. Learners come before voters, because one that was left
 * behind may be the voter that is missing; what is only better comes after what is needed.
 */
export const checkers: readonly Checker[] = [
  jointChecker,
  learnerChecker,
  replicaChecker,
  labelChecker,
  learnerRuleChecker,
  leaderPlaceChecker,
  splitChecker,
  mergeChecker,
];

/** Looks at one shard. A shard without a leader cannot be repaired: its group must elect one first. */
export function checkShard(context: CheckContext, shard: ShardRecord): CheckResult {
  if (context.view.liveLeaderOf(shard.shardId) === undefined) return leaderless;
  // Its stores refuse any change until the merge has ended, one way or the other.
  if (shard.merge?.into !== undefined) return blocked('merge-shards', 'a merge is under way', { kind: 'merging' });
  let waiting = sound;
  for (const checker of checkers) {
    const result = checker.check(context, shard);
    if (result.kind === 'plan' || result.kind === 'blocked') return result;
    if (result.kind === 'resting') waiting = result;
  }
  return waiting;
}

/** What checkShard() says of every shard without a leader. */
export const leaderless: CheckResult = blocked('elect-leader', 'its group has to elect a leader', { kind: 'noLeader' });
