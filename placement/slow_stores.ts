import { slowAfterMs, slowSyncUs, soundAfterMs } from './limits.js';

interface Record {
  slow: boolean;
  /** Since when its reports have said the opposite of `slow`; -1: the last one did not. */
  sinceMs: number;
}

/**
 * Which stores have disks so slow that they should not lead. A store becomes slow when its reports said so for a while, and
 * sound again only when its syncs take half as long as that for longer: the time in between changes nothing.
 */
export class SlowStores {
  private readonly records = new Map<number, Record>();

  has(storeId: number): boolean {
    return this.records.get(storeId)?.slow ?? false;
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
    record.sinceMs = -1;
  }
}
