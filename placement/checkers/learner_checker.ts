import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { holders } from '../choose_target.js';
import type { ClusterView } from '../cluster_view.js';
import { isApart } from '../isolation.js';
import { addSteps, moveSteps, removeSteps, renewSteps } from '../operators/plans.js';
import type { ShardRecord } from '../state/records.js';
import { learnersWanted } from '../rules/learners.js';
import { hasLabels } from '../rules/placement_rules.js';
import type { CheckResult, Checker } from './check_result.js';
import { repair, sound } from './check_result.js';

/**
 * Gives a learner that someone asked for, and that lost its data, a successor on the same store. Takes care of learners that
 * nobody asked for, as a canceled or forgotten operator leaves them: makes one the voter that is missing, or that a
 * store that is down or draining, or a damaged replica, should give up; removes it otherwise.
 */
export const learnerChecker: Checker = {
  name: 'learners',
  check({ view, loads }, shard): CheckResult {
    const { wanted, stray } = learnersWanted(view, shard);
    const damaged = wanted.find(
      (r) => view.isQuarantined(r.replicaId) && loads.get(r.storeId)?.acceptsReplicas === true,
    );
    if (damaged !== undefined) {
      const reason = `the learner on store ${damaged.storeId} lost data`;
      return repair(shard, 'replace-damaged-learner', reason, renewSteps(view, shard, damaged, loads));
    }
    const learner = stray[0];
    if (learner === undefined) return sound;
    const { storeId, replicaId } = learner;
    const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER);
    if (voters.length < view.rulesOf(shard).voters && isSound(view, shard, learner, 0)) {
      const reason = 'a learner was left behind where a voter is missing';
      return repair(shard, 'promote-learner', reason, addSteps(storeId, replicaId));
    }
    const isLeaving = (r: Replica): boolean =>
      view.isDown(r.storeId) || view.isQuarantined(r.replicaId) || view.state.store(r.storeId)?.state === 'draining';
    const outgoing = voters.find(isLeaving);
    if (outgoing !== undefined && isSound(view, shard, learner, outgoing.storeId)) {
      const reason = `a learner was left behind that can replace the voter on store ${outgoing.storeId}`;
      const steps = moveSteps(view, shard, outgoing.storeId, storeId, loads, replicaId);
      return repair(shard, 'promote-learner', reason, steps);
    }
    const steps = removeSteps(view, shard, storeId, replicaId, loads);
    return repair(shard, 'remove-learner', 'a learner was left behind', steps);
  },
};

/** The learner may be a voter instead of the one on withoutStoreId. */
function isSound(view: ClusterView, shard: ShardRecord, learner: Replica, withoutStoreId: number): boolean {
  const store = view.state.store(learner.storeId);
  if (store === undefined || !view.acceptsReplicas(store) || view.isQuarantined(learner.replicaId)) return false;
  if (!hasLabels(store, view.rulesOf(shard).votersOn)) return false;
  const others = holders(view, shard, withoutStoreId).filter((other) => other.storeId !== store.storeId);
  return isApart(store, others);
}
