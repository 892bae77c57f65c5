import type { Engine, EngineView, LoadTarget, PackedPage } from '../src/engine/engine.js';
import { replicaKey } from '../src/engine/keys.js';
import { packedEnd } from '../src/engine/packed_rows.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import { Shard } from '../src/gen/skerry/v1/meta.js';
import type { StateSnapshot } from '../src/multiraft/host.js';
import type { SnapshotMeta } from '../src/raft/message.js';
import { confStateOf } from './descriptor.js';
import { snapshotChunkBytesMax, snapshotPageBytesMax, snapshotPageRowsMax } from './limits.js';
import { decodeReplicaRecord } from './records.js';
import { snapshotFormatVersion, snapshotTargets } from './snapshot_format.js';

/**
 * A shard as of one applied index, read from a consistent view of the engine: the view holds the
 * replica's record too, so position, descriptor and rows belong together whatever is applied meanwhile.
 */
export async function openShardSnapshot(engine: Engine, shardId: number): Promise<StateSnapshot> {
  const view = await engine.openView();
  try {
    const bytes = await view.get(replicaKey(shardId));
    const record = bytes === null ? null : decodeReplicaRecord(bytes);
    if (record?.state !== ReplicaState.NORMAL || record.shard === undefined) {
      throw new Error(`shard ${shardId} has no state that a snapshot could be made of`);
    }
    const meta = { index: record.appliedIndex, term: record.appliedTerm, confState: confStateOf(record.shard) };
    return new ShardSnapshot(view, meta, record.shard);
  } catch (error) {
    await view.close();
    throw error;
  }
}

/** Reads one page ahead of what it hands out, so that the engine's thread and the network work at the same time. */
class ShardSnapshot implements StateSnapshot {
  readonly meta: SnapshotMeta;
  readonly descriptor: Buffer;
  readonly formatVersion = snapshotFormatVersion;
  private readonly view: EngineView;
  /** What is left to read, the present range first. */
  private readonly ranges: readonly LoadTarget[];
  private range = 0;
  private chunks: readonly Buffer[] = [];
  private chunk = 0;
  private rows = 0;
  private ahead: Promise<PackedPage> | null;
  private ended = false;

  constructor(view: EngineView, meta: SnapshotMeta, shard: Shard) {
    this.view = view;
    this.meta = meta;
    this.descriptor = Buffer.from(Shard.encode(shard).finish());
    this.ranges = snapshotTargets(shard);
    this.ahead = this.readPage(null);
  }

  async next(): Promise<Buffer | null> {
    for (;;) {
      const chunk = this.chunks[this.chunk];
      if (chunk !== undefined) {
        this.chunk++;
        return chunk;
      }
      if (this.ahead === null) return this.end();
      await this.takePage(this.ahead);
    }
  }

  close(): Promise<void> {
    return this.view.close();
  }

  private async takePage(ahead: Promise<PackedPage>): Promise<void> {
    const { chunks, rows, next } = await ahead;
    this.chunks = chunks;
    this.chunk = 0;
    this.rows += rows;
    if (next === null) this.range++;
    this.ahead = this.readPage(next);
  }

  /** The page of the present range from there on, or from its beginning; null: there is no range left. */
  private readPage(from: Buffer | null): Promise<PackedPage> | null {
    const range = this.ranges[this.range];
    if (range === undefined) return null;
    const page = this.view.pack({
      start: from ?? range.start,
      end: range.end,
      tag: range.tag,
      skip: range.prefix.length,
      limit: snapshotPageRowsMax,
      maxBytes: snapshotPageBytesMax,
      chunkBytes: snapshotChunkBytesMax,
    });
    // Whoever takes the page hears of its failure; nobody does when the snapshot is closed before.
    page.catch(() => undefined);
    return page;
  }

  private end(): Buffer | null {
    if (this.ended) return null;
    this.ended = true;
    return packedEnd(this.rows);
  }
}
