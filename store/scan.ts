import { partitioningHash } from '../src/base/encoded_key.js';
import type { Engine } from '../src/engine/engine.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import type { Row, RowsResult, ScanOp } from '../src/wire/kv_codec.js';
import { scanBytesMax } from '../src/base/limits.js';
import { scanLimit } from './kv_checks.js';
import { scanVisitedRowsMax } from './limits.js';
import { ShardKeys } from './shard_keys.js';

/**
 * One page of a scan, clipped to the shard. Bounds are encoded keys. In a range keyspace a prefix narrows
 * the bounds; in a hash keyspace the rows with one prefix lie anywhere, so rows are filtered and a page ends after
 * a bounded number of rows looked at, `more` set and perhaps empty.
 *
 * nextKey goes on as startKey of a forward scan and as endKey of a reverse one.
 */
export async function scanShard(engine: Engine, shard: Shard, scan: ScanOp): Promise<RowsResult> {
  const keys = new ShardKeys(shard);
  let { start, end } = clip(keys, shard, scan);
  const limit = scanLimit(scan);
  const filter = shard.partitioning === partitioningHash && scan.prefix.length > 0 ? scan.prefix : null;
  const rows: Row[] = [];
  let bytes = 0;
  let visited = 0;
  let last: Buffer | null = null;
  let more = Buffer.compare(start, end) < 0;
  while (more && rows.length < limit && bytes < scanBytesMax && visited < scanVisitedRowsMax) {
    const wanted = filter === null ? limit - rows.length : Math.min(scanVisitedRowsMax - visited, limit * 4);
    const page = await engine.scan({
      start,
      end,
      limit: wanted,
      maxBytes: scanBytesMax - bytes,
      reverse: scan.reverse,
      keysOnly: scan.keysOnly,
    });
    more = page.more;
    for (const [at, { key, value }] of page.rows.entries()) {
      visited++;
      last = key;
      const userKey = keys.userKey(key);
      if (filter !== null && !startsWith(userKey, filter)) continue;
      rows.push({ key: userKey, value });
      bytes += userKey.length + value.length;
      if (rows.length === limit) {
        more ||= at < page.rows.length - 1;
        break;
      }
    }
    if (last === null) break;
    if (scan.reverse) end = last;
    else start = Buffer.concat([last, zero]);
  }
  const next = more && last !== null ? (scan.reverse ? last : Buffer.concat([last, zero])) : null;
  return { rows, more: next !== null, nextKey: next === null ? empty : keys.encodedKey(next) };
}

const zero = Buffer.from([0]);
const empty = Buffer.alloc(0);

function clip(keys: ShardKeys, shard: Shard, scan: ScanOp): { start: Buffer; end: Buffer } {
  let start = keys.start;
  let end = keys.end;
  const narrow = (from: Buffer, to: Buffer | null): void => {
    if (Buffer.compare(from, start) > 0) start = from;
    if (to !== null && Buffer.compare(to, end) < 0) end = to;
  };
  narrow(keys.ofEncoded(scan.startKey), scan.endKey.length === 0 ? null : keys.ofEncoded(scan.endKey));
  if (shard.partitioning !== partitioningHash && scan.prefix.length > 0) {
    const past = prefixEnd(scan.prefix);
    narrow(keys.ofEncoded(scan.prefix), past === null ? null : keys.ofEncoded(past));
  }
  return { start, end };
}

/** The first key past every key that begins with the prefix; null: there is none (all bytes are 0xff). */
export function prefixEnd(prefix: Buffer): Buffer | null {
  for (let at = prefix.length - 1; at >= 0; at--) {
    const byte = prefix[at] ?? 0;
    if (byte !== 0xff) return Buffer.concat([prefix.subarray(0, at), Buffer.from([byte + 1])]);
  }
  return null;
}

function startsWith(key: Buffer, prefix: Buffer): boolean {
  return key.length >= prefix.length && key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0;
}
