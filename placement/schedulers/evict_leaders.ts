import { chooseHeir } from '../choose_target.js';
import type { ClusterView } from '../cluster_view.js';
import type { Hindrance } from '../hindrance.js';
import { operatorsPerRoundMax } from '../limits.js';
import { limitReached } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { effectOf } from '../operators/operator.js';
import { isJoint } from '../operators/step.js';
import type { StoreRecord } from '../state/records.js';
import { addInFlight } from '../store_loads.js';
import type { Round, Scheduler } from './scheduler.js';

/**
 * Moves leaders off stores that are being drained, before their replicas go, so that requests leave such a store early; off stores
 * in maintenance, which keep their replicas; and off stores whose disk is slow.
 */
export const evictLeaders: Scheduler = {
  name: 'evict-leaders',
  schedule({ view, operators, limits, loads }): Round {
    const plans: OperatorPlan[] = [];
    let hindrance: Hindrance | null = null;
    for (const { store } of loads.values()) {
      const reason = evictionReason(view, store);
      if (reason === null) continue;
      for (const shardId of view.leaders.ledBy(store.storeId)) {
        if (plans.length >= operatorsPerRoundMax) return { plans, hindrance: null };
        const shard = view.state.shard(shardId);
        if (shard === undefined || operators.onShard(shardId) !== undefined || isJoint(shard)) continue;
        const heir = chooseHeir(view, shard, store.storeId, loads);
        if (heir === null) {
          hindrance = { kind: 'noHeir' };
          continue;
        }
        const plan: OperatorPlan = {
          shardId,
          kind: 'evict-leader',
          source: 'checker',
          steps: [{ kind: 'transferLeader', storeId: heir.storeId }],
          reason,
        };
        const limit = limitReached(plan, loads, limits);
        if (limit !== null) return { plans, hindrance: limit };
        plans.push(plan);
        addInFlight(loads, view, shardId, effectOf(plan.steps));
      }
    }
    return { plans, hindrance };
  },
};

/** Why a store should lead nothing; null: it may lead. */
export function evictionReason(view: ClusterView, store: StoreRecord): string | null {
  if (store.state === 'draining') return `store ${store.storeId} is being drained`;
  if (store.state === 'maintenance') return `store ${store.storeId} is in maintenance`;
  return view.isSlow(store.storeId) ? `the disk of store ${store.storeId} is slow` : null;
}
