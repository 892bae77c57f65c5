import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { replicaScore, shardUse, useOf, voterHolders, holders } from '../choose_target.js';
import type { Hindrance, RejectionKind } from '../hindrance.js';
import { isApart } from '../isolation.js';
import { clusterMovesReached, limitReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { effectOf } from '../operators/operator.js';
import { moveSteps } from '../operators/plans.js';
import { replicaOn } from '../operators/step.js';
import { fitOf, setback } from '../rules/fit.js';
import { hasLabels } from '../rules/placement_rules.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoad } from '../store_loads.js';
import type { NextPlan, Round, Scheduler, SchedulerContext } from './scheduler.js';
import { evenEnough, planRound } from './scheduler.js';

/**
 * Makes use per unit of weight equal. Every move goes from a store with more than its share to one with less,
 * and only while the difference is worth it, so each move lowers the spread and none is undone later.
 */
export const balanceReplicas: Scheduler = {
  name: 'balance-replicas',
  schedule(context): Round {
    // What is being rebuilt or drained ends where there is least: what looks uneven on the way is not.
    if (isRepairing(context)) return { plans: [], hindrance: { kind: 'order', first: 'repair' } };
    let hindrance: Hindrance | null = null;
    // Moving a leader costs a transfer as well, so followers of other stores go before the leaders of the fullest one. A shard
    // of a keyspace that the target has little of goes before others, so that each keyspace is spread, too. Hot shards come
    // last, as a copy of them costs most, but they do go: where all shards are hot, a new store would stay empty.
    for (const choice of choices) {
      // Each has its own share, or one that finds nothing would keep the next from looking.
      context.cursors.refill();
      const round = planRound(context, (taken) => nextMove(context, choice, taken));
      if (round.plans.length > 0) return round;
      hindrance = round.hindrance;
    }
    return { plans: [], hindrance };
  },
};

function isRepairing({ operators }: SchedulerContext): boolean {
  for (const { plan, steps } of operators.running()) {
    if (plan.source === 'checker' && effectOf(steps).adds.length > 0) return true;
  }
  return false;
}

/** Which shards of a store a pass looks at. */
interface Choice {
  readonly name: string;
  readonly leaders: boolean;
  readonly spreads: boolean;
  readonly hot: boolean;
}

const choices: readonly Choice[] = [
  { name: 'spreading followers', leaders: false, spreads: true, hot: false },
  { name: 'followers', leaders: false, spreads: false, hot: false },
  { name: 'leaders', leaders: true, spreads: false, hot: false },
  { name: 'hot followers', leaders: false, spreads: false, hot: true },
  { name: 'hot leaders', leaders: true, spreads: false, hot: true },
];

function nextMove(context: SchedulerContext, choice: Choice, taken: ReadonlySet<number>): NextPlan {
  const { view, limits } = context;
  const full = clusterMovesReached(context.loads, limits);
  if (full !== null) return { plan: null, hindrance: full };
  const stores = [...context.loads.values()].filter((load) => load.store.state === 'up');
  const fair = fairShare(stores);
  const sources = stores
    .filter((l) => view.isConnected(l.store.storeId))
    .sort((a, b) => replicaScore(b) - replicaScore(a));
  const targets = stores.filter((l) => l.acceptsReplicas).sort((a, b) => replicaScore(a) - replicaScore(b));
  let hindrance: Hindrance | null = null;
  for (const source of sources) {
    const worthy: StoreLoad[] = [];
    let held: Hindrance | null = null;
    for (const target of targets) {
      held = pairHindrance(context, source, target, fair);
      if (held === null) worthy.push(target);
      if (held?.kind === 'tolerance' || worthy.length === targetsPerSourceMax) break;
    }
    const plan = worthy.length === 0 ? null : findMove(context, choice, source, worthy, taken);
    if (plan !== null) return { plan };
    // What holds back the fullest store counts: the others have less reason to move anything.
    hindrance ??= worthy.length === 0 ? held : { kind: 'noShard' };
    if (context.cursors.isSpent) break;
  }
  return { plan: null, hindrance };
}

/** Stores that a shard is offered to: those with the smallest shares. */
const targetsPerSourceMax = 16;

/** Use that a store of weight 1 would have if all were even. */
export function fairShare(stores: readonly StoreLoad[]): number {
  let use = 0;
  let weight = 0;
  for (const load of stores) {
    use += useOf(load);
    weight += load.weight;
  }
  return weight === 0 ? 0 : use / weight;
}

/** Why nothing moves from one store to the other; null: something may. */
export function pairHindrance(
  { limits }: Pick<SchedulerContext, 'limits'>,
  source: StoreLoad,
  target: StoreLoad,
  fair: number,
): Hindrance | null {
  const [larger, smaller] = [replicaScore(source), replicaScore(target)];
  const tolerance = evenEnough(fair);
  // A move of the smallest shard must not turn the difference around.
  if (larger - smaller <= tolerance || larger - smaller < 1 / source.weight + 1 / target.weight) {
    return { kind: 'tolerance', larger, smaller, tolerance };
  }
  const max = limits.movesPerStore;
  if (source.outgoing >= max) return { kind: 'limit', limit: 'movesPerStore', storeId: source.store.storeId, max };
  if (target.incoming >= max) return { kind: 'limit', limit: 'movesPerStore', storeId: target.store.storeId, max };
  return null;
}

function findMove(
  context: SchedulerContext,
  choice: Choice,
  source: StoreLoad,
  targets: readonly StoreLoad[],
  taken: ReadonlySet<number>,
): OperatorPlan | null {
  const { view, cursors } = context;
  const from = source.store.storeId;
  for (const shardId of cursors.through(`move ${choice.name} ${from}`, view.state.shardIdsOn(from))) {
    if (taken.has(shardId) || (view.leaderOf(shardId)?.leaderStoreId === from) !== choice.leaders) continue;
    if (view.isHot(shardId) !== choice.hot) continue;
    const shard = view.state.shard(shardId);
    if (shard === undefined || movableHindrance(context, shard) !== null) continue;
    for (const target of targets) {
      if (choice.spreads && !spreads(context, shard, source, target)) continue;
      if (!mayMove(context, shard, source, target)) continue;
      const plan = moveOf(context, shard, source, target);
      if (limitReached(plan, context.loads, context.limits) === null) return plan;
    }
  }
  return null;
}

/** Why balance leaves the shard where it is, whatever the stores; null: it may move. */
export function movableHindrance(
  { view, operators }: Pick<SchedulerContext, 'view' | 'operators'>,
  shard: ShardRecord,
): Hindrance | null {
  const held = operators.moveHindrance(shard.shardId, view.nowMs);
  if (held !== null) return held;
  // Learners that someone asked for stay where they are; any other is about to become something else.
  if (!view.isHealthy(shard) || shard.replicas.some((r) => r.role !== ReplicaRole.VOTER)) return { kind: 'unhealthy' };
  return null;
}

/** The keyspace has fewer replicas on the target than on the source. */
function spreads({ view }: SchedulerContext, shard: ShardRecord, source: StoreLoad, target: StoreLoad): boolean {
  const on = (load: StoreLoad): number => view.state.replicasOf(shard.keyspaceId, load.store.storeId) / load.weight;
  return on(target) < on(source);
}

function mayMove(context: SchedulerContext, shard: ShardRecord, source: StoreLoad, target: StoreLoad): boolean {
  const use = shardUse(context.view, shard.shardId);
  // After the move the source still has at least as large a share as the target.
  if ((useOf(source) - use) / source.weight < (useOf(target) + use) / target.weight) return false;
  return placeRejection(context, shard, source, target) === null;
}

/** Why a shard's replica cannot go from one store to the other, by hosts, labels and zones; null: it can. */
export function placeRejection(
  { view }: Pick<SchedulerContext, 'view'>,
  shard: ShardRecord,
  source: StoreLoad,
  target: StoreLoad,
): RejectionKind | null {
  if (replicaOn(shard, target.store.storeId) !== undefined) return 'holdsReplica';
  const rules = view.rulesOf(shard);
  if (!hasLabels(target.store, rules.votersOn)) return 'labels';
  if (!isApart(target.store, holders(view, shard, source.store.storeId))) return 'sharesHost';
  const others = voterHolders(view, shard, source.store.storeId);
  switch (setback(fitOf(rules, [...others, source.store]), fitOf(rules, [...others, target.store]))) {
    case null:
      return null;
    case 'sharedHosts':
      return 'sharesHost';
    case 'strays':
      return 'labels';
    case 'hasLeaderPlace':
      return 'leaderPlace';
    case 'spread':
      return 'fewerZones';
  }
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
