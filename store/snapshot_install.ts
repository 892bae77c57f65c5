import { assert } from '../src/base/assert.js';
import type { Engine, EngineBatch } from '../src/engine/engine.js';
import { dataRange, replicaKey, sessionKey, sessionRange } from '../src/engine/keys.js';
import type { SessionRecord } from '../src/gen/skerry/v1/kv.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import type { StagedSnapshot } from '../src/multiraft/host.js';
import { snapshotBatchBytesMax, snapshotBatchesInFlightMax } from './limits.js';
import { dropReplica } from './drop_replica.js';
import { decodeSessionRecord, encodeReplicaRecord } from './records.js';
import { ShardKeys } from './shard_keys.js';
import { RowKind, SnapshotFormatError, SnapshotRowReader } from './snapshot_format.js';

/**
 * Installs a staged snapshot. Steps, each durable before the next begins:
 *
 *   1  INSTALLING record with the staged file's name; the old rows are dropped in the same batch
 *   2  the rows, in bounded batches
 *   3  NORMAL record with the snapshot's position
 *
 * A crash before 1 leaves the old state, after 3 the new one. In between, the record makes the store run
 * this again from the same file when it starts; that is why 1 drops the new range as well.
 */
export interface Installation {
  readonly replicaId: number;
  /** The shard that the snapshot holds. */
  readonly shard: Shard;
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  /** Name of the staged file within the staging directory. */
  readonly stagedFile: string;
  /** What the replica held until now; null: nothing. */
  readonly previous: Shard | null;
  /** Replicas of shards that the snapshot's shard took in: they end with step 1. */
  readonly taken: readonly { readonly shard: Shard; readonly replicaId: number }[];
}

/** Returns the sessions that the snapshot brought. Throws SnapshotFormatError on a damaged snapshot. */
export async function installShardSnapshot(
  engine: Engine,
  installation: Installation,
  chunks: AsyncIterable<Buffer>,
): Promise<Map<number, SessionRecord>> {
  await engine.write(beginBatch(engine, installation));
  await engine.sync();
  const sessions = await writeRows(engine, installation.shard, chunks);
  await engine.sync();
  const done = engine.newBatch();
  done.put(
    replicaKey(installation.shard.shardId),
    encodeReplicaRecord({ ...installation, state: ReplicaState.NORMAL, stagedFile: '' }),
  );
  await engine.write(done);
  await engine.sync();
  return sessions;
}

function beginBatch(engine: Engine, installation: Installation): EngineBatch {
  const { shard, previous, taken } = installation;
  const batch = engine.newBatch();
  for (const gone of taken) dropReplica(batch, gone.shard, gone.replicaId);
  for (const old of previous === null ? [shard] : [previous, shard]) {
    const data = dataRange(old.keyspaceId, old.startKey, old.endKey);
    batch.deleteRange(data.start, data.end);
  }
  const sessions = sessionRange(shard.shardId);
  batch.deleteRange(sessions.start, sessions.end);
  batch.put(replicaKey(shard.shardId), encodeReplicaRecord({ ...installation, state: ReplicaState.INSTALLING }));
  return batch;
}

async function writeRows(
  engine: Engine,
  shard: Shard,
  chunks: AsyncIterable<Buffer>,
): Promise<Map<number, SessionRecord>> {
  const keys = new ShardKeys(shard);
  const reader = new SnapshotRowReader();
  const sessions = new Map<number, SessionRecord>();
  const writer = new BatchWriter(engine);
  let batch = engine.newBatch();
  for await (const chunk of chunks) {
    for (const row of reader.push(chunk)) {
      if (row.kind === RowKind.session) {
        const sessionId = Number(row.key.readBigUInt64BE());
        sessions.set(sessionId, decodeSessionRecord(row.value));
        batch.put(sessionKey(shard.shardId, sessionId), row.value);
      } else {
        const key = keys.ofEncoded(row.key);
        if (!keys.contains(key)) throw new SnapshotFormatError(`a row lies outside of shard ${shard.shardId}`);
        batch.put(key, row.value);
      }
    }
    if (batch.bytes >= snapshotBatchBytesMax) {
      await writer.write(batch);
      batch = engine.newBatch();
    }
  }
  reader.finish();
  await writer.write(batch);
  await writer.finish();
  return sessions;
}

/** Keeps a few batches on their way to the engine, in order. */
class BatchWriter {
  private readonly engine: Engine;
  private readonly underWay: Promise<void>[] = [];

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Resolves once the engine has room for the next one. */
  async write(batch: EngineBatch): Promise<void> {
    const written = this.engine.write(batch);
    // Whoever waits for its turn hears of a failure; when the rows turn out damaged first, that is the better reason.
    written.catch(() => undefined);
    this.underWay.push(written);
    if (this.underWay.length >= snapshotBatchesInFlightMax) await this.underWay.shift();
  }

  async finish(): Promise<void> {
    await Promise.all(this.underWay);
  }
}

/** The name under which the staging directory has a staged snapshot. */
export function stagedFileName(staged: StagedSnapshot): string {
  const name = staged.path.slice(staged.path.lastIndexOf('/') + 1);
  assert(name !== '', 'a staged snapshot has a file name');
  return name;
}
