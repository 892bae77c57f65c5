import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { findTarget } from '../choose_target.js';
import { learnersWanted } from '../rules/learners.js';
import { labelsText } from '../rules/placement_rules.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, repair, sound } from './check_result.js';

const kind = 'add-learner';

/** Adds the learners that the policy asks for. Those that nobody asks for are the learner checker's. */
export const learnerRuleChecker: Checker = {
  name: 'learner-rules',
  check({ view, loads }, shard): CheckResult {
    const missing = learnersWanted(view, shard).missing[0];
    if (missing === undefined) return sound;
    const reason = `a learner is missing${missing.on.length === 0 ? '' : ` on a store with ${labelsText(missing.on)}`}`;
    if (shard.replicas.some((r) => r.role !== ReplicaRole.VOTER && r.role !== ReplicaRole.LEARNER)) return sound;
    const { store, rejected } = findTarget(view, shard, 0, loads, { for: 'learner', on: missing.on });
    if (store === null) return blocked(kind, reason, { kind: 'noCandidate', rejected });
    return repair(shard, kind, reason, [{ kind: 'addLearner', storeId: store.storeId, replicaId: 0 }]);
  },
};
