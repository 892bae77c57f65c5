import { scanBytesMax } from '../src/base/limits.js';
import type { EngineView } from '../src/engine/engine.js';
import { dataRange, sessionRange } from '../src/engine/keys.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { crc32 } from '../src/raftlog/checksum.js';
import { checksumPageBytesMax, checksumPageRowsMax } from './limits.js';
import type { RowChange, RowChanges } from './row_changes.js';
import { epochOf } from './descriptor.js';

/**
 * The checksum of a shard's state: CRC-32 over its bounds and epoch, then over each session and each row in the
 * order of keys, lengths included. Equal state gives equal sums on every replica, whatever its engine's files look like.
 */
export interface ShardSum {
  readonly checksum: number;
  /** Sessions and rows. */
  readonly rows: number;
  /** Bytes of their keys and values. */
  readonly bytes: number;
}

/** Called after each page with what was read; resolves when the next page may be read. */
type Pace = (bytes: number) => Promise<void>;

/** Sums up what a view holds with some changes laid over it. Reads in pages, so memory stays bounded whatever the shard's size. */
export async function sumShard(view: EngineView, shard: Shard, changes: RowChanges, pace: Pace): Promise<ShardSum> {
  const sum = new RunningSum(shard);
  const sessions = sessionRange(shard.shardId);
  const data = dataRange(shard.keyspaceId, shard.startKey, shard.endKey);
  for (const { start, end } of [sessions, data]) {
    const overlay = changes.within(start, end);
    await sumRange(view, start, end, new OverlaidSum(sum, overlay), pace);
  }
  return { checksum: sum.checksum, rows: sum.rows, bytes: sum.bytes };
}

async function sumRange(view: EngineView, start: Buffer, end: Buffer, sum: OverlaidSum, pace: Pace): Promise<void> {
  for (let next = start; ;) {
    const page = await view.scan({
      start: next,
      end,
      limit: checksumPageRowsMax,
      maxBytes: Math.min(scanBytesMax, checksumPageBytesMax),
      reverse: false,
      keysOnly: false,
    });
    let bytes = 0;
    for (const { key, value } of page.rows) {
      bytes += key.length + value.length;
      sum.add(key, value);
    }
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) break;
    next = Buffer.concat([last.key, Buffer.from([0])]);
    await pace(bytes);
  }
  sum.end();
}

class RunningSum {
  checksum: number;
  rows = 0;
  bytes = 0;
  private readonly head = Buffer.alloc(8);

  constructor({ keyspaceId, startKey, endKey, ...shard }: Shard) {
    const { confVer, version } = epochOf({ keyspaceId, startKey, endKey, ...shard });
    const text = [shard.shardId, keyspaceId, confVer, version, startKey.length, endKey.length].join();
    this.checksum = [Buffer.from(text), startKey, endKey].reduce((sum, part) => crc32(part, sum), 0);
  }

  add(key: Buffer, value: Buffer): void {
    this.head.writeUInt32BE(key.length, 0);
    this.head.writeUInt32BE(value.length, 4);
    this.checksum = crc32(value, crc32(key, crc32(this.head, this.checksum)));
    this.rows++;
    this.bytes += key.length + value.length;
  }
}

/** Merges the rows of a range with changes to it, both ascending. */
class OverlaidSum {
  private readonly sum: RunningSum;
  private readonly changes: readonly RowChange[];
  private at = 0;

  constructor(sum: RunningSum, changes: readonly RowChange[]) {
    this.sum = sum;
    this.changes = changes;
  }

  add(key: Buffer, value: Buffer): void {
    for (let change = this.changes[this.at]; change !== undefined; change = this.changes[++this.at]) {
      const order = Buffer.compare(change.key, key);
      if (order > 0) break;
      this.addChange(change);
      if (order < 0) continue;
      this.at++;
      return;
    }
    this.sum.add(key, value);
  }

  end(): void {
    for (; this.at < this.changes.length; this.at++) this.addChange(this.changes[this.at]);
  }

  private addChange(change: RowChange | undefined): void {
    if (change?.value !== null && change !== undefined) this.sum.add(change.key, change.value);
  }
}
