import { ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import { distinctZones, isApart } from './isolation.js';
import type { ClusterView } from './cluster_view.js';
import type { ShardRecord, StoreRecord } from './state/records.js';
import type { StoreLoad, StoreLoads } from './store_loads.js';

/** Replicas per unit of weight: what balance makes equal. */
export function replicaScore(load: StoreLoad): number {
  return load.replicas / load.weight;
}

export function leaderScore(load: StoreLoad): number {
  return load.leaders / load.weight;
}

/** The records of the stores that hold the shard, without one that is about to lose its replica. */
export function holders(view: ClusterView, shard: ShardRecord, withoutStoreId: number): StoreRecord[] {
  const stores: StoreRecord[] = [];
  for (const replica of shard.replicas) {
    const store = replica.storeId === withoutStoreId ? undefined : view.state.store(replica.storeId);
    if (store !== undefined) stores.push(store);
  }
  return stores;
}

/**
 * The best store for a new replica of the shard: on a host of its own, in as many zones as can be, then the one with
 * the smallest share. withoutStoreId: the store whose replica it replaces, or 0. Null: no store may take it.
 */
export function chooseTarget(
  view: ClusterView,
  shard: ShardRecord,
  withoutStoreId: number,
  loads: StoreLoads,
): StoreRecord | null {
  const others = holders(view, shard, withoutStoreId);
  const present = new Set(shard.replicas.map((r) => r.storeId));
  let best: StoreLoad | null = null;
  let bestZones = 0;
  for (const load of loads.values()) {
    if (!load.acceptsReplicas || present.has(load.store.storeId) || !isApart(load.store, others)) continue;
    const zones = distinctZones([...others, load.store]);
    if (best === null || zones > bestZones || (zones === bestZones && replicaScore(load) < replicaScore(best))) {
      best = load;
      bestZones = zones;
    }
  }
  return best?.store ?? null;
}

/** The voter's store that should lead instead of `fromStoreId`: caught up, and with the smallest share of leaders. */
export function chooseHeir(
  view: ClusterView,
  shard: ShardRecord,
  fromStoreId: number,
  loads: StoreLoads,
): StoreRecord | null {
  let best: StoreLoad | null = null;
  for (const replica of shard.replicas) {
    const load = loads.get(replica.storeId);
    if (load === undefined || replica.storeId === fromStoreId || !load.acceptsLeaders) continue;
    if (replica.role !== ReplicaRole.VOTER || !view.isCaughtUp(shard.shardId, replica.replicaId)) continue;
    if (best === null || leaderScore(load) < leaderScore(best)) best = load;
  }
  return best?.store ?? null;
}
