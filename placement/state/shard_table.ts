import { must } from '../../src/base/assert.js';
import { inRange } from '../../src/base/encoded_key.js';
import { MergedShards } from './merged_shards.js';
import { RangeIndex } from './range_index.js';
import type { ShardRecord } from './records.js';

/**
 * The shards that are known, and the ways to find them: by id, by key, by the store that holds a replica, and by the id of a
 * shard that was merged away. Every index follows from the records alone, so that loading the rows makes them again.
 */
export class ShardTable {
  private readonly byId = new Map<number, ShardRecord>();
  private readonly merged = new MergedShards();
  private readonly ranges = new Map<number, RangeIndex>();
  private readonly idsByStore = new Map<number, Set<number>>();
  /** Replicas by keyspace and store. */
  private readonly replicaCounts = new Map<number, Map<number, number>>();

  get size(): number {
    return this.byId.size;
  }

  get(shardId: number): ShardRecord | undefined {
    return this.byId.get(shardId);
  }

  all(): IterableIterator<ShardRecord> {
    return this.byId.values();
  }

  /** See ClusterState.holderOf(). */
  holderOf(mergedShardId: number): ShardRecord | undefined {
    return this.byId.get(this.merged.holderOf(mergedShardId) ?? 0);
  }

  idsOn(storeId: number): ReadonlySet<number> {
    return this.idsByStore.get(storeId) ?? emptySet;
  }

  replicasOf(keyspaceId: number, storeId: number): number {
    return this.replicaCounts.get(keyspaceId)?.get(storeId) ?? 0;
  }

  countOf(keyspaceId: number): number {
    return this.ranges.get(keyspaceId)?.size ?? 0;
  }

  /** The shard that holds an encoded key; undefined in a gap (between the two reports of a split's halves). */
  at(keyspaceId: number, encodedKey: Uint8Array): ShardRecord | undefined {
    const shard = this.found(this.ranges.get(keyspaceId)?.floor(encodedKey));
    return shard !== undefined && inRange(encodedKey, shard.startKey, shard.endKey) ? shard : undefined;
  }

  /** The shard with exactly this start key. */
  startingAt(keyspaceId: number, startKey: Uint8Array): ShardRecord | undefined {
    return this.found(this.ranges.get(keyspaceId)?.get(startKey));
  }

  /** The shard that comes before a start key in its keyspace. */
  before(keyspaceId: number, startKey: Uint8Array): ShardRecord | undefined {
    return this.found(this.ranges.get(keyspaceId)?.before(startKey));
  }

  /** Shards that share keys with [start, end), in order; empty bounds are open. */
  *in(keyspaceId: number, start: Uint8Array, end: Uint8Array): IterableIterator<ShardRecord> {
    for (const id of this.ranges.get(keyspaceId)?.from(start) ?? []) {
      const shard = must(this.byId.get(id), 'a shard of the range index');
      if (end.length > 0 && Buffer.compare(shard.startKey, end) >= 0) return;
      if (shard.endKey.length > 0 && Buffer.compare(shard.endKey, start) <= 0) continue;
      yield shard;
    }
  }

  /** A new shard, or a newer descriptor of one; its start key must be free. */
  put(shard: ShardRecord): void {
    const before = this.byId.get(shard.shardId);
    let index = this.ranges.get(shard.keyspaceId);
    if (index === undefined) this.ranges.set(shard.keyspaceId, (index = new RangeIndex()));
    if (before === undefined || Buffer.compare(before.startKey, shard.startKey) !== 0) {
      if (before !== undefined) index.remove(before.startKey, shard.shardId);
      index.insert(shard.startKey, shard.shardId);
    }
    if (before !== undefined) this.unlinkReplicas(before);
    for (const { storeId } of shard.replicas) {
      let on = this.idsByStore.get(storeId);
      if (on === undefined) this.idsByStore.set(storeId, (on = new Set()));
      on.add(shard.shardId);
      this.countReplica(shard.keyspaceId, storeId, 1);
    }
    this.byId.set(shard.shardId, shard);
    if (before !== undefined) this.merged.forget(before);
    this.merged.note(shard);
  }

  drop(shard: ShardRecord): void {
    this.ranges.get(shard.keyspaceId)?.remove(shard.startKey, shard.shardId);
    this.unlinkReplicas(shard);
    this.byId.delete(shard.shardId);
    this.merged.forget(shard);
  }

  /** A keyspace without shards is gone. */
  forgetKeyspace(keyspaceId: number): void {
    this.ranges.delete(keyspaceId);
  }

  private found(shardId: number | undefined): ShardRecord | undefined {
    return shardId === undefined ? undefined : this.byId.get(shardId);
  }

  private unlinkReplicas({ shardId, keyspaceId, replicas }: ShardRecord): void {
    for (const { storeId } of replicas) {
      this.idsByStore.get(storeId)?.delete(shardId);
      this.countReplica(keyspaceId, storeId, -1);
    }
  }

  private countReplica(keyspaceId: number, storeId: number, by: 1 | -1): void {
    let counts = this.replicaCounts.get(keyspaceId);
    if (counts === undefined) this.replicaCounts.set(keyspaceId, (counts = new Map<number, number>()));
    counts.set(storeId, (counts.get(storeId) ?? 0) + by);
  }
}

const emptySet: ReadonlySet<number> = new Set();
