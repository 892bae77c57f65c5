import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { holders } from '../choose_target.js';
import { isApart } from '../isolation.js';
import { removeSteps } from '../operators/plans.js';
import type { CheckResult, Checker } from './check_result.js';
import { repair, sound } from './check_result.js';

/**
 * Takes care of learners that nobody asked for, as a canceled or forgotten operator leaves them: promotes one where a
 * voter is missing, removes it otherwise.
 */
export const checkLearners: Checker = (view, shard, loads): CheckResult => {
  const wanted = view.state.target(shard.shardId)?.learnerStoreIds ?? [];
  const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER).length;
  for (const replica of shard.replicas) {
    if (replica.role !== ReplicaRole.LEARNER || wanted.includes(replica.storeId)) continue;
    const store = view.state.store(replica.storeId);
    const useful =
      store?.state === 'up' &&
      view.isConnected(store.storeId) &&
      isApart(store, holders(view, shard, replica.storeId)) &&
      voters < view.state.wantedVoters(shard);
    if (useful) {
      return repair(shard, 'promote-learner', 'a learner was left behind where a voter is missing', [
        // Waits until it has caught up.
        { kind: 'addLearner', storeId: replica.storeId, replicaId: replica.replicaId },
        { kind: 'promoteLearner', storeId: replica.storeId },
      ]);
    }
    const steps = removeSteps(view, shard, replica.storeId, replica.replicaId, loads);
    return repair(shard, 'remove-learner', 'a learner was left behind', steps);
  }
  return sound;
};
