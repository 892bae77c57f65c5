import { answerRateHalfLifeMs, answerRateIntervalMs } from './limits.js';

/**
 * How long an operation that begins to wait for room will wait: those that must be answered before it has room, over the rate at which
 * stores answered lately. Measured only while some wait, because answers to all that is asked tell nothing of what could be asked. The first
 * rate is taken from the first answer on: before it routes were looked up, sleeping shards woke, or the caller's own loop kept the answers
 * waiting. Until it is known a burst is let in. The rate of a load that is over is forgotten.
 */
export class WaitingTime {
  /** Start of the present interval; null: nobody waits. */
  #sinceMs: number | null = null;
  #answers = 0;
  /** Answers per millisecond; null: not known. */
  #rate: number | null = null;
  /** True once one was answered of those that the first rate is taken from. */
  #begun = false;
  /** When the last one that waited found room. */
  #idleMs = -Infinity;

  /** Somebody waits. */
  begin(nowMs: number): void {
    if (this.#sinceMs !== null) return;
    if (nowMs - this.#idleMs > answerRateHalfLifeMs) this.#rate = null;
    this.#sinceMs = nowMs;
  }

  /** A store answered an operation. */
  answered(nowMs: number): void {
    if (this.#sinceMs === null) return;
    if (this.#rate === null && !this.#begun) {
      this.#begun = true;
      this.#sinceMs = nowMs;
      return;
    }
    this.#answers++;
    this.#turn(nowMs);
  }

  /** Nobody waits any more. */
  end(nowMs: number): void {
    if (this.#sinceMs === null) return;
    this.#sinceMs = null;
    this.#idleMs = nowMs;
    this.#begun = false;
    this.#answers = 0;
  }

  /** Milliseconds until one has room that so many answers must come before; 0: not known. */
  expectedMs(answersBefore: number, nowMs: number): number {
    this.#turn(nowMs);
    return this.#rate === null ? 0 : answersBefore / this.#rate;
  }

  #turn(nowMs: number): void {
    const sinceMs = this.#sinceMs;
    if (sinceMs === null || nowMs - sinceMs < answerRateIntervalMs) return;
    const elapsedMs = nowMs - sinceMs;
    if (this.#rate === null && this.#answers === 0) return;
    const rate = this.#answers / elapsedMs;
    const kept = 0.5 ** (elapsedMs / answerRateHalfLifeMs);
    this.#rate = this.#rate === null ? rate : this.#rate * kept + rate * (1 - kept);
    this.#sinceMs = nowMs;
    this.#answers = 0;
  }
}
