import { DelayWindow } from '../base/delay_window.js';
import { isOverloadLimit } from '../base/overload_limits.js';
import type { SkerryError } from './errors.js';
import {
  inFlightGrowthOps,
  inFlightOpsFirst,
  inFlightOpsMin,
  sendTimeMsMin,
  serviceIntervalMs,
  serviceTargetMs,
  waitingOpsFree,
  waitingShareMax,
} from './limits.js';
import type { Operation } from './operation.js';
import { WriteOperation } from './operation.js';
import { overloadedError, tooLateError } from './operation_errors.js';
import type { Refusal } from './overload_budget.js';
import { OverloadBudgets } from './overload_budget.js';
import { ServiceTime } from './service_time.js';
import { WaitingTime } from './waiting_time.js';

/**
 * What the router does so that more load than the stores sustain is refused early instead of answered late:
 *
 *     submit ─▶ would it wait too long? ─▶ room (a window that follows the answers' time) ─▶ has it time left? ─▶ send
 *               waiting_time                base/delay_window                               service_time         │
 *                                                     a store refuses: may it be tried (again)? overload_budget ◀┘
 */
export class LoadControl {
  /** Bounds what is in flight. */
  readonly window: DelayWindow;
  readonly #waiting = new WaitingTime();
  readonly #reads = new ServiceTime();
  readonly #writes = new ServiceTime();
  readonly #budgets = new OverloadBudgets();

  constructor(inFlightOps: number) {
    this.window = new DelayWindow({
      targetMs: serviceTargetMs,
      intervalMs: serviceIntervalMs,
      opsMin: Math.min(inFlightOpsMin, inFlightOps),
      opsFirst: Math.min(inFlightOpsFirst, inFlightOps),
      opsMax: inFlightOps,
      growthOps: inFlightGrowthOps,
    });
  }

  /** Why an operation should not wait behind so many others; null: it may. */
  waitsTooLong(operation: Operation, waiting: number, nowMs: number): SkerryError | null {
    if (waiting < waitingOpsFree) return null;
    // What is under way beyond a window that has become smaller ends before anybody finds room.
    const beyond = Math.max(0, this.window.ops - this.window.opsMax);
    const waitMs = this.#waiting.expectedMs(waiting + beyond, nowMs) + this.#timeOf(operation).fastestMs(nowMs);
    const allowedMs = (operation.deadlineMs - nowMs) * waitingShareMax;
    return waitMs > allowedMs ? overloadedError('waitingShareMax', waitMs) : null;
  }

  /** Somebody waits for room. */
  waits(nowMs: number): void {
    this.#waiting.begin(nowMs);
  }

  /** Nobody waits for room any more. */
  waitsNoMore(nowMs: number): void {
    this.#waiting.end(nowMs);
  }

  /** Why an operation should not be sent: it has less time left than answers take, and a store would work for nothing. */
  comesTooLate(operation: Operation, nowMs: number): SkerryError | null {
    const leftMs = operation.deadlineMs - nowMs;
    const neededMs = Math.max(sendTimeMsMin, this.#timeOf(operation).fastestMs(nowMs));
    return leftMs < neededMs ? tooLateError(operation, leftMs, neededMs) : null;
  }

  /** A store served the operation. */
  served(operation: Operation, nowMs: number): void {
    this.#waiting.answered(nowMs);
    this.window.observe(operation.writtenMs, nowMs);
    this.#timeOf(operation).observe(nowMs - operation.writtenMs, nowMs);
    this.#budgets.find(operation.storeId, operation instanceof WriteOperation, nowMs)?.served();
  }

  /** The operation's time is over. That it had no answer for so long tells what an answer after so long would. */
  expired(operation: Operation, nowMs: number): void {
    if (operation.written && nowMs - operation.writtenMs > serviceTargetMs) {
      this.window.observe(operation.writtenMs, nowMs);
    }
  }

  /** To be asked before each attempt. The store's last refusal, when it refuses so much that it is not asked; null: it is. */
  refusedBy(storeId: number, operation: Operation, nowMs: number): Refusal | null {
    const budget = this.#budgets.find(storeId, operation instanceof WriteOperation, nowMs);
    if (budget === undefined) return null;
    if (operation.attempts === 0 && !budget.mayTry(nowMs)) return budget.last;
    budget.tried();
    return null;
  }

  /**
   * A store refused the operation: whether to try it again when the store says. A write that may have taken effect is
   * always tried again: only its answer tells.
   */
  mayRetry(operation: Operation, refusal: Refusal, nowMs: number): boolean {
    if (!isOverloadLimit(refusal.limit)) return true;
    const budget = this.#budgets.refused(operation.storeId, operation instanceof WriteOperation, refusal, nowMs);
    if (operation.maybeApplied) return true;
    return nowMs + refusal.retryAfterMs < operation.deadlineMs && budget.mayRetry(nowMs);
  }

  #timeOf(operation: Operation): ServiceTime {
    return operation instanceof WriteOperation ? this.#writes : this.#reads;
  }
}
