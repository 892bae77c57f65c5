import type { Runtime } from '../base/runtime.js';
import { snapshotBurstMs } from './limits.js';

/**
 * A token bucket that many senders share. Whoever takes bytes pays afterwards: the first may go at once, the
 * next waits until the debt is paid, so chunks larger than the bucket pass too.
 */
export class RateLimiter {
  private readonly runtime: Runtime;
  private readonly bytesPerMs: number;
  /** When the bytes taken so far are paid for. */
  private paidAtMs = -Infinity;

  constructor(runtime: Runtime, bytesPerSecond: number) {
    this.runtime = runtime;
    this.bytesPerMs = bytesPerSecond / 1000;
  }

  /** Takes the bytes and returns the milliseconds to wait before sending them. */
  take(bytes: number): number {
    const now = this.runtime.nowMs();
    const start = Math.max(this.paidAtMs, now - snapshotBurstMs);
    this.paidAtMs = start + bytes / this.bytesPerMs;
    const waitMs = start - now;
    // No timer is that exact, and what was taken stays owed.
    return waitMs < 1 ? 0 : waitMs;
  }
}
