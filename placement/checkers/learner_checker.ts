import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { holders } from '../choose_target.js';
import type { ClusterView } from '../cluster_view.js';
import { isApart } from '../isolation.js';
import { addSteps, moveSteps, removeSteps } from '../operators/plans.js';
import type { ShardRecord } from '../state/records.js';
import type { CheckResult, Checker } from './check_result.js';
import { repair, sound } from './check_result.js';

/**
 * Takes care of learners that nobody asked for, as a canceled or forgotten operator leaves them: makes one the voter that
 * is missing, or that a lost or draining store should give up; removes it otherwise.
 */
export const checkLearners: Checker = (view, shard, loads): CheckResult => {
  const wanted = view.state.target(shard.shardId)?.learnerStoreIds ?? [];
  const learner = shard.replicas.find((r) => r.role === ReplicaRole.LEARNER && !wanted.includes(r.storeId));
  if (learner === undefined) return sound;
  const { storeId, replicaId } = learner;
  const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER);
  if (voters.length < view.state.wantedVoters(shard) && isSound(view, shard, learner, 0)) {
    const reason = 'a learner was left behind where a voter is missing';
    return repair(shard, 'promote-learner', reason, addSteps(storeId, replicaId));
  }
  const outgoing = voters.find((r) => view.isDown(r.storeId) || view.state.store(r.storeId)?.state === 'draining');
  if (outgoing !== undefined && isSound(view, shard, learner, outgoing.storeId)) {
    const reason = `a learner was left behind that can replace the voter on store ${outgoing.storeId}`;
    const steps = moveSteps(view, shard, outgoing.storeId, storeId, loads, replicaId);
    return repair(shard, 'promote-learner', reason, steps);
  }
  const steps = removeSteps(view, shard, storeId, replicaId, loads);
  return repair(shard, 'remove-learner', 'a learner was left behind', steps);
};

/** The learner may be a voter instead of the one on withoutStoreId. */
function isSound(view: ClusterView, shard: ShardRecord, learner: Replica, withoutStoreId: number): boolean {
  const store = view.state.store(learner.storeId);
  if (store === undefined || !view.acceptsReplicas(store)) return false;
  const others = holders(view, shard, withoutStoreId).filter((other) => other.storeId !== store.storeId);
  return isApart(store, others);
}
