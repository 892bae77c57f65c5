import type { Hindrance } from '../hindrance.js';
import type { OperatorPlan } from '../operators/operator.js';
import type { ShardRecord } from '../state/records.js';
import type { CheckContext } from './check_context.js';

/** What should be done: the kind of operator that would do it, and why it is wanted. */
export interface Want {
  readonly kind: string;
  readonly reason: string;
}

/** What a checker finds about one shard. */
export type CheckResult =
  | { readonly kind: 'sound' }
  | { readonly kind: 'plan'; readonly plan: OperatorPlan }
  /** Something should be done and cannot: said to people in the findings. */
  | { readonly kind: 'blocked'; readonly wants: Want; readonly hindrance: Hindrance }
  /** Something may be done and waits: no finding, but `why` tells it. */
  | { readonly kind: 'resting'; readonly wants: Want; readonly hindrance: Hindrance };

export interface Checker {
  readonly name: string;
  check(context: CheckContext, shard: ShardRecord): CheckResult;
}

export const sound: CheckResult = { kind: 'sound' };

export function blocked(kind: string, reason: string, hindrance: Hindrance): CheckResult {
  return { kind: 'blocked', wants: { kind, reason }, hindrance };
}

export function repair(shard: ShardRecord, kind: string, reason: string, steps: OperatorPlan['steps']): CheckResult {
  return { kind: 'plan', plan: { shardId: shard.shardId, kind, source: 'checker', steps, reason } };
}
