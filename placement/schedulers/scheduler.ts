import type { ClusterView } from '../cluster_view.js';
import type { Hindrance } from '../hindrance.js';
import { operatorsPerRoundMax } from '../limits.js';
import type { MoveLimits } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import { effectOf } from '../operators/operator.js';
import type { OperatorTable } from '../operators/operator_table.js';
import type { StoreLoad } from '../store_loads.js';
import { addInFlight } from '../store_loads.js';
import type { Cursors } from './cursors.js';

export interface SchedulerContext {
  readonly view: ClusterView;
  readonly operators: OperatorTable;
  readonly limits: MoveLimits;
  /** As of now and with what is in flight; a scheduler adds what it plans. */
  readonly loads: Map<number, StoreLoad>;
  /** Where the last round stopped looking. */
  readonly cursors: Cursors;
}

/** What a round came to. */
export interface Round {
  readonly plans: readonly OperatorPlan[];
  /** Why there are no more plans; null: as many as a round may make. */
  readonly hindrance: Hindrance | null;
}

/** Looks at the whole cluster and says what would make it more even. */
export interface Scheduler {
  readonly name: string;
  schedule(context: SchedulerContext): Round;
}

/** One plan more, or why there is none; a null hindrance: nothing is left to be wanted. */
export type NextPlan =
  | { readonly plan: OperatorPlan; readonly hindrance?: undefined }
  | { readonly plan: null; readonly hindrance: Hindrance | null };

/**
 * Plans one change after another until there is none, or as many as a round may make. Each counts as in flight for the
 * next; taken: shards that have a plan of this round already.
 */
export function planRound(
  { loads, view }: SchedulerContext,
  nextPlan: (taken: ReadonlySet<number>) => NextPlan,
): Round {
  const plans: OperatorPlan[] = [];
  const taken = new Set<number>();
  while (plans.length < operatorsPerRoundMax) {
    const { plan, hindrance } = nextPlan(taken);
    if (plan === null) return { plans, hindrance };
    plans.push(plan);
    taken.add(plan.shardId);
    addInFlight(loads, view, plan.shardId, effectOf(plan.steps));
  }
  return { plans, hindrance: null };
}

/**
 * Two stores are even enough when the larger share exceeds the smaller by no more than this. One shard moved changes the
 * difference by two, so anything below two would swing to and fro; above that, one part in a hundred of a fair
 * share is not worth the traffic.
 */
export function evenEnough(fairShare: number): number {
  return Math.max(1, Math.floor(fairShare / 100));
}
