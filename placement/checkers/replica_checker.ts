import { must } from '../../src/base/assert.js';
import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { chooseTarget, holders, replicaScore } from '../choose_target.js';
import type { ClusterView } from '../cluster_view.js';
import { isApart } from '../isolation.js';
import { addSteps, moveSteps, removeSteps } from '../operators/plans.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoads } from '../store_loads.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, repair, sound } from './check_result.js';

/**
 * Gives a shard the voters that it should have: replaces those on stores that are down or being drained, adds missing
 * ones, removes extra ones. A voter that is replaced leaves in the joint change that brings its successor in, so
 * the number of voters never falls.
 */
export const checkReplicas: Checker = (view, shard, loads): CheckResult => {
  const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER);
  const wanted = view.state.wantedVoters(shard);
  if (voters.length > wanted) return removeExtra(view, shard, voters, loads);
  for (const replica of voters) {
    if (!view.isDown(replica.storeId)) continue;
    return replace(view, shard, replica, loads, 'replace-down-replica', `store ${replica.storeId} is down`);
  }
  for (const replica of voters) {
    if (view.state.store(replica.storeId)?.state !== 'draining') continue;
    return replace(view, shard, replica, loads, 'drain-replica', `store ${replica.storeId} is being drained`);
  }
  if (voters.length < wanted) return addMissing(view, shard, voters.length, wanted, loads);
  return sound;
};

function replace(
  view: ClusterView,
  shard: ShardRecord,
  replica: Replica,
  loads: StoreLoads,
  kind: string,
  reason: string,
): CheckResult {
  const target = chooseTarget(view, shard, replica.storeId, loads);
  if (target === null) return blocked(`${reason}, and no other store may take a replica`);
  return repair(shard, kind, reason, moveSteps(view, shard, replica.storeId, target.storeId, loads));
}

function addMissing(
  view: ClusterView,
  shard: ShardRecord,
  voters: number,
  wanted: number,
  loads: StoreLoads,
): CheckResult {
  const reason = `${voters} of ${wanted} voters`;
  const target = chooseTarget(view, shard, 0, loads);
  if (target === null) return blocked(`${reason}, and no store may take a replica`);
  return repair(shard, 'add-replica', reason, addSteps(target.storeId));
}

function removeExtra(
  view: ClusterView,
  shard: ShardRecord,
  voters: readonly Replica[],
  loads: StoreLoads,
): CheckResult {
  const leaderStoreId = view.leaderOf(shard.shardId)?.leaderStoreId;
  const penalty = (replica: Replica): readonly number[] => {
    const store = view.state.store(replica.storeId);
    const load = loads.get(replica.storeId);
    return [
      store === undefined || view.isDown(replica.storeId) ? 1 : 0,
      store?.state === 'draining' ? 1 : 0,
      view.isConnected(replica.storeId) && view.isCaughtUp(shard.shardId, replica.replicaId) ? 0 : 1,
      store !== undefined && !isApart(store, holders(view, shard, replica.storeId)) ? 1 : 0,
      replica.storeId === leaderStoreId ? 0 : 1,
      load === undefined ? 0 : replicaScore(load),
    ];
  };
  const worst = must([...voters].sort((a, b) => compareLists(penalty(b), penalty(a)))[0], 'a voter to remove');
  const steps = removeSteps(view, shard, worst.storeId, worst.replicaId, loads);
  return repair(shard, 'remove-extra-replica', `${voters.length} voters where fewer are wanted`, steps);
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
