import { assert } from '../src/base/assert.js';
import type { Engine, EngineBatch } from '../src/engine/engine.js';
import { dataRange, replicaKey, sessionRange } from '../src/engine/keys.js';
import type { SessionRecord } from '../src/gen/skerry/v1/kv.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import type { StagedSnapshot } from '../src/multiraft/host.js';
import { dropReplica } from './drop_replica.js';
import { encodeReplicaRecord } from './records.js';
import { loadSnapshotRows } from './snapshot_rows.js';

/**
 * Installs a staged snapshot. Steps, each durable before the next begins:
 *
 *   1  INSTALLING record with the staged file's name; the old rows are dropped in the same batch
 *   2  the rows, unpacked by the engine in bounded batches
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
  const sessions = await loadSnapshotRows(engine, installation.shard, chunks);
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

/** The name under which the staging directory has a staged snapshot. */
export function stagedFileName(staged: StagedSnapshot): string {
  const name = staged.path.slice(staged.path.lastIndexOf('/') + 1);
  assert(name !== '', 'a staged snapshot has a file name');
  return name;
}
