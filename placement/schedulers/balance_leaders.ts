import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { leaderScore } from '../choose_target.js';
import type { Hindrance } from '../hindrance.js';
import { clusterTransfersReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { isJoint } from '../operators/step.js';
import { hasLabels } from '../rules/placement_rules.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoad } from '../store_loads.js';
import type { NextPlan, Round, Scheduler, SchedulerContext } from './scheduler.js';
import { evenEnough, planRound } from './scheduler.js';

/**
 * Makes leaders per unit of weight equal, by transfers alone. A hot shard goes only if no other does, and only where it makes
 * load more even as well, or the scheduler of load would take it back.
 */
export const balanceLeaders: Scheduler = {
  name: 'balance-leaders',
  schedule(context): Round {
    return planRound(context, (taken) => nextTransfer(context, taken));
  },
};

function nextTransfer(context: SchedulerContext, taken: ReadonlySet<number>): NextPlan {
  const full = clusterTransfersReached(context.loads, context.limits);
  if (full !== null) return { plan: null, hindrance: full };
  const stores = [...context.loads.values()].filter((load) => load.acceptsLeaders);
  const fair = fairLeaders(stores);
  const smallest = stores.reduce<StoreLoad | null>(
    (least, load) => (least === null || leaderScore(load) < leaderScore(least) ? load : least),
    null,
  );
  let hindrance: Hindrance | null = null;
  for (const source of stores.sort((a, b) => leaderScore(b) - leaderScore(a))) {
    if (smallest === null) break;
    const held = leaderPairHindrance(context, source, smallest, fair);
    if (held?.kind === 'tolerance') {
      hindrance ??= held;
      break;
    }
    const plan =
      source.transfers >= context.limits.transfersPerStore ? null : findTransfer(context, source, fair, taken);
    if (plan !== null) return { plan };
    hindrance ??= held ?? { kind: 'noShard' };
    if (context.cursors.isSpent) break;
  }
  return { plan: null, hindrance };
}

/** Leaders that a store of weight 1 would have if all were even. */
export function fairLeaders(stores: readonly StoreLoad[]): number {
  let leaders = 0;
  let weight = 0;
  for (const load of stores) {
    leaders += load.leaders;
    weight += load.weight;
  }
  return weight === 0 ? 0 : leaders / weight;
}

/** Why no leadership goes from one store to the other; null: one may. */
export function leaderPairHindrance(
  { limits }: Pick<SchedulerContext, 'limits'>,
  source: StoreLoad,
  target: StoreLoad,
  fair: number,
): Hindrance | null {
  const [larger, smaller] = [leaderScore(source), leaderScore(target)];
  const tolerance = evenEnough(fair);
  if ((source.leaders - 1) / source.weight < (target.leaders + 1) / target.weight || larger - smaller <= tolerance) {
    return { kind: 'tolerance', larger, smaller, tolerance };
  }
  const max = limits.transfersPerStore;
  for (const { transfers, store } of [source, target]) {
    if (transfers >= max) return { kind: 'limit', limit: 'transfersPerStore', storeId: store.storeId, max };
  }
  return null;
}

function findTransfer(
  context: SchedulerContext,
  source: StoreLoad,
  fair: number,
  taken: ReadonlySet<number>,
): OperatorPlan | null {
  const { view, cursors } = context;
  const from = source.store.storeId;
  let hot: OperatorPlan | null = null;
  for (const shardId of cursors.through(`transfer ${from}`, view.leaders.ledBy(from))) {
    if (taken.has(shardId)) continue;
    const shard = view.state.shard(shardId);
    if (shard === undefined || transferableHindrance(context, shard) !== null) continue;
    const heir = smallestHeir(context, shard, source, fair);
    if (heir === null) continue;
    if (!view.isHot(shardId)) return transferOf(shardId, source, heir);
    hot ??= transferOf(shardId, source, heir);
  }
  return hot;
}

function transferOf(shardId: number, source: StoreLoad, heir: StoreLoad): OperatorPlan {
  const [from, to] = [source.store.storeId, heir.store.storeId];
  return {
    shardId,
    kind: 'balance-leader',
    source: 'scheduler',
    steps: [{ kind: 'transferLeader', storeId: to }],
    reason: `store ${from} leads ${source.leaders} shards, store ${to} leads ${heir.leaders}`,
  };
}

/** Why balance leaves the shard's leader where it is; null: it may go. */
export function transferableHindrance(
  { view, operators }: Pick<SchedulerContext, 'view' | 'operators'>,
  shard: ShardRecord,
): Hindrance | null {
  const held = operators.transferHindrance(shard.shardId, view.nowMs);
  if (held !== null) return held;
  return isJoint(shard) ? { kind: 'unhealthy' } : null;
}

/** Why the shard's leadership does not go from one store to the other; null: it may. */
export function heirHindrance(
  context: Pick<SchedulerContext, 'view' | 'limits'>,
  shard: ShardRecord,
  source: StoreLoad,
  heir: StoreLoad,
  fair: number,
): Hindrance | null {
  const held = leaderPairHindrance(context, source, heir, fair);
  if (held !== null || !context.view.isHot(shard.shardId)) return held;
  const work = context.view.workOf(shard.shardId);
  return source.work - work < heir.work + work ? { kind: 'hot' } : null;
}

/** The store with the smallest share that may lead the shard, if that is worth a transfer. */
function smallestHeir(
  context: SchedulerContext,
  shard: ShardRecord,
  source: StoreLoad,
  fair: number,
): StoreLoad | null {
  let smallest: StoreLoad | null = null;
  for (const load of heirsOf(context, shard, source)) {
    if (heirHindrance(context, shard, source, load, fair) !== null) continue;
    if (smallest === null || leaderScore(load) < leaderScore(smallest)) smallest = load;
  }
  return smallest;
}

/** Stores of voters that could lead instead of the source: caught up, accepting leaders, and where the policy wants the leader. */
export function heirsOf(
  { view, loads }: Pick<SchedulerContext, 'view' | 'loads'>,
  shard: ShardRecord,
  source: StoreLoad,
): StoreLoad[] {
  const { leaderOn } = view.rulesOf(shard);
  return shard.replicas.flatMap(({ storeId, role, replicaId }) => {
    const load = loads.get(storeId);
    if (load === undefined || load === source || role !== ReplicaRole.VOTER || !load.acceptsLeaders) return [];
    return view.isCaughtUp(shard.shardId, replicaId) && hasLabels(load.store, leaderOn) ? [load] : [];
  });
}
