import type { Replica } from '../src/gen/skerry/v1/meta.js';

/** What the shards on a store add up to. */
export interface Use {
  /** Bytes of its replicas, as their leaders estimate them. */
  readonly bytes: number;
  /** Operations per second: reads and writes of the shards that it leads, and writes of all that it holds. */
  readonly work: number;
}

/** What one shard adds. */
export interface ShardUse {
  readonly replicas: readonly Replica[];
  /** 0: none known. */
  readonly leaderStoreId: number;
  readonly bytes: number;
  readonly readsPerS: number;
  readonly writesPerS: number;
}

interface Sum {
  bytes: number;
  work: number;
}

const nothing: Use = { bytes: 0, work: 0 };

/** Sums per store, kept up to date shard by shard, so that a round of balance need not look at every shard. */
export class StoreUse {
  private readonly counted = new Map<number, ShardUse>();
  private readonly sums = new Map<number, Sum>();

  on(storeId: number): Use {
    return this.sums.get(storeId) ?? nothing;
  }

  /** Counts the shard as it is now instead of as it was. */
  count(shardId: number, use: ShardUse): void {
    this.forget(shardId);
    if (use.bytes === 0 && use.readsPerS === 0 && use.writesPerS === 0) return;
    this.counted.set(shardId, use);
    this.add(use, 1);
  }

  forget(shardId: number): void {
    const before = this.counted.get(shardId);
    if (before === undefined) return;
    this.counted.delete(shardId);
    this.add(before, -1);
  }

  private add({ replicas, leaderStoreId, bytes, readsPerS, writesPerS }: ShardUse, sign: 1 | -1): void {
    for (const { storeId } of replicas) {
      let sum = this.sums.get(storeId);
      if (sum === undefined) this.sums.set(storeId, (sum = { bytes: 0, work: 0 }));
      sum.bytes += sign * bytes;
      sum.work += sign * writesPerS;
      if (storeId === leaderStoreId) sum.work += sign * (readsPerS + writesPerS);
    }
  }
}
