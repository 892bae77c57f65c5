import { hashSplitKeys } from '../../src/base/encoded_key.js';
import { tokenOf } from '../../src/base/slot.js';

/** One key in each of the `shards` equal shards of a new hash keyspace, in their order. */
export function keyPerShard(shards: number): string[] {
  const starts = hashSplitKeys(shards).map((key) => (key.length === 0 ? 0 : key.readUInt16BE(0)));
  const keys: (string | undefined)[] = new Array<string | undefined>(shards).fill(undefined);
  for (let i = 0, missing = shards; missing > 0; i++) {
    const key = `shard-key-${i}`;
    const shard = lastAtMost(starts, tokenOf(Buffer.from(key)));
    if (keys[shard] !== undefined) continue;
    keys[shard] = key;
    missing--;
  }
  return keys.filter((key) => key !== undefined);
}

/** The index of the last start that is not above `token`. */
function lastAtMost(starts: readonly number[], token: number): number {
  let low = 0;
  for (let high = starts.length - 1; low < high;) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= token) low = middle;
    else high = middle - 1;
  }
  return low;
}
