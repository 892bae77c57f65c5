import { ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import type { ClusterView } from './cluster_view.js';
import type { Rejection, RejectionKind } from './hindrance.js';
import { distinctValues, isApart } from './isolation.js';
import { replicaBaseBytes } from './limits.js';
import type { PlacementRules } from './rules/placement_rules.js';
import { hasLabels, spreadCounted } from './rules/placement_rules.js';
import type { ShardRecord, StoreRecord } from './state/records.js';
import type { StoreLoad, StoreLoads } from './store_loads.js';

/**
 * Use per unit of weight, counted in replicas of small shards: what balance makes equal. A shard of replicaBaseBytes
 * counts twice, so that shards of one size are evened out by number and shards of many sizes by bytes.
 */
export function replicaScore(load: StoreLoad): number {
  return useOf(load) / load.weight;
}

export function useOf(load: StoreLoad): number {
  return load.replicas + load.bytes / replicaBaseBytes;
}

/** What one replica of the shard adds to useOf(). */
export function shardUse(view: ClusterView, shardId: number): number {
  return 1 + (view.status(shardId)?.approximateBytes ?? 0) / replicaBaseBytes;
}

export function leaderScore(load: StoreLoad): number {
  return load.leaders / load.weight;
}

/** The records of the stores that hold the shard, without one that is about to lose its replica. */
export function holders(view: ClusterView, shard: ShardRecord, withoutStoreId: number): StoreRecord[] {
  return recordsOf(view, shard, (replica) => replica.storeId !== withoutStoreId);
}

/** Those that hold a voter, or a replica that is becoming one. */
export function voterHolders(view: ClusterView, shard: ShardRecord, withoutStoreId: number): StoreRecord[] {
  return recordsOf(view, shard, (r) => r.role !== ReplicaRole.LEARNER && r.storeId !== withoutStoreId);
}

function recordsOf(
  view: ClusterView,
  shard: ShardRecord,
  wanted: (replica: ShardRecord['replicas'][number]) => boolean,
): StoreRecord[] {
  const stores: StoreRecord[] = [];
  for (const replica of shard.replicas) {
    const store = wanted(replica) ? view.state.store(replica.storeId) : undefined;
    if (store !== undefined) stores.push(store);
  }
  return stores;
}

/** Why a store cannot take a replica, whatever the shard's other replicas are; null: it can. */
function rejectionOf(view: ClusterView, load: StoreLoad): RejectionKind | null {
  const { store } = load;
  if (load.acceptsReplicas) return null;
  if (store.state === 'draining') return 'draining';
  if (store.state === 'maintenance') return 'maintenance';
  if (!view.isConnected(store.storeId)) return 'unreachable';
  return 'diskFull';
}

/** What a new replica is for. */
export type TargetRole =
  { readonly for: 'voter' } | { readonly for: 'learner'; readonly on: PlacementRules['votersOn'] };

const asVoter: TargetRole = { for: 'voter' };

/** A store for a new replica, or why each store cannot take it. */
export type TargetChoice =
  | { readonly store: StoreRecord; readonly rejected?: undefined }
  | { readonly store: null; readonly rejected: readonly Rejection[] };

/**
 * The best store for a new replica of the shard: one with the labels that the rules ask for, on a host of its own, where
 * a leader is wanted if no other voter is there, in as many zones as can be, then the one with the smallest share.
 * withoutStoreId: the store whose replica it replaces, or 0.
 */
export function findTarget(
  view: ClusterView,
  shard: ShardRecord,
  withoutStoreId: number,
  loads: StoreLoads,
  role: TargetRole = asVoter,
): TargetChoice {
  const rules = view.rulesOf(shard);
  const others = holders(view, shard, withoutStoreId);
  const voters = voterHolders(view, shard, withoutStoreId);
  const present = new Set(shard.replicas.map((r) => r.storeId));
  const wantsLeaderPlace =
    role.for === 'voter' && rules.leaderOn.length > 0 && !voters.some((s) => hasLabels(s, rules.leaderOn));
  const labels = role.for === 'voter' ? rules.votersOn : role.on;
  const rejected: Rejection[] = [];
  let best: StoreLoad | null = null;
  let bestRank = -1;
  for (const load of loads.values()) {
    const { store } = load;
    const kind = rejectionFor(view, load, present, labels, others);
    if (kind !== null) {
      if (store.storeId !== withoutStoreId) rejected.push({ storeId: store.storeId, kind });
      continue;
    }
    const leaderPlace = wantsLeaderPlace && hasLabels(store, rules.leaderOn) ? leaderPlaceRank : 0;
    const rank = leaderPlace + spreadCounted(rules, distinctValues([...voters, store], rules.spread));
    if (best === null || rank > bestRank || (rank === bestRank && replicaScore(load) < replicaScore(best))) {
      best = load;
      bestRank = rank;
    }
  }
  return best === null ? { store: null, rejected } : { store: best.store };
}

/** Above any number of zones that a shard's voters can be in. */
const leaderPlaceRank = 1_000;

function rejectionFor(
  view: ClusterView,
  load: StoreLoad,
  present: ReadonlySet<number>,
  labels: PlacementRules['votersOn'],
  others: readonly StoreRecord[],
): RejectionKind | null {
  if (present.has(load.store.storeId)) return 'holdsReplica';
  if (!hasLabels(load.store, labels)) return 'labels';
  return rejectionOf(view, load) ?? (isApart(load.store, others) ? null : 'sharesHost');
}

/**
 * The voter's store that should lead instead of `fromStoreId`: caught up, where the leader should be if one is there, and
 * with the smallest share of leaders.
 */
export function chooseHeir(
  view: ClusterView,
  shard: ShardRecord,
  fromStoreId: number,
  loads: StoreLoads,
): StoreRecord | null {
  const { leaderOn } = view.rulesOf(shard);
  let best: StoreLoad | null = null;
  let bestFits = false;
  for (const replica of shard.replicas) {
    const load = loads.get(replica.storeId);
    if (load === undefined || replica.storeId === fromStoreId || !load.acceptsLeaders) continue;
    if (replica.role !== ReplicaRole.VOTER || !view.isCaughtUp(shard.shardId, replica.replicaId)) continue;
    const fits = hasLabels(load.store, leaderOn);
    const better = best === null || (fits === bestFits ? leaderScore(load) < leaderScore(best) : fits);
    if (!better) continue;
    best = load;
    bestFits = fits;
  }
  return best?.store ?? null;
}
