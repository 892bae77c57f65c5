import type { Shard } from '../../src/gen/skerry/v1/meta.js';

/** Where shards that were merged away went: from the descriptors of those that took them in, which remember a bounded number. */
export class MergedShards {
  private readonly holders = new Map<number, number>();

  /** The id of the shard that a merged one is a part of; undefined: not remembered. */
  holderOf(mergedShardId: number): number | undefined {
    return this.holders.get(mergedShardId);
  }

  /** A shard has this descriptor now. */
  note({ shardId, merge }: Shard): void {
    for (const merged of merge?.merged ?? []) this.holders.set(merged.shardId, shardId);
  }

  /** A descriptor counts no longer. */
  forget({ shardId, merge }: Shard): void {
    for (const merged of merge?.merged ?? []) {
      if (this.holders.get(merged.shardId) === shardId) this.holders.delete(merged.shardId);
    }
  }
}
