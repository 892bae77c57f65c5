import type { OperatorPlan } from './operators/operator.js';
import { effectOf } from './operators/operator.js';
import type { StoreLoads } from './store_loads.js';

/** How much may be on its way at once. Configurable; repairs have a larger share than balance. */
export interface MoveLimits {
  /** Replicas on their way to or from one store. */
  readonly movesPerStore: number;
  readonly repairsPerStore: number;
  /** Replicas on their way in the cluster, repairs included. */
  readonly movesInCluster: number;
  /** Leader transfers at one store and in the cluster. */
  readonly transfersPerStore: number;
  readonly transfersInCluster: number;
}

export const moveLimitsDefault: MoveLimits = {
  movesPerStore: 6,
  repairsPerStore: 12,
  movesInCluster: 64,
  transfersPerStore: 16,
  transfersInCluster: 64,
};

/** The limit that a plan would pass, or null if it may start. People are not held back: they asked for one thing. */
export function limitReached(plan: OperatorPlan, loads: StoreLoads, limits: MoveLimits): string | null {
  if (plan.source === 'admin') return null;
  const effect = effectOf(plan.steps);
  const perStore = plan.source === 'checker' ? limits.repairsPerStore : limits.movesPerStore;
  if (effect.adds.length > 0) {
    if (totalIncoming(loads) >= limits.movesInCluster) return 'limits.moves_in_cluster';
    for (const storeId of effect.adds) {
      if ((loads.get(storeId)?.incoming ?? 0) >= perStore) return `limits per store: store ${storeId} (incoming)`;
    }
    for (const storeId of effect.removes) {
      if ((loads.get(storeId)?.outgoing ?? 0) >= perStore) return `limits per store: store ${storeId} (outgoing)`;
    }
    return null;
  }
  if (effect.leaderTo === 0 || effect.removes.length > 0) return null;
  if (totalTransfers(loads) >= limits.transfersInCluster) return 'limits.transfers_in_cluster';
  if ((loads.get(effect.leaderTo)?.transfers ?? 0) >= limits.transfersPerStore) {
    return `limits.transfers_per_store: store ${effect.leaderTo}`;
  }
  return null;
}

function totalIncoming(loads: StoreLoads): number {
  let total = 0;
  for (const load of loads.values()) total += load.incoming;
  return total;
}

function totalTransfers(loads: StoreLoads): number {
  let total = 0;
  // Each transfer is counted at both of its stores.
  for (const load of loads.values()) total += load.transfers;
  return total / 2;
}
