import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { holders, replicaScore } from '../choose_target.js';
import { distinctZones, isApart } from '../isolation.js';
import { operatorsPerRoundMax } from '../limits.js';
import { limitReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { effectOf } from '../operators/operator.js';
import { moveSteps } from '../operators/plans.js';
import { replicaOn } from '../operators/step.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoad } from '../store_loads.js';
import { addInFlight } from '../store_loads.js';
import type { Scheduler, SchedulerContext } from './scheduler.js';
import { evenEnough } from './scheduler.js';

/**
 * Makes replicas per unit of weight equal. Every move goes from a store with more than its share to one with less,
 * and only while the difference is worth it, so each move lowers the spread and none is undone later.
 */
export const balanceReplicas: Scheduler = {
  name: 'balance-replicas',
  schedule(context): OperatorPlan[] {
    const plans: OperatorPlan[] = [];
    const planned = new Set<number>();
    while (plans.length < operatorsPerRoundMax) {
      const plan = nextMove(context, planned);
      if (plan === null) break;
      plans.push(plan);
      planned.add(plan.shardId);
      addInFlight(context.loads, context.view, plan.shardId, effectOf(plan.steps));
    }
    return plans;
  },
};

function nextMove(context: SchedulerContext, planned: ReadonlySet<number>): OperatorPlan | null {
  const stores = [...context.loads.values()].filter((load) => load.store.state === 'up');
  const fair = fairShare(stores);
  const sources = stores.filter((l) => context.view.isConnected(l.store.storeId) && hasRoomOut(l, context));
  sources.sort((a, b) => replicaScore(b) - replicaScore(a));
  const targets = stores.filter((l) => l.acceptsReplicas && l.incoming < context.limits.movesPerStore);
  targets.sort((a, b) => replicaScore(a) - replicaScore(b));
  // Moving a leader costs a transfer as well, so followers of other stores go before the leaders of the fullest one.
  let withTransfer: OperatorPlan | null = null;
  for (const source of sources) {
    for (const target of targets) {
      if (!worthMoving(source, target, fair)) break;
      const found = findShard(context, source, target, planned);
      if (found === null || (found.leads && withTransfer !== null)) continue;
      const plan = moveOf(context, found.shard, source, target);
      if (limitReached(plan, context.loads, context.limits) !== null) continue;
      if (!found.leads) return plan;
      withTransfer = plan;
    }
  }
  return withTransfer;
}

function hasRoomOut(load: StoreLoad, context: SchedulerContext): boolean {
  return load.outgoing < context.limits.movesPerStore;
}

/** Replicas that a store of weight 1 would have if all were even. */
function fairShare(stores: readonly StoreLoad[]): number {
  let replicas = 0;
  let weight = 0;
  for (const load of stores) {
    replicas += load.replicas;
    weight += load.weight;
  }
  return weight === 0 ? 0 : replicas / weight;
}

/** After the move the source must still have at least as large a share as the target, and before it a clearly larger one. */
function worthMoving(source: StoreLoad, target: StoreLoad, fair: number): boolean {
  if ((source.replicas - 1) / source.weight < (target.replicas + 1) / target.weight) return false;
  return replicaScore(source) - replicaScore(target) > evenEnough(fair);
}

interface Found {
  readonly shard: ShardRecord;
  /** The source leads it. */
  readonly leads: boolean;
}

/** A shard of the source that may move, a follower there if possible. */
function findShard(
  context: SchedulerContext,
  source: StoreLoad,
  target: StoreLoad,
  planned: ReadonlySet<number>,
): Found | null {
  const { view, operators } = context;
  let leading: ShardRecord | null = null;
  for (const shardId of view.state.shardIdsOn(source.store.storeId)) {
    if (planned.has(shardId) || !operators.mayMove(shardId, view.nowMs)) continue;
    const leads = view.leaderOf(shardId)?.leaderStoreId === source.store.storeId;
    if (leads && leading !== null) continue;
    const shard = view.state.shard(shardId);
    if (shard === undefined || !mayMove(context, shard, source, target)) continue;
    if (!leads) return { shard, leads };
    leading = shard;
  }
  return leading === null ? null : { shard: leading, leads: true };
}

function mayMove({ view }: SchedulerContext, shard: ShardRecord, source: StoreLoad, target: StoreLoad): boolean {
  if (replicaOn(shard, source.store.storeId)?.role !== ReplicaRole.VOTER) return false;
  if (replicaOn(shard, target.store.storeId) !== undefined) return false;
  if (!view.isHealthy(shard) || shard.replicas.some((r) => r.role !== ReplicaRole.VOTER)) return false;
  const others = holders(view, shard, source.store.storeId);
  if (!isApart(target.store, others)) return false;
  return distinctZones([...others, target.store]) >= distinctZones([...others, source.store]);
}

function moveOf(context: SchedulerContext, shard: ShardRecord, source: StoreLoad, target: StoreLoad): OperatorPlan {
  const [from, to] = [source.store.storeId, target.store.storeId];
  return {
    shardId: shard.shardId,
    kind: 'balance-replica',
    source: 'scheduler',
    steps: moveSteps(context.view, shard, from, to, context.loads),
    reason: `store ${from} has ${source.replicas} replicas, store ${to} has ${target.replicas}`,
  };
}
