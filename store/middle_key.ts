import { inRange, partitioningHash, tokenBytes } from '../src/base/encoded_key.js';
import { scanBytesMax } from '../src/base/limits.js';
import type { Engine } from '../src/engine/engine.js';
import { dataRange, encodedKeyOf } from '../src/engine/keys.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { splitPageRowsMax, splitSamplesMax } from './limits.js';

/** Tokens of one slot of a hash keyspace. */
const slotTokens = 4;

/**
 * An encoded key near the middle of a shard by number of keys; null when the shard has too few to be cut. Walks the keys in
 * pages and keeps every n-th as a sample, n doubling as the samples fill up, so that memory is bounded.
 */
export async function middleKey(engine: Engine, shard: Shard): Promise<Buffer | null> {
  const range = dataRange(shard.keyspaceId, shard.startKey, shard.endKey);
  let samples: Buffer[] = [];
  let stride = 1;
  let seen = 0;
  let start = range.start;
  for (;;) {
    const page = await engine.scan({
      start,
      end: range.end,
      limit: splitPageRowsMax,
      maxBytes: scanBytesMax,
      reverse: false,
      keysOnly: true,
    });
    for (const { key } of page.rows) {
      if (seen % stride === 0) samples.push(key);
      seen++;
      if (samples.length > splitSamplesMax) {
        samples = samples.filter((_, at) => at % 2 === 0);
        stride *= 2;
      }
    }
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) break;
    start = Buffer.concat([last.key, Buffer.from([0])]);
  }
  const middle = samples[Math.floor(samples.length / 2)];
  return middle === undefined ? null : splitKeyAt(shard, encodedKeyOf(middle));
}

/** The split key at or near an encoded key: in a hash keyspace the next slot boundary. null: none inside of the shard. */
export function splitKeyAt(shard: Shard, encodedKey: Buffer): Buffer | null {
  if (shard.partitioning !== partitioningHash) return isInside(shard, encodedKey) ? Buffer.from(encodedKey) : null;
  const token = Buffer.concat([encodedKey, Buffer.alloc(tokenBytes)]).readUInt16BE(0);
  const below = token - (token % slotTokens);
  for (const boundary of [below, below + slotTokens]) {
    if (boundary > 0xffff) continue;
    const key = Buffer.alloc(tokenBytes);
    key.writeUInt16BE(boundary);
    if (isInside(shard, key)) return key;
  }
  return null;
}

/** True when a key is one that the shard can be split at: inside, and on a slot boundary in a hash keyspace. */
export function isSplitKey(shard: Shard, key: Buffer): boolean {
  if (!isInside(shard, key)) return false;
  if (shard.partitioning !== partitioningHash) return true;
  return key.length === tokenBytes && key.readUInt16BE(0) % slotTokens === 0;
}

function isInside(shard: Shard, key: Buffer): boolean {
  return inRange(key, shard.startKey, shard.endKey) && Buffer.compare(key, shard.startKey) > 0;
}
