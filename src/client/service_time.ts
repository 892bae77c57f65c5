import { serviceSamplesMin, serviceWindowMs } from './limits.js';

/**
 * The least time that stores took lately for operations of one kind. What has less left will not be answered in time: to
 * send it would take a store's time from others. The least, not the mean, because one store may be faster than another. It is
 * known while enough answers come, and forgotten when they stop, so that a wrong figure cannot stop what would correct it.
 */
export class ServiceTime {
  #sinceMs = -Infinity;
  #fastestMs = Infinity;
  #samples = 0;
  #lastFastestMs = 0;

  observe(tookMs: number, nowMs: number): void {
    this.#turn(nowMs);
    this.#samples++;
    if (tookMs < this.#fastestMs) this.#fastestMs = tookMs;
  }

  /** Milliseconds; 0: not known. */
  fastestMs(nowMs: number): number {
    this.#turn(nowMs);
    return Math.min(this.#lastFastestMs, this.#fastestMs);
  }

  #turn(nowMs: number): void {
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs < serviceWindowMs) return;
    const known = elapsedMs < 2 * serviceWindowMs && this.#samples >= serviceSamplesMin;
    this.#lastFastestMs = known ? this.#fastestMs : 0;
    this.#sinceMs = nowMs;
    this.#fastestMs = Infinity;
    this.#samples = 0;
  }
}
