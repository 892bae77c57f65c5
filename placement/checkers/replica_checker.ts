import { must } from '../../src/base/assert.js';
import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { findTarget, holders, replicaScore, voterHolders } from '../choose_target.js';
import type { ClusterView } from '../cluster_view.js';
import { isApart } from '../isolation.js';
import { addSteps, moveSteps, removeSteps, renewSteps } from '../operators/plans.js';
import type { ShardRecord } from '../state/records.js';
import { fitOf, setback } from '../rules/fit.js';
import { hasLabels } from '../rules/placement_rules.js';
import type { CheckContext } from './check_context.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, repair, sound } from './check_result.js';

/**
 * Gives a shard the voters that it should have: replaces damaged ones and those on stores that are down or being drained,
 * adds missing ones, removes extra ones. A voter that is replaced leaves in the joint change that brings its successor in, so
 * the number of voters never falls. The exception is a damaged one that no other store can replace: it takes part in
 * nothing, so leaving it out costs nothing, and its own store then takes its successor.
 */
export const replicaChecker: Checker = {
  name: 'replicas',
  check(context, shard): CheckResult {
    const { view } = context;
    const voters = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER);
    const wanted = view.rulesOf(shard).voters;
    if (voters.length > wanted) return removeExtra(context, shard, voters);
    const damaged = voters.find((r) => view.isQuarantined(r.replicaId));
    const held = damaged === undefined ? sound : replaceDamaged(context, shard, damaged, voters.length < wanted);
    if (held.kind === 'plan') return held;
    for (const replica of voters) {
      if (!view.isDown(replica.storeId)) continue;
      return replace(context, shard, replica, 'replace-down-replica', `store ${replica.storeId} is down`);
    }
    for (const replica of voters) {
      if (view.state.store(replica.storeId)?.state !== 'draining') continue;
      return replace(context, shard, replica, 'drain-replica', `store ${replica.storeId} is being drained`);
    }
    if (voters.length < wanted) return addMissing(context, shard, voters.length, wanted);
    return held;
  },
};

function replace(
  { view, loads }: CheckContext,
  shard: ShardRecord,
  replica: Replica,
  kind: string,
  reason: string,
): CheckResult {
  const { store, rejected } = findTarget(view, shard, replica.storeId, loads);
  if (store === null) return blocked(kind, reason, { kind: 'noCandidate', rejected });
  return repair(shard, kind, reason, moveSteps(view, shard, replica.storeId, store.storeId, loads));
}

/** At once: unlike a store that is silent, a replica that lost data does not come back. One at a time, or the votes run out. */
function replaceDamaged(
  { view, loads }: CheckContext,
  shard: ShardRecord,
  damaged: Replica,
  isOneMissing: boolean,
): CheckResult {
  const { storeId } = damaged;
  const kind = 'replace-damaged-replica';
  const reason = `the replica on store ${storeId} lost data`;
  if (isOneMissing) return blocked(kind, reason, { kind: 'order', first: 'a missing voter' });
  const { store, rejected } = findTarget(view, shard, storeId, loads);
  if (store !== null) return repair(shard, kind, reason, moveSteps(view, shard, storeId, store.storeId, loads));
  if (loads.get(storeId)?.acceptsReplicas !== true) return blocked(kind, reason, { kind: 'noCandidate', rejected });
  if (!standsWithout(view, shard, damaged)) return blocked(kind, reason, { kind: 'votes' });
  return repair(shard, 'renew-damaged-replica', reason, renewSteps(view, shard, damaged, loads));
}

/** Without this voter, a majority of the others is up to date. */
function standsWithout(view: ClusterView, shard: ShardRecord, leaving: Replica): boolean {
  const others = shard.replicas.filter((r) => r.role === ReplicaRole.VOTER && r.replicaId !== leaving.replicaId);
  const healthy = others.filter((r) => view.isConnected(r.storeId) && view.isCaughtUp(shard.shardId, r.replicaId));
  return healthy.length > others.length / 2;
}

function addMissing({ view, loads }: CheckContext, shard: ShardRecord, voters: number, wanted: number): CheckResult {
  const reason = `${voters} of ${wanted} voters`;
  const { store, rejected } = findTarget(view, shard, 0, loads);
  if (store === null) return blocked('add-replica', reason, { kind: 'noCandidate', rejected });
  return repair(shard, 'add-replica', reason, addSteps(store.storeId));
}

function removeExtra({ view, loads }: CheckContext, shard: ShardRecord, voters: readonly Replica[]): CheckResult {
  const rules = view.rulesOf(shard);
  const fit = fitOf(rules, voterHolders(view, shard, 0));
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
      store !== undefined && !hasLabels(store, rules.votersOn) ? 1 : 0,
      setback(fit, fitOf(rules, voterHolders(view, shard, replica.storeId))) === null ? 1 : 0,
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
