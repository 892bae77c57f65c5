import { assert, must } from '../../src/base/assert.js';
import type { TypedError } from '../../src/base/wire_errors.js';
import type { StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import type { ClusterView } from '../cluster_view.js';
import {
  mergeTimeoutMs,
  stepResendMs,
  stepTimeoutMsCopy,
  stepTimeoutMsShort,
  stepTimeoutMsTransfer,
  takeBackTimeoutMs,
} from '../limits.js';
import type { IdPool } from './id_pool.js';
import type { Operator, OperatorPlan, OperatorState, TakingBack } from './operator.js';
import { isFinished, shardsOf, transition } from './operator.js';
import type { OperatorTable } from './operator_table.js';
import type { Step } from './step.js';
import { describeStep, evaluateStep, evaluateTakeBack } from './step.js';

export type Admission =
  | { readonly ok: true; readonly operator: Operator }
  | { readonly ok: false; readonly reason: 'OPERATOR_RUNNING' | 'NO_IDS' };

export interface ControllerOptions {
  readonly view: ClusterView;
  readonly table: OperatorTable;
  readonly ids: IdPool;
  /** Sends to a store's session; lost when there is none, which the next look at the operator makes up for. */
  readonly send: (storeId: number, command: StoreCommand) => void;
  /** It was made, or got on: for what outlives this leader. */
  readonly progressed?: (operator: Operator) => void;
  readonly finished: (operator: Operator) => void;
}

export type Cancellation =
  /** It ended, or is being taken back. */
  { readonly ok: true; readonly operator: Operator } | { readonly ok: false; readonly reason: 'NOT_RUNNING' };

/**
 * Drives operators. Every report of a shard and every change of its descriptor lets it look at the shard's operator:
 * finished steps are passed over, and the command of the one that is not goes to the shard's leader. A tick looks at
 * all of them, for what got lost and for what takes too long.
 */
export class OperatorController {
  private readonly options: ControllerOptions;
  private readonly byCommand = new Map<number, Operator>();
  private lastCommandId = 0;

  constructor(options: ControllerOptions) {
    this.options = options;
  }

  /** Makes an operator of a plan, unless the shard has one. hold: it has the shard for itself, and waits for release(). */
  admit(plan: OperatorPlan, hold: 'record' | null = null): Admission {
    const { table, ids, view } = this.options;
    const busy = shardsOf(plan).some((shardId) => table.onShard(shardId) !== undefined);
    if (busy) return { ok: false, reason: 'OPERATOR_RUNNING' };
    const nameless = plan.steps.reduce((sum, step) => sum + idsFor(step), 0);
    const taken = ids.take(1 + nameless);
    if (taken === null) return { ok: false, reason: 'NO_IDS' };
    const operatorId = must(taken[0], 'an operator id');
    const operator: Operator = {
      operatorId,
      plan,
      steps: withIds(plan.steps, taken.slice(1)),
      createdAtMs: view.nowMs,
      hold,
      state: 'created',
      currentStep: 0,
      stepStartedAtMs: view.nowMs,
      sentAtMs: -Infinity,
      sentToStoreId: 0,
      commandId: 0,
      mergeSent: false,
      takingBack: null,
      finishedAtMs: 0,
      reason: plan.reason,
    };
    table.add(operator);
    if (hold === null) this.options.progressed?.(operator);
    this.drive(operator);
    return { ok: true, operator };
  }

  /**
   * Goes on with an operator of an earlier leader, once the stores had the time to report: until then a store that is silent may
   * be sound. False: another one has its shard.
   */
  resume(operator: Operator): boolean {
    const { table } = this.options;
    if (shardsOf(operator.plan).some((shardId) => table.onShard(shardId) !== undefined)) return false;
    operator.hold = 'stores';
    table.add(operator);
    return true;
  }

  /** An operator that was held begins; nothing if it ended meanwhile. */
  release(operator: Operator): void {
    operator.hold = null;
    operator.stepStartedAtMs = this.options.view.nowMs;
    if (!isFinished(operator)) this.drive(operator);
  }

  /** Something about the shard may have changed. */
  shardChanged(shardId: number): void {
    const operator = this.options.table.onShard(shardId);
    if (operator !== undefined) this.drive(operator);
  }

  tick(): void {
    const { table, view } = this.options;
    const isSettled = view.isSettled();
    for (const operator of [...table.running()]) {
      if (isFinished(operator)) continue;
      if (isSettled && operator.hold === 'stores') this.release(operator);
      else this.drive(operator);
    }
    table.prune(view.nowMs);
  }

  /** A store's answer to a command. Most refusals are passing (epoch, leader): the next look decides anew. */
  commandResult(commandId: number, error: TypedError | undefined): void {
    const operator = this.byCommand.get(commandId);
    if (operator === undefined || operator.commandId !== commandId || isFinished(operator)) return;
    // What is taken back has no other way to end.
    if (error === undefined || operator.takingBack !== null) return;
    if (isFinal(error, operator.steps[operator.currentStep]))
      this.finish(operator, 'canceled', `refused by store ${operator.sentToStoreId}: ${error.message}`);
  }

  /**
   * Stops an operator; what it has done stays. A merge that a store may have begun is taken back: until the stores have, its
   * shard may serve nothing, and the operator runs.
   */
  cancel(operatorId: number, reason: string): Cancellation {
    const operator = this.options.table.byOperatorId(operatorId);
    if (operator === undefined) return { ok: false, reason: 'NOT_RUNNING' };
    if (this.mayHaveBegunToMerge(operator)) this.takeBack(operator, { to: 'canceled', why: reason });
    else this.finish(operator, 'canceled', reason);
    return { ok: true, operator };
  }

  private mayHaveBegunToMerge({ plan, steps, currentStep, mergeSent, hold }: Operator): boolean {
    // Whatever the shard is at, it was not this operator that began it.
    if (hold === 'record') return false;
    const merging = this.options.view.state.shard(plan.shardId)?.merge?.into !== undefined;
    return steps[currentStep]?.kind === 'mergeShards' && (mergeSent || merging);
  }

  /** A person who cancels what is being taken back for its time-out has it end as canceled. */
  private takeBack(operator: Operator, takingBack: TakingBack): void {
    if (operator.takingBack === null) {
      operator.stepStartedAtMs = this.options.view.nowMs;
      operator.sentAtMs = -Infinity;
    }
    operator.takingBack = takingBack;
    operator.reason = `being taken back: ${takingBack.why}`;
    this.options.progressed?.(operator);
    this.drive(operator);
  }

  /** Until the shard serves again, or is a part of the other one after all. */
  private driveBack(operator: Operator, { to, why }: TakingBack): void {
    const { view } = this.options;
    const shard = view.state.shard(operator.plan.shardId);
    const step = operator.steps[operator.currentStep];
    assert(step?.kind === 'mergeShards', 'only merges are taken back');
    if (shard === undefined) {
      this.finish(operator, 'success', `${why}; too late: the stores had merged`);
      return;
    }
    const at = evaluateTakeBack(step, shard);
    if (at.state === 'done') this.finish(operator, to, `${why}; taken back`);
    else if (view.nowMs - operator.stepStartedAtMs > takeBackTimeoutMs) {
      const rest = 'the stores end the merge, or take it back, when its target answers';
      this.finish(operator, 'timeout', `${why}; not taken back within ${takeBackTimeoutMs} ms: ${rest}`);
    } else if (at.state === 'send') this.send(operator, at.command);
  }

  private drive(operator: Operator): void {
    const { view } = this.options;
    if (operator.hold !== null) return;
    if (operator.takingBack !== null) {
      this.driveBack(operator, operator.takingBack);
      return;
    }
    for (;;) {
      const shard = view.state.shard(operator.plan.shardId);
      const step = operator.steps[operator.currentStep];
      if (shard === undefined) {
        if (step?.kind === 'mergeShards') this.finish(operator, 'success', operator.reason);
        else this.finish(operator, 'replaced', 'the shard is gone');
        return;
      }
      if (step === undefined) {
        this.finish(operator, 'success', operator.reason);
        return;
      }
      const at = evaluateStep(step, shard, view);
      switch (at.state) {
        case 'done':
          operator.currentStep++;
          operator.stepStartedAtMs = view.nowMs;
          operator.sentAtMs = -Infinity;
          this.options.progressed?.(operator);
          break;
        case 'broken':
          this.finish(operator, 'replaced', at.why);
          return;
        case 'wait':
          this.checkTime(operator, step, at.why);
          return;
        case 'send':
          this.send(operator, at.command);
          this.checkTime(operator, step, 'no answer of the shard');
          return;
      }
    }
  }

  private checkTime(operator: Operator, step: Step, why: string): void {
    const timeoutMs = timeoutOf(step);
    if (this.options.view.nowMs - operator.stepStartedAtMs <= timeoutMs) return;
    const late = `${describeStep(step)}: ${why} within ${timeoutMs} ms`;
    if (this.mayHaveBegunToMerge(operator)) this.takeBack(operator, { to: 'timeout', why: late });
    else this.finish(operator, 'timeout', late);
  }

  /** Sends the step's command to the shard's leader: at once, and again when the leader changed or nothing came of it. */
  private send(operator: Operator, command: NonNullable<StoreCommand['command']>): void {
    const { view } = this.options;
    const leader = view.liveLeaderOf(operator.plan.shardId);
    if (leader === undefined) return;
    const sameLeader = operator.sentToStoreId === leader.leaderStoreId;
    if (sameLeader && view.nowMs - operator.sentAtMs < stepResendMs) return;
    if (operator.state === 'created') {
      transition(operator, 'running', operator.reason, view.nowMs);
      this.options.progressed?.(operator);
    }
    if (command.$case === 'mergeShard') operator.mergeSent = true;
    this.byCommand.delete(operator.commandId);
    operator.commandId = ++this.lastCommandId;
    operator.sentAtMs = view.nowMs;
    operator.sentToStoreId = leader.leaderStoreId;
    this.byCommand.set(operator.commandId, operator);
    this.options.send(leader.leaderStoreId, { commandId: operator.commandId, command });
  }

  private finish(operator: Operator, to: OperatorState, reason: string): void {
    const { view, table } = this.options;
    transition(operator, to, reason, view.nowMs);
    this.byCommand.delete(operator.commandId);
    table.finish(operator, view.nowMs);
    this.options.finished(operator);
  }
}

function timeoutOf(step: Step): number {
  if (step.kind === 'addLearner') return stepTimeoutMsCopy;
  if (step.kind === 'mergeShards') return mergeTimeoutMs;
  return step.kind === 'transferLeader' ? stepTimeoutMsTransfer : stepTimeoutMsShort;
}

/** A split or merge that a store finds impossible stays so; what only has to wait, or did not get through, is another matter. */
function isFinal({ detail }: TypedError, step: Step | undefined): boolean {
  if (detail?.$case === 'invalidArgument') return true;
  if (detail?.$case !== 'failedPrecondition') return false;
  if (step?.kind !== 'splitShard' && step?.kind !== 'mergeShards') return false;
  const { reason } = detail.value;
  return !reason.startsWith('PROPOSAL_') && reason !== 'MERGE_REPLICA_BEHIND' && reason !== 'MERGE_NO_TARGET';
}

/** Ids that a planned step still lacks. */
function idsFor(step: Step): number {
  if (step.kind === 'addLearner') return step.replicaId === 0 ? 1 : 0;
  return step.kind === 'splitShard' && step.newShardId === 0 ? 1 + step.newReplicaIds.length : 0;
}

function withIds(steps: readonly Step[], ids: readonly number[]): Step[] {
  let used = 0;
  const next = (): number => must(ids[used++], 'an id for a step');
  return steps.map((step) => {
    if (idsFor(step) === 0) return step;
    if (step.kind === 'addLearner') return { ...step, replicaId: next() };
    assert(step.kind === 'splitShard', 'only learners and splits need ids');
    return { ...step, newShardId: next(), newReplicaIds: step.newReplicaIds.map(next) };
  });
}
