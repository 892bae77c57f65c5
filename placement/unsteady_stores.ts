import { flapsMax, flapsWithinMs } from './limits.js';

/**
 * Which stores went away and came back so often lately that leaders are not worth bringing back to them yet. Each loss of a store
 * costs its leaders an election; each return of the leaders would ask for the next one.
 */
export class UnsteadyStores {
  /** When each store came back, the last few times. */
  private readonly returns = new Map<number, number[]>();

  cameBack(storeId: number, nowMs: number): void {
    const times = this.returns.get(storeId) ?? [];
    times.push(nowMs);
    if (times.length > flapsMax) times.shift();
    this.returns.set(storeId, times);
  }

  has(storeId: number, nowMs: number): boolean {
    const times = this.returns.get(storeId);
    return times?.length === flapsMax && nowMs - (times[0] ?? 0) <= flapsWithinMs;
  }
}
