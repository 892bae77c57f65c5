import { must } from '../../src/base/assert.js';
import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { chooseTarget, holders, replicaScore } from '../choose_target.js';
import type { ClusterView } from '../cluster_view.js';
import { isApart } from '../isolation.js';
import { addSteps, moveSteps, removeSteps, renewSteps } from '../operators/plans.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoads } from '../store_loads.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, repair, sound } from './check_result.js';

/**
 * Gives a shard the voters that it should have: replaces damaged ones and those on stores that are down or being drained,
 * adds missing ones, removes extra ones. A voter that is replaced leaves in the joint change that brings its successor in, so
 * the number of voters never falls. The exception is a damaged one that no other store can replace: it takes part in
 * nothing, so leaving it out costs nothing, and its own store then takes its successor.
 */
export const checkReplicas: Checker = (view, shard, loads): CheckResult => {
  const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER);
  const wanted = view.state.wantedVoters(shard);
  if (voters.length > wanted) return removeExtra(view, shard, voters, loads);
  const damaged = voters.find((r) => view.isQuarantined(r.replicaId));
  const held = damaged === undefined ? sound : replaceDamaged(view, shard, damaged, voters.length < wanted, loads);
  if (held.kind === 'plan') return held;
  for (const replica of voters) {
    if (!view.isDown(replica.storeId)) continue;
    return replace(view, shard, replica, loads, 'replace-down-replica', `store ${replica.storeId} is down`);
  }
  for (const replica of voters) {
    if (view.state.store(replica.storeId)?.state !== 'draining') continue;
    return replace(view, shard, replica, loads, 'drain-replica', `store ${replica.storeId} is being drained`);
  }
  if (voters.length < wanted) return addMissing(view, shard, voters.length, wanted, loads);
  return held;
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

/** At once: unlike a store that is silent, a replica that lost data does not come back. One at a time, or the votes run out. */
function replaceDamaged(
  view: ClusterView,
  shard: ShardRecord,
  damaged: Replica,
  isOneMissing: boolean,
  loads: StoreLoads,
): CheckResult {
  const { storeId } = damaged;
  const reason = `the replica on store ${storeId} lost data`;
  if (isOneMissing) return blocked(`${reason}; a missing voter comes first`);
  const target = chooseTarget(view, shard, storeId, loads);
  if (target !== null) {
    return repair(shard, 'replace-damaged-replica', reason, moveSteps(view, shard, storeId, target.storeId, loads));
  }
  if (loads.get(storeId)?.acceptsReplicas !== true) return blocked(`${reason}, and no store may take another`);
  if (!standsWithout(view, shard, damaged)) {
    return blocked(`${reason}; it is replaced once a majority of the others has caught up`);
  }
  return repair(shard, 'renew-damaged-replica', reason, renewSteps(view, shard, damaged, loads));
}

/** Without this voter, a majority of the others is up to date. */
function standsWithout(view: ClusterView, shard: ShardRecord, leaving: Replica): boolean {
  const others = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER && r.replicaId !== leaving.replicaId);
  const healthy = others.filter((r) => view.isConnected(r.storeId) && view.isCaughtUp(shard.shardId, r.replicaId));
  return healthy.length > others.length / 2;
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
      view.isQuarantined(replica.replicaId) ? 1 : 0,
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
