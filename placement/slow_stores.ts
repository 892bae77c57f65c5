import { slowAfterMs, slowSyncUs, soundAfterMs } from './limits.js';

/**
 * The part of the stores that may count as slow, one at least. When more of them are, they share a cause (a machine, a network disk, a time of
 * much work) that no transfer cures: leaders would all go to the few that are left, and make those slow.
 */
const slowPartMax = 1 / 3;

interface Record {
  slow: boolean;
  /** Since when its reports have said the opposite of `slow`; -1: the last one did not. */
  sinceMs: number;
}

/**
 * Which stores have disks so slow that they should not lead. A store becomes slow when its reports said so for a while, and
 * sound again only when its syncs take half as long as that for longer: the time in between changes nothing. While many are slow, none counts as such.
 */
export class SlowStores {
  private readonly records = new Map<number, Record>();
  private slowCount = 0;

  has(storeId: number): boolean {
    if (this.records.get(storeId)?.slow !== true) return false;
    return this.slowCount <= Math.max(1, this.records.size * slowPartMax);
  }

  heard(storeId: number, syncP99Us: number, nowMs: number): void {
    let record = this.records.get(storeId);
    if (record === undefined) this.records.set(storeId, (record = { slow: false, sinceMs: -1 }));
    const saysOtherwise = record.slow ? syncP99Us < slowSyncUs / 2 : syncP99Us >= slowSyncUs;
    if (!saysOtherwise) {
      record.sinceMs = -1;
      return;
    }
    if (record.sinceMs === -1) record.sinceMs = nowMs;
    if (nowMs - record.sinceMs < (record.slow ? soundAfterMs : slowAfterMs)) return;
    record.slow = !record.slow;
    this.slowCount += record.slow ? 1 : -1;
    record.sinceMs = -1;
  }
}
