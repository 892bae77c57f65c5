import { assert } from '../../src/base/assert.js';

/** The shards of one keyspace, ordered by start key. A sorted array: look-ups are what it is for, changes are rare. */
export class RangeIndex {
  private readonly starts: Buffer[] = [];
  private readonly ids: number[] = [];

  get size(): number {
    return this.ids.length;
  }

  /** The shard with exactly this start key. */
  get(start: Uint8Array): number | undefined {
    const at = this.upperBound(start) - 1;
    const found = this.starts[at];
    return found !== undefined && Buffer.compare(found, start) === 0 ? this.ids[at] : undefined;
  }

  /** The shard with the greatest start key that is not above `key`. */
  floor(key: Uint8Array): number | undefined {
    return this.ids[this.upperBound(key) - 1];
  }

  /** The shard with the greatest start key below `key`. */
  before(key: Uint8Array): number | undefined {
    const at = this.upperBound(key) - 1;
    const start = this.starts[at];
    return this.ids[start !== undefined && Buffer.compare(start, key) === 0 ? at - 1 : at];
  }

  /** Adds a shard; its start key must be free. */
  insert(start: Buffer, shardId: number): void {
    const at = this.upperBound(start);
    const before = this.starts[at - 1];
    assert(before === undefined || Buffer.compare(before, start) !== 0, 'one shard per start key');
    this.starts.splice(at, 0, start);
    this.ids.splice(at, 0, shardId);
  }

  remove(start: Uint8Array, shardId: number): void {
    const at = this.upperBound(start) - 1;
    assert(this.ids[at] === shardId, () => `shard ${shardId} is in the index under its start key`);
    this.starts.splice(at, 1);
    this.ids.splice(at, 1);
  }

  /** Shard ids in order, from the one that may hold `key` on. */
  *from(key: Uint8Array): IterableIterator<number> {
    for (let at = Math.max(0, this.upperBound(key) - 1); at < this.ids.length; at++) {
      const id = this.ids[at];
      if (id !== undefined) yield id;
    }
  }

  /** Position of the first start key above `key`. */
  private upperBound(key: Uint8Array): number {
    let low = 0;
    let high = this.starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const start = this.starts[middle];
      if (start !== undefined && Buffer.compare(start, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
