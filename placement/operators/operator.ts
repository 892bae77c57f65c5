import { assert } from '../../src/base/assert.js';
import type { Step } from './step.js';

/** Who asked for an operator; people go first, repairs before balance. */
export type OperatorSource = 'admin' | 'checker' | 'scheduler';

/** A merge is given up that the stores may have begun. */
export interface TakingBack {
  /** What the operator ends with once they have taken it back. */
  readonly to: 'canceled' | 'timeout';
  readonly why: string;
}

/** What a checker, a scheduler or a person wants done to one shard. */
export interface OperatorPlan {
  readonly shardId: number;
  /** For example: move-replica, balance-leader, replace-down-replica. */
  readonly kind: string;
  readonly source: OperatorSource;
  readonly steps: readonly Step[];
  readonly reason: string;
}

/**
 *   created ──first command──▶ running ──last step done──▶ success
 *      │                         │
 *      └───────────┬─────────────┘
 *                  ├──▶ canceled   by a person, or because a store refused it for good
 *                  ├──▶ timeout    a step took too long
 *                  └──▶ replaced   the shard changed under it
 *
 * A merge that the stores may have begun is not canceled and does not time out at once, because its shard serves nothing: the operator
 * runs on until they have taken it back (takingBack), or, where they were quicker, merged (success).
 */
export type OperatorState = 'created' | 'running' | 'success' | 'canceled' | 'timeout' | 'replaced';

const legalTransitions: Readonly<Record<OperatorState, readonly OperatorState[]>> = {
  // A shard that is already as wanted takes no command.
  created: ['running', 'success', 'canceled', 'timeout', 'replaced'],
  running: ['success', 'canceled', 'timeout', 'replaced'],
  success: [],
  canceled: [],
  timeout: [],
  replaced: [],
};

export function mayTransition(from: OperatorState, to: OperatorState): boolean {
  return legalTransitions[from].includes(to);
}

export interface Operator {
  readonly operatorId: number;
  readonly plan: OperatorPlan;
  /** The plan's steps with the ids that were given at admission. */
  readonly steps: readonly Step[];
  readonly createdAtMs: number;
  /** What it waits for before its first command: to be in the log, or, after a change of leaders, for the stores to report. */
  hold: 'record' | 'stores' | null;
  state: OperatorState;
  /** Index into steps; steps.length when all are done. */
  currentStep: number;
  stepStartedAtMs: number;
  /** When the current step's command was last sent, and to which store; -Infinity: not yet. */
  sentAtMs: number;
  sentToStoreId: number;
  /** Id of that command, for its answer. */
  commandId: number;
  /** A store may have been told to begin the merge that is the current step. */
  mergeSent: boolean;
  /** Null: it goes ahead. */
  takingBack: TakingBack | null;
  finishedAtMs: number;
  /** Why it was made; once it ended, why it ended. */
  reason: string;
}

/** The only place where an operator's state changes. */
export function transition(operator: Operator, to: OperatorState, reason: string, nowMs: number): void {
  assert(mayTransition(operator.state, to), () => `operator ${operator.operatorId}: ${operator.state} to ${to}`);
  operator.state = to;
  operator.reason = reason;
  if (isFinished(operator)) operator.finishedAtMs = nowMs;
}

export function isFinished(operator: Operator): boolean {
  return legalTransitions[operator.state].length === 0;
}

/** The shards that nothing else may change meanwhile: the plan's own, and the target of a merge. */
export function shardsOf({ shardId, steps }: Pick<OperatorPlan, 'shardId' | 'steps'>): number[] {
  return [shardId, ...steps.flatMap((step) => (step.kind === 'mergeShards' ? [step.targetShardId] : []))];
}

/** It ends one shard. */
export function isMerge({ steps }: Pick<OperatorPlan, 'steps'>): boolean {
  return steps.some((step) => step.kind === 'mergeShards');
}

/** What a plan changes, for counting what is on its way. */
export interface PlanEffect {
  /** Stores that get a replica. */
  readonly adds: readonly number[];
  /** Stores that lose one. */
  readonly removes: readonly number[];
  /** The store that will lead; 0: the plan transfers no leader. */
  readonly leaderTo: number;
}

export function effectOf(steps: readonly Step[]): PlanEffect {
  const adds: number[] = [];
  const removes: number[] = [];
  let leaderTo = 0;
  for (const step of steps) {
    if (step.kind === 'addLearner') adds.push(step.storeId);
    else if (step.kind === 'removePeer') removes.push(step.storeId);
    else if (step.kind === 'enterJoint') removes.push(...step.remove);
    else if (step.kind === 'transferLeader') leaderTo = step.storeId;
  }
  return { adds, removes, leaderTo };
}
