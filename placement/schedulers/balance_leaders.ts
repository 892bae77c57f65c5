import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { leaderScore } from '../choose_target.js';
import { operatorsPerRoundMax } from '../limits.js';
import { limitReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { effectOf } from '../operators/operator.js';
import { isJoint, replicaOn } from '../operators/step.js';
import type { StoreLoad } from '../store_loads.js';
import { addInFlight } from '../store_loads.js';
import type { Scheduler, SchedulerContext } from './scheduler.js';
import { evenEnough } from './scheduler.js';

/** Makes leaders per unit of weight equal, by transfers alone. */
export const balanceLeaders: Scheduler = {
  name: 'balance-leaders',
  schedule(context): OperatorPlan[] {
    const plans: OperatorPlan[] = [];
    const planned = new Set<number>();
    while (plans.length < operatorsPerRoundMax) {
      const plan = nextTransfer(context, planned);
      if (plan === null) break;
      plans.push(plan);
      planned.add(plan.shardId);
      addInFlight(context.loads, context.view, plan.shardId, effectOf(plan.steps));
    }
    return plans;
  },
};

function nextTransfer(context: SchedulerContext, planned: ReadonlySet<number>): OperatorPlan | null {
  const stores = [...context.loads.values()].filter((load) => load.acceptsLeaders);
  const room = stores.filter((load) => load.transfers < context.limits.transfersPerStore);
  const sources = [...room].sort((a, b) => leaderScore(b) - leaderScore(a));
  const targets = [...room].sort((a, b) => leaderScore(a) - leaderScore(b));
  const fair = fairShare(stores);
  for (const source of sources) {
    for (const target of targets) {
      if (!worthTransferring(source, target, fair)) break;
      const plan = findTransfer(context, source, target, planned);
      if (plan !== null && limitReached(plan, context.loads, context.limits) === null) return plan;
    }
  }
  return null;
}

/** Leaders that a store of weight 1 would have if all were even. */
function fairShare(stores: readonly StoreLoad[]): number {
  let leaders = 0;
  let weight = 0;
  for (const load of stores) {
    leaders += load.leaders;
    weight += load.weight;
  }
  return weight === 0 ? 0 : leaders / weight;
}

function worthTransferring(source: StoreLoad, target: StoreLoad, fair: number): boolean {
  if ((source.leaders - 1) / source.weight < (target.leaders + 1) / target.weight) return false;
  return leaderScore(source) - leaderScore(target) > evenEnough(fair);
}

function findTransfer(
  context: SchedulerContext,
  source: StoreLoad,
  target: StoreLoad,
  planned: ReadonlySet<number>,
): OperatorPlan | null {
  const { view, operators } = context;
  const [from, to] = [source.store.storeId, target.store.storeId];
  for (const shardId of view.leaders.ledBy(from)) {
    if (planned.has(shardId) || !operators.mayTransfer(shardId, view.nowMs)) continue;
    const shard = view.state.shard(shardId);
    const heir = shard === undefined ? undefined : replicaOn(shard, to);
    if (shard === undefined || heir?.role !== ReplicaRole.VOTER || isJoint(shard)) continue;
    if (!view.isCaughtUp(shardId, heir.replicaId)) continue;
    return {
      shardId,
      kind: 'balance-leader',
      source: 'scheduler',
      steps: [{ kind: 'transferLeader', storeId: to }],
      reason: `store ${from} leads ${source.leaders} shards, store ${to} leads ${target.leaders}`,
    };
  }
  return null;
}
