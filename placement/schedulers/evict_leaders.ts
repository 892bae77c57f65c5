import { chooseHeir } from '../choose_target.js';
import { operatorsPerRoundMax } from '../limits.js';
import { limitReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { effectOf } from '../operators/operator.js';
import { isJoint } from '../operators/step.js';
import { addInFlight } from '../store_loads.js';
import type { Scheduler } from './scheduler.js';

/** Moves leaders off stores that are being drained before their replicas go, so that requests leave such a store early. */
export const evictLeaders: Scheduler = {
  name: 'evict-leaders',
  schedule({ view, operators, limits, loads }): OperatorPlan[] {
    const plans: OperatorPlan[] = [];
    for (const { store } of loads.values()) {
      if (store.state !== 'draining') continue;
      for (const shardId of view.leaders.ledBy(store.storeId)) {
        if (plans.length >= operatorsPerRoundMax) return plans;
        const shard = view.state.shard(shardId);
        if (shard === undefined || operators.onShard(shardId) !== undefined || isJoint(shard)) continue;
        const heir = chooseHeir(view, shard, store.storeId, loads);
        if (heir === null) continue;
        const plan: OperatorPlan = {
          shardId,
          kind: 'evict-leader',
          source: 'checker',
          steps: [{ kind: 'transferLeader', storeId: heir.storeId }],
          reason: `store ${store.storeId} is being drained`,
        };
        if (limitReached(plan, loads, limits) !== null) return plans;
        plans.push(plan);
        addInFlight(loads, view, shardId, effectOf(plan.steps));
      }
    }
    return plans;
  },
};
