import type { AdminClient } from '../../src/client/index.js';
import { ReplicaRole, StoreState } from '../../src/gen/skerry/v1/meta.js';
import { keyspace } from './bench_cluster.js';

interface Held {
  readonly stores: readonly number[];
  readonly leader: number;
  /** Grows by one with each change of the shard's configuration. */
  readonly confVer: number;
}

/** Changes of configuration that a move of a replica takes: a learner comes, a joint change begins, and ends. */
const changesPerMove = 3;

/** Where the replicas and leaders of the keyspace are at one moment. */
export class ReplicaMap {
  private readonly shards: ReadonlyMap<number, Held>;
  /** Stores that should have a share. */
  private readonly stores: readonly number[];

  private constructor(shards: ReadonlyMap<number, Held>, stores: readonly number[]) {
    this.shards = shards;
    this.stores = stores;
  }

  /** @throws Error while a shard is on its way: what is counted here is counted at rest */
  static async read(admin: AdminClient): Promise<ReplicaMap> {
    const shards = new Map<number, Held>();
    for await (const { route } of admin.listShards(keyspace)) {
      const { shardId = 0, replicas = [], epoch } = route?.shard ?? {};
      if (replicas.some((r) => r.role !== ReplicaRole.VOTER)) throw new Error(`shard ${shardId} is being moved`);
      const stores = replicas.map((r) => r.storeId);
      shards.set(shardId, { stores, leader: route?.leaderStoreId ?? 0, confVer: epoch?.confVer ?? 0 });
    }
    const up = (await admin.listStores()).filter((store) => store.state === StoreState.UP);
    return new ReplicaMap(
      shards,
      up.map((store) => store.storeId),
    );
  }

  /** What happened between two moments, and how even the later one is. */
  changesSince(before: ReplicaMap): Record<string, number> {
    let moves = 0;
    let twice = 0;
    let ledElsewhere = 0;
    for (const [shardId, now] of this.shards) {
      const then = before.shards.get(shardId);
      const moved = ((now.confVer - (then?.confVer ?? 0)) / changesPerMove) | 0;
      moves += moved;
      if (moved > 1) twice++;
      if (then?.leader !== now.leader) ledElsewhere++;
    }
    const held = this.count((shard) => shard.stores);
    const heldBefore = before.count((shard) => shard.stores);
    let least = 0;
    for (const [storeId, count] of held) least += Math.max(0, count - (heldBefore.get(storeId) ?? 0));
    return {
      'replicas moved': moves,
      'fewest that lead there': least,
      'moved more than needed %': (moves / least - 1) * 100,
      'shards moved twice': twice,
      'shards led elsewhere': ledElsewhere,
      'replicas furthest from even %': this.furthest(held),
      'leaders furthest from even %': this.furthest(this.count((shard) => [shard.leader])),
    };
  }

  private count(storesOf: (shard: Held) => readonly number[]): Map<number, number> {
    const counts = new Map<number, number>();
    for (const shard of this.shards.values())
      for (const storeId of storesOf(shard)) counts.set(storeId, (counts.get(storeId) ?? 0) + 1);
    return counts;
  }

  private furthest(counts: ReadonlyMap<number, number>): number {
    const total = [...counts.values()].reduce((a, b) => a + b, 0);
    const even = total / this.stores.length;
    return Math.max(...this.stores.map((id) => Math.abs((counts.get(id) ?? 0) - even) / even)) * 100;
  }
}
