import { departureHalfLifeMs, departureIntervalMs } from './limits.js';

/**
 * How long an operation that begins to wait for room will wait: those that wait before it, over the rate at which waiting ones
 * found room lately. Measured only while some wait; unknown until that has lasted an interval, so a burst is let in.
 */
export class WaitingTime {
  /** Start of the present interval; null: nobody waits. */
  #sinceMs: number | null = null;
  #departures = 0;
  /** Departures per millisecond; null: not known. */
  #rate: number | null = null;

  /** Somebody waits. */
  begin(nowMs: number): void {
    this.#sinceMs ??= nowMs;
  }

  /** One that waited found room; so many wait still. */
  departed(waiting: number, nowMs: number): void {
    this.#departures++;
    this.#turn(nowMs);
    if (waiting > 0) return;
    this.#sinceMs = null;
    this.#departures = 0;
  }

  /** Milliseconds that one behind `waiting` others has to wait; 0: not known. */
  expectedMs(waiting: number, nowMs: number): number {
    this.#turn(nowMs);
    if (waiting === 0 || this.#rate === null) return 0;
    return waiting / this.#rate;
  }

  #turn(nowMs: number): void {
    const sinceMs = this.#sinceMs;
    if (sinceMs === null || nowMs - sinceMs < departureIntervalMs) return;
    const elapsedMs = nowMs - sinceMs;
    const rate = this.#departures / elapsedMs;
    const kept = 0.5 ** (elapsedMs / departureHalfLifeMs);
    this.#rate = this.#rate === null ? rate : this.#rate * kept + rate * (1 - kept);
    this.#sinceMs = nowMs;
    this.#departures = 0;
  }
}
