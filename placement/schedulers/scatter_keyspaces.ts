import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { Hindrance } from '../hindrance.js';
import { replicaScore, shardUse, useOf } from '../choose_target.js';
import type { ClusterView } from '../cluster_view.js';
import { scatterTolerance } from '../limits.js';
import { limitReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { moveSteps } from '../operators/plans.js';
import { replicaOn } from '../operators/step.js';
import type { KeyspaceRecord, ShardRecord } from '../state/records.js';
import type { StoreLoad } from '../store_loads.js';
import { fairShare, movableHindrance, placeRejection } from './balance_replicas.js';
import type { NextPlan, Round, Scheduler, SchedulerContext } from './scheduler.js';
import { evenEnough } from './scheduler.js';

/**
 * Spreads each keyspace over the stores. A keyspace that began as one shard and was split has all of its replicas on a few stores,
 * which balance over all keyspaces does not see. One shard of one keyspace a round, and only to a store that
 * stays within what balance tolerates: what this does, balance does not undo.
 */
export const scatterKeyspaces: Scheduler = {
  name: 'scatter-keyspaces',
  schedule(context): Round {
    let hindrance: Hindrance | null = null;
    for (const keyspace of context.view.state.keyspaces()) {
      if (keyspace.phase !== 'ready') continue;
      if (context.cursors.isSpent) break;
      const next = scatter(context, keyspace);
      if (next.plan !== null) return { plans: [next.plan], hindrance: null };
      hindrance ??= next.hindrance;
    }
    return { plans: [], hindrance };
  },
};

interface Share {
  readonly load: StoreLoad;
  /** Replicas of the keyspace per unit of weight. */
  readonly share: number;
}

function scatter(context: SchedulerContext, { keyspaceId }: KeyspaceRecord): NextPlan {
  const { view } = context;
  const stores = [...context.loads.values()].filter((l) => l.store.state === 'up');
  const shares: Share[] = stores.map((load) => ({
    load,
    share: view.state.replicasOf(keyspaceId, load.store.storeId) / load.weight,
  }));
  shares.sort((a, b) => b.share - a.share);
  const [largest, smallest] = [shares[0], shares.at(-1)];
  if (largest === undefined || smallest === undefined) return { plan: null, hindrance: { kind: 'noHeir' } };
  const mean = shares.reduce((sum, s) => sum + s.share, 0) / shares.length;
  // As elsewhere: one replica moved changes the difference by two.
  const tolerance = Math.max(2, mean * scatterTolerance);
  const even: Hindrance = { kind: 'tolerance', larger: largest.share, smaller: smallest.share, tolerance };
  if (largest.share - smallest.share <= tolerance) return { plan: null, hindrance: even };
  const fair = fairShare(stores);
  for (const target of shares.toReversed()) {
    if (largest.share - target.share <= tolerance) break;
    const plan = findMove(context, keyspaceId, largest.load, target.load, fair);
    if (plan !== null) return { plan };
  }
  return { plan: null, hindrance: { kind: 'noShard' } };
}

function findMove(
  context: SchedulerContext,
  keyspaceId: number,
  source: StoreLoad,
  target: StoreLoad,
  fair: number,
): OperatorPlan | null {
  if (!target.acceptsReplicas) return null;
  const { view, cursors } = context;
  const swaps = maySwap(context, keyspaceId, source, target);
  const from = source.store.storeId;
  let costly: ShardRecord | null = null;
  for (const shardId of cursors.through(`scatter ${keyspaceId} ${from}`, view.state.shardIdsOn(from))) {
    const shard = view.state.shard(shardId);
    if (shard?.keyspaceId !== keyspaceId || replicaOn(shard, from)?.role !== ReplicaRole.VOTER) continue;
    if (!swaps && !staysEven(view, shardId, source, target, fair)) continue;
    if (movableHindrance(context, shard) !== null || placeRejection(context, shard, source, target) !== null) continue;
    const isCheap = view.leaderOf(shardId)?.leaderStoreId !== from && !view.isHot(shardId);
    if (isCheap) return moveOf(context, shard, source, target);
    costly ??= shard;
  }
  return costly === null ? null : moveOf(context, costly, source, target);
}

/** After the move the stores are still as even as balance wants them: it undoes nothing. */
function staysEven(view: ClusterView, shardId: number, source: StoreLoad, target: StoreLoad, fair: number): boolean {
  const use = shardUse(view, shardId);
  const after = (useOf(target) + use) / target.weight - (useOf(source) - use) / source.weight;
  return after <= evenEnough(fair);
}

/** The stores are even, and balance can answer the move with a shard of another keyspace that has too many on the target. */
function maySwap({ view }: SchedulerContext, keyspaceId: number, source: StoreLoad, target: StoreLoad): boolean {
  if (Math.abs(replicaScore(source) - replicaScore(target)) > 1) return false;
  for (const other of view.state.keyspaces()) {
    const on = (load: StoreLoad): number => view.state.replicasOf(other.keyspaceId, load.store.storeId) / load.weight;
    if (other.keyspaceId !== keyspaceId && on(target) - on(source) >= 2) return true;
  }
  return false;
}

function moveOf(
  context: SchedulerContext,
  shard: ShardRecord,
  source: StoreLoad,
  target: StoreLoad,
): OperatorPlan | null {
  const [from, to] = [source.store.storeId, target.store.storeId];
  const plan: OperatorPlan = {
    shardId: shard.shardId,
    kind: 'scatter-replica',
    source: 'scheduler',
    steps: moveSteps(context.view, shard, from, to, context.loads),
    reason: `its keyspace has more replicas on store ${from} than on store ${to}`,
  };
  return limitReached(plan, context.loads, context.limits) === null ? plan : null;
}
