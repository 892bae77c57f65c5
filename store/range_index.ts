import { inRange, rangesOverlap } from '../src/base/encoded_key.js';

/**
 * The ranges of the shards on this store, by keyspace, in key order: which shard has a key, and
 * which ones a range touches. Ranges of one keyspace never overlap here.
 */
export interface IndexedRange {
  readonly shardId: number;
  readonly keyspaceId: number;
  readonly startKey: Uint8Array;
  /** Empty: the end of the keyspace. */
  readonly endKey: Uint8Array;
}

export class RangeIndex {
  private readonly keyspaces = new Map<number, IndexedRange[]>();
  private readonly byShard = new Map<number, IndexedRange>();

  /** Adds a shard's range, or puts it in the place of the one that the shard had. */
  set(range: IndexedRange): void {
    this.delete(range.shardId);
    let list = this.keyspaces.get(range.keyspaceId);
    if (list === undefined) {
      list = [];
      this.keyspaces.set(range.keyspaceId, list);
    }
    list.splice(firstAtOrAfter(list, range.startKey), 0, range);
    this.byShard.set(range.shardId, range);
  }

  delete(shardId: number): void {
    const range = this.byShard.get(shardId);
    if (range === undefined) return;
    this.byShard.delete(shardId);
    const list = this.keyspaces.get(range.keyspaceId) ?? [];
    const at = list.indexOf(range, firstAtOrAfter(list, range.startKey));
    list.splice(at, 1);
    if (list.length === 0) this.keyspaces.delete(range.keyspaceId);
  }

  /** The shard that has an encoded key, or undefined. */
  find(keyspaceId: number, key: Uint8Array): IndexedRange | undefined {
    const list = this.keyspaces.get(keyspaceId) ?? [];
    const after = firstAfter(list, key);
    const range = list[after - 1];
    return range !== undefined && inRange(key, range.startKey, range.endKey) ? range : undefined;
  }

  /** The last shard here that begins before a key; an empty key is the end of the keyspace. */
  below(keyspaceId: number, endKey: Uint8Array): IndexedRange | undefined {
    const list = this.keyspaces.get(keyspaceId) ?? [];
    return endKey.length === 0 ? list.at(-1) : list[firstAtOrAfter(list, endKey) - 1];
  }

  /** Any shard of a keyspace, for what all of them have in common. */
  anyOf(keyspaceId: number): IndexedRange | undefined {
    return this.keyspaces.get(keyspaceId)?.[0];
  }

  /** The shards whose range shares a key with [start, end), in key order, at most `limit`. */
  overlapping(keyspaceId: number, start: Uint8Array, end: Uint8Array, limit: number): IndexedRange[] {
    const list = this.keyspaces.get(keyspaceId) ?? [];
    const found: IndexedRange[] = [];
    for (let at = Math.max(0, firstAfter(list, start) - 1); at < list.length && found.length < limit; at++) {
      const range = list[at];
      if (range === undefined) break;
      if (end.length !== 0 && Buffer.compare(range.startKey, end) >= 0) break;
      if (rangesOverlap(range.startKey, range.endKey, start, end)) found.push(range);
    }
    return found;
  }
}

/** Position of the first range that starts at or after key. */
function firstAtOrAfter(list: readonly IndexedRange[], key: Uint8Array): number {
  return lowerBound(list, (range) => Buffer.compare(range.startKey, key) < 0);
}

/** Position of the first range that starts after key. */
function firstAfter(list: readonly IndexedRange[], key: Uint8Array): number {
  return lowerBound(list, (range) => Buffer.compare(range.startKey, key) <= 0);
}

function lowerBound(list: readonly IndexedRange[], before: (range: IndexedRange) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = list[middle];
    if (range !== undefined && before(range)) low = middle + 1;
    else high = middle;
  }
  return low;
}
