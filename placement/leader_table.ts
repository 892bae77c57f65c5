/** Who leads a shard, as its leader's store or the placement leader said. */
export interface Leadership {
  readonly leaderReplicaId: number;
  readonly leaderStoreId: number;
  readonly term: number;
}

/** Leaders by shard and by store. Terms only go up; a report of an older term is late and changes nothing. */
export class LeaderTable {
  private readonly byShard = new Map<number, Leadership>();
  private readonly byStore = new Map<number, Set<number>>();

  get(shardId: number): Leadership | undefined {
    return this.byShard.get(shardId);
  }

  /** Shards that the store leads. */
  ledBy(storeId: number): ReadonlySet<number> {
    return this.byStore.get(storeId) ?? noShards;
  }

  countOn(storeId: number): number {
    return this.byStore.get(storeId)?.size ?? 0;
  }

  /** True when something changed. A leaderReplicaId of 0 means that no leader is known. */
  set(shardId: number, leadership: Leadership): boolean {
    const before = this.byShard.get(shardId);
    if (before !== undefined && leadership.term < before.term) return false;
    if (
      before?.term === leadership.term &&
      before.leaderReplicaId === leadership.leaderReplicaId &&
      before.leaderStoreId === leadership.leaderStoreId
    ) {
      return false;
    }
    this.unlink(shardId, before);
    this.byShard.set(shardId, leadership);
    if (leadership.leaderStoreId !== 0) this.link(shardId, leadership.leaderStoreId);
    return true;
  }

  /** The store says that it leads the shard no more. True when it was the one known. */
  resign(shardId: number, storeId: number): boolean {
    const before = this.byShard.get(shardId);
    if (before?.leaderStoreId !== storeId) return false;
    this.unlink(shardId, before);
    this.byShard.set(shardId, { leaderReplicaId: 0, leaderStoreId: 0, term: before.term });
    return true;
  }

  forget(shardId: number): void {
    this.unlink(shardId, this.byShard.get(shardId));
    this.byShard.delete(shardId);
  }

  private link(shardId: number, storeId: number): void {
    let led = this.byStore.get(storeId);
    if (led === undefined) this.byStore.set(storeId, (led = new Set()));
    led.add(shardId);
  }

  private unlink(shardId: number, leadership: Leadership | undefined): void {
    if (leadership !== undefined) this.byStore.get(leadership.leaderStoreId)?.delete(shardId);
  }
}

const noShards: ReadonlySet<number> = new Set();
