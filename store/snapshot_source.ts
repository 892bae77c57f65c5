import type { Engine, EngineView, ScanPage } from '../src/engine/engine.js';
import { dataRange, encodedKeyOf, replicaKey, sessionRange } from '../src/engine/keys.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import { Shard } from '../src/gen/skerry/v1/meta.js';
import type { StateSnapshot } from '../src/multiraft/host.js';
import type { SnapshotMeta } from '../src/raft/message.js';
import { confStateOf } from './descriptor.js';
import { snapshotChunkBytesMax, snapshotPageBytesMax, snapshotPageRowsMax } from './limits.js';
import { decodeReplicaRecord } from './records.js';
import { RowKind, SnapshotChunker, snapshotFormatVersion } from './snapshot_format.js';

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

interface Stage {
  readonly kind: RowKind;
  readonly end: Buffer;
  /** Where the next page begins. */
  next: Buffer;
}

/** Reads one page ahead of what it hands out, so that the engine's thread and the network work at the same time. */
class ShardSnapshot implements StateSnapshot {
  readonly meta: SnapshotMeta;
  readonly descriptor: Buffer;
  readonly formatVersion = snapshotFormatVersion;
  private readonly view: EngineView;
  private readonly stages: Stage[];
  private readonly chunker = new SnapshotChunker(snapshotChunkBytesMax);
  private ahead: Promise<ScanPage> | null = null;
  private ended = false;

  constructor(view: EngineView, meta: SnapshotMeta, shard: Shard) {
    this.view = view;
    this.meta = meta;
    this.descriptor = Buffer.from(Shard.encode(shard).finish());
    const sessions = sessionRange(shard.shardId);
    const data = dataRange(shard.keyspaceId, shard.startKey, shard.endKey);
    this.stages = [
      { kind: RowKind.session, next: sessions.start, end: sessions.end },
      { kind: RowKind.data, next: data.start, end: data.end },
    ];
  }

  async next(): Promise<Buffer | null> {
    for (;;) {
      const full = this.chunker.takeFull();
      if (full !== null) return full;
      const stage = this.stages[0];
      if (stage !== undefined) await this.takePage(stage);
      else if (this.ended) return this.chunker.takeRest();
      else this.end();
    }
  }

  close(): Promise<void> {
    return this.view.close();
  }

  private async takePage(stage: Stage): Promise<void> {
    const page = await (this.ahead ?? this.readPage(stage));
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) this.stages.shift();
    else stage.next = Buffer.concat([last.key, Buffer.from([0])]);
    const [following] = this.stages;
    this.ahead = following === undefined ? null : this.readPage(following);
    // Whoever takes the page hears of its failure; nobody does when the snapshot is closed before.
    this.ahead?.catch(() => undefined);
    for (const { key, value } of page.rows) {
      // A session's key keeps its last eight bytes, the session id.
      this.chunker.add(stage.kind, stage.kind === RowKind.session ? key.subarray(9) : encodedKeyOf(key), value);
    }
  }

  private readPage({ next, end }: Stage): Promise<ScanPage> {
    return this.view.scan({
      start: next,
      end,
      limit: snapshotPageRowsMax,
      maxBytes: snapshotPageBytesMax,
      reverse: false,
      keysOnly: false,
    });
  }

  private end(): void {
    this.chunker.end();
    this.ended = true;
  }
}
