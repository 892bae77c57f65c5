import type { ClusterView } from '../cluster_view.js';
import type { Hindrance } from '../hindrance.js';
import type { MoveLimits } from '../move_limits.js';
import type { OperatorPlan } from '../operators/operator.js';
import type { OperatorTable } from '../operators/operator_table.js';
import type { StoreLoad } from '../store_loads.js';
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

/**
 * Two stores are even enough when the larger share exceeds the smaller by no more than this. One shard moved changes the
 * difference by two, so anything below two would swing to and fro; above that, one part in a hundred of a fair
 * share is not worth the traffic.
 */
export function evenEnough(fairShare: number): number {
  return Math.max(1, Math.floor(fairShare / 100));
}
