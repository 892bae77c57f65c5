import type { ClusterView } from '../cluster_view.js';
import type { OperatorPlan } from '../operators/operator.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoads } from '../store_loads.js';

/** What a checker finds about one shard. */
export type CheckResult =
  | { readonly kind: 'sound' }
  | { readonly kind: 'plan'; readonly plan: OperatorPlan }
  /** Something should be done and cannot: said to people in the findings. */
  | { readonly kind: 'blocked'; readonly reason: string };

export type Checker = (view: ClusterView, shard: ShardRecord, loads: StoreLoads) => CheckResult;

export const sound: CheckResult = { kind: 'sound' };

export function blocked(reason: string): CheckResult {
  return { kind: 'blocked', reason };
}

export function repair(shard: ShardRecord, kind: string, reason: string, steps: OperatorPlan['steps']): CheckResult {
  return { kind: 'plan', plan: { shardId: shard.shardId, kind, source: 'checker', steps, reason } };
}
