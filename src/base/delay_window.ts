import { assert } from './assert.js';

export interface DelayWindowLimits {
  /** The delay that should not last, milliseconds. */
  readonly targetMs: number;
  /** How often the window is decided on, milliseconds. */
  readonly intervalMs: number;
  /** The window never gets smaller, and this many are never a queue. */
  readonly opsMin: number;
  /** The window before anything is known. */
  readonly opsFirst: number;
  /** The window at most. */
  readonly opsMax: number;
  /** What the window grows by in an interval that keeps the target. */
  readonly growthOps: number;
}

/**
 * Bounds the operations under way by how long they take: additive increase, multiplicative decrease.
 *
 * The window halves when even the fastest operation of an interval took longer than the target: then there is a queue that
 * everybody waits in (CoDel, RFC 8289 §3.1), not one slow shard. It halves from what was under way, not from a bound that
 * nobody reached, and then waits for operations that began after it, because older ones still tell of the old window. A few
 * operations are no queue, however long they take. It doubles while operations take less than a quarter of the target, so
 * that little is left of it once a load is over.
 *
 * Pure: the caller brings the time.
 */
export class DelayWindow {
  readonly #limits: DelayWindowLimits;
  #opsMax: number;
  #ops = 0;
  #opsPeak = 0;
  #fastestMs = Infinity;
  #delayMs = 0;
  /** Operations that began before it say nothing about the present window. */
  #countedFromMs = -Infinity;
  #decidedMs = -Infinity;

  constructor(limits: DelayWindowLimits) {
    assert(
      limits.opsMin >= 1 &&
        limits.opsMin <= limits.opsFirst &&
        limits.opsFirst <= limits.opsMax &&
        limits.growthOps >= 1,
      'a window has room to move in',
    );
    assert(limits.targetMs > 0 && limits.intervalMs > 0, 'a window has a target and looks at it');
    this.#limits = limits;
    this.#opsMax = limits.opsFirst;
  }

  /** How many operations may be under way now. */
  get opsMax(): number {
    return this.#opsMax;
  }

  /** The most that opsMax can come to. */
  get opsLimit(): number {
    return this.#limits.opsMax;
  }

  get ops(): number {
    return this.#ops;
  }

  /** What the fastest operation of the last interval took, milliseconds. */
  get delayMs(): number {
    return this.#delayMs;
  }

  get hasRoom(): boolean {
    return this.#ops < this.#opsMax;
  }

  /** An operation begins, whether or not there is room. */
  enter(): void {
    this.#ops++;
    if (this.#ops > this.#opsPeak) this.#opsPeak = this.#ops;
  }

  /** An operation is over. What it took is for observe(), if it tells of a queue. */
  leave(): void {
    assert(this.#ops > 0, 'what is over had begun');
    this.#ops--;
  }

  /** What an operation took. */
  observe(beganMs: number, nowMs: number): void {
    if (beganMs < this.#countedFromMs) return;
    this.#fastestMs = Math.min(this.#fastestMs, nowMs - beganMs);
    if (this.#decidedMs === -Infinity) this.#decidedMs = beganMs;
    if (nowMs - this.#decidedMs >= this.#limits.intervalMs) this.#decide(nowMs);
  }

  #decide(nowMs: number): void {
    const { targetMs, opsMax, growthOps } = this.#limits;
    this.#delayMs = this.#fastestMs;
    if (this.#delayMs > targetMs) {
      this.#shrink(nowMs);
      return;
    }
    const grown = this.#delayMs * 4 < targetMs ? this.#opsMax * 2 : this.#opsMax + growthOps;
    this.#opsMax = Math.min(opsMax, grown);
    this.#begin(nowMs);
  }

  #shrink(nowMs: number): void {
    const underWay = Math.min(this.#opsMax, this.#opsPeak);
    if (underWay > this.#limits.opsMin) {
      this.#opsMax = Math.max(this.#limits.opsMin, Math.floor(underWay / 2));
      this.#countedFromMs = nowMs;
    }
    this.#begin(nowMs);
  }

  #begin(nowMs: number): void {
    this.#fastestMs = Infinity;
    this.#opsPeak = this.#ops;
    this.#decidedMs = nowMs;
  }
}
