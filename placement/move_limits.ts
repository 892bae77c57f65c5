import type { Hindrance, LimitName } from './hindrance.js';
import type { OperatorPlan, PlanEffect } from './operators/operator.js';
import { effectOf, isMerge } from './operators/operator.js';
import type { OperatorTable } from './operators/operator_table.js';
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
  /** Merges that nobody asked for, under way in the cluster. */
  readonly mergesInCluster: number;
}

export const moveLimitsDefault: MoveLimits = {
  movesPerStore: 12,
  repairsPerStore: 24,
  movesInCluster: 64,
  transfersPerStore: 16,
  transfersInCluster: 64,
  mergesInCluster: 8,
};

/** The limit that a plan would pass, or null if it may start. People are not held back: they asked for one thing. */
export function limitReached(plan: OperatorPlan, loads: StoreLoads, limits: MoveLimits): Hindrance | null {
  if (plan.source === 'admin') return null;
  const effect = effectOf(plan.steps);
  const { adds, removes, leaderTo } = effect;
  if (adds.length > 0 || removes.length > 0) {
    const cluster = adds.length > 0 ? clusterMovesReached(loads, limits) : null;
    return cluster ?? storeMovesReached(plan, effect, loads, limits);
  }
  if (leaderTo === 0) return null;
  const cluster = clusterTransfersReached(loads, limits);
  if (cluster !== null) return cluster;
  const { transfers } = loads.get(leaderTo) ?? { transfers: 0 };
  return transfers >= limits.transfersPerStore ? reached('transfersPerStore', leaderTo, limits) : null;
}

/** No further replica may come to, or leave, one of the stores. A removal copies nothing, but each is a change of configuration that its shard's leader drives. */
function storeMovesReached(
  plan: OperatorPlan,
  { adds, removes }: PlanEffect,
  loads: StoreLoads,
  limits: MoveLimits,
): Hindrance | null {
  const isRepair = plan.source === 'checker' && !isMerge(plan);
  const name = isRepair ? 'repairsPerStore' : 'movesPerStore';
  for (const storeId of adds) {
    if ((loads.get(storeId)?.incoming ?? 0) >= limits[name]) return reached(name, storeId, limits);
  }
  for (const storeId of removes) {
    if ((loads.get(storeId)?.outgoing ?? 0) >= limits[name]) return reached(name, storeId, limits);
  }
  return null;
}

/** The same for plans of checkers, of which some merge. */
export function checkLimitReached(
  plan: OperatorPlan,
  loads: StoreLoads,
  limits: MoveLimits,
  operators: Pick<OperatorTable, 'running'>,
): Hindrance | null {
  if (plan.source !== 'admin' && isMerge(plan)) {
    let merging = 0;
    for (const operator of operators.running())
      if (operator.plan.source !== 'admin' && isMerge(operator.plan)) merging++;
    if (merging >= limits.mergesInCluster) return reached('mergesInCluster', 0, limits);
  }
  return limitReached(plan, loads, limits);
}

/** No further replica may be on its way in the cluster. */
export function clusterMovesReached(loads: StoreLoads, limits: MoveLimits): Hindrance | null {
  return totalIncoming(loads) >= limits.movesInCluster ? reached('movesInCluster', 0, limits) : null;
}

/** No further leader transfer may be on its way in the cluster. */
export function clusterTransfersReached(loads: StoreLoads, limits: MoveLimits): Hindrance | null {
  return totalTransfers(loads) >= limits.transfersInCluster ? reached('transfersInCluster', 0, limits) : null;
}

function reached(limit: LimitName, storeId: number, limits: MoveLimits): Hindrance {
  return { kind: 'limit', limit, storeId, max: limits[limit] };
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
