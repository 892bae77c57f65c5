import type { EngineBatch } from '../src/engine/engine.js';
import { dataRange, replicaKey, sessionRange } from '../src/engine/keys.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { encodeReplicaRecord } from './records.js';

/** Drops a replica's rows and sessions and leaves its tombstone. */
export function dropReplica(batch: EngineBatch, shard: Shard, replicaId: number): void {
  if (shard.replicas.length > 0) {
    const data = dataRange(shard.keyspaceId, shard.startKey, shard.endKey);
    batch.deleteRange(data.start, data.end);
  }
  buryReplica(batch, shard, replicaId);
}

/** Drops a replica's sessions and leaves its tombstone. Its rows, if it has any, belong to another shard. */
export function buryReplica(batch: EngineBatch, shard: Shard, replicaId: number): void {
  const sessions = sessionRange(shard.shardId);
  batch.deleteRange(sessions.start, sessions.end);
  batch.put(replicaKey(shard.shardId), encodeReplicaRecord({ replicaId, state: ReplicaState.TOMBSTONE, shard }));
}
