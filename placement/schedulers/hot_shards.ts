import type { Hindrance } from '../hindrance.js';
import { hotStoreWorkMin, hotTolerance } from '../limits.js';
import { limitReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { isJoint } from '../operators/step.js';
import type { StoreLoad } from '../store_loads.js';
import { heirsOf } from './balance_leaders.js';
import type { NextPlan, Round, Scheduler, SchedulerContext } from './scheduler.js';
import { planRound } from './scheduler.js';

/**
 * Makes stores even in operations per second, by handing over the leadership of hot shards. A shard that is too hot for
 * any store is not moved about: it is split (checkers/split_checker.ts). Reads and half of the cost of writes go
 * with the leadership; copies of a shard take part in its writes wherever it is led.
 */
export const hotShards: Scheduler = {
  name: 'hot-shards',
  schedule(context): Round {
    return planRound(context, (taken) => nextTransfer(context, taken));
  },
};

function nextTransfer(context: SchedulerContext, taken: ReadonlySet<number>): NextPlan {
  const stores = [...context.loads.values()].filter((load) => load.acceptsLeaders);
  stores.sort((a, b) => b.work - a.work);
  const [hottest, coolest] = [stores[0], stores.at(-1)];
  if (hottest === undefined || coolest === undefined) return { plan: null, hindrance: { kind: 'noHeir' } };
  const mean = stores.reduce((sum, load) => sum + load.work, 0) / stores.length;
  const tolerance = Math.max(hotStoreWorkMin, mean * hotTolerance);
  const even: Hindrance = { kind: 'tolerance', larger: hottest.work, smaller: coolest.work, tolerance };
  if (hottest.work - coolest.work <= tolerance) return { plan: null, hindrance: even };
  const plan = hottestTransfer(context, hottest, tolerance, taken);
  if (plan === null) return { plan: null, hindrance: { kind: 'noShard' } };
  const limit = limitReached(plan, context.loads, context.limits);
  return limit === null ? { plan } : { plan: null, hindrance: limit };
}

/** The hottest shard that the store leads and that makes things more even where it goes. */
function hottestTransfer(
  context: SchedulerContext,
  source: StoreLoad,
  tolerance: number,
  taken: ReadonlySet<number>,
): OperatorPlan | null {
  const { view, operators } = context;
  let best: { shardId: number; work: number; heir: StoreLoad } | null = null;
  for (const shardId of view.leaders.ledBy(source.store.storeId)) {
    const work = view.workOf(shardId);
    if (work <= (best?.work ?? 0) || taken.has(shardId) || !view.isHot(shardId)) continue;
    if (operators.transferHindrance(shardId, view.nowMs) !== null) continue;
    const shard = view.state.shard(shardId);
    if (shard === undefined || isJoint(shard)) continue;
    for (const heir of heirsOf(context, shard, source)) {
      // The source still has at least as much to do afterwards, and before it clearly more: nothing swings back.
      if (source.work - heir.work <= tolerance || source.work - work < heir.work + work) continue;
      if (best === null || work > best.work || heir.work < best.heir.work) best = { shardId, work, heir };
    }
  }
  if (best === null) return null;
  const to = best.heir.store.storeId;
  return {
    shardId: best.shardId,
    kind: 'move-hot-leader',
    source: 'scheduler',
    steps: [{ kind: 'transferLeader', storeId: to }],
    reason: `it bears ${Math.round(best.work)} operations per second; store ${source.store.storeId} bears ${Math.round(source.work)}, store ${to} ${Math.round(best.heir.work)}`,
  };
}
