import HashRing from 'hashring';
import { must } from '../src/base/assert.js';
import { distinctHosts, distinctValues, isApart } from './isolation.js';
import type { PlacementRules } from './rules/placement_rules.js';
import { hasLabels } from './rules/placement_rules.js';
import type { StoreRecord } from './state/records.js';
import type { StoreLoad } from './store_loads.js';

/**
 * Where the replicas of a new keyspace's shards go. A consistent-hash ring, weighted by capacity, says in which
 * order each shard likes the stores, so that the same shard meets the same stores whatever else there is; hosts and zones
 * keep its replicas apart; and a cap per store makes the shares even from the start instead of on average.
 */
export interface InitialPlacement {
  /** Makes keyspaces differ from each other. */
  readonly seed: string;
  readonly shards: number;
  /** voters: the replicas of each shard. */
  readonly rules: PlacementRules;
  /** Stores that accept replicas, and have the labels that the rules ask of voters. */
  readonly loads: readonly StoreLoad[];
}

interface Bin {
  readonly store: StoreRecord;
  readonly load: StoreLoad;
  /** Replicas of this keyspace that the store should have at most. */
  readonly cap: number;
  replicas: number;
  leaders: number;
}

/** Store ids per shard, the first one to lead. Null: fewer hosts than replicas. */
export function placeInitially(options: InitialPlacement): number[][] | null {
  const { loads, shards, rules } = options;
  const replicaCount = rules.voters;
  if (distinctHosts(loads.map((l) => l.store)) < replicaCount) return null;
  const caps = fairCaps(loads, shards, replicaCount);
  const bins = new Map<number, Bin>();
  loads.forEach((load, i) =>
    bins.set(load.store.storeId, { store: load.store, load, cap: caps[i] ?? 0, replicas: 0, leaders: 0 }),
  );
  const ring = ringOf(loads);
  const placed: Bin[][] = [];
  for (let i = 0; i < shards; i++) {
    const liked = ring.range(`${options.seed}/${i}`, loads.length);
    const order = liked.map((name) => must(bins.get(storeIdOf(name)), 'a store of the ring'));
    const chosen = chooseStores(order, rules);
    for (const bin of chosen) bin.replicas++;
    placed.push(chosen);
  }
  evenReplicas(placed, [...bins.values()], rules);
  const leaders = electFirst(placed, rules);
  return placed.map((chosen, i) => {
    const first = must(leaders[i], 'a first leader');
    return [first, ...chosen.filter((bin) => bin !== first)].map((bin) => bin.store.storeId);
  });
}

function ringOf(loads: readonly StoreLoad[]): HashRing {
  const servers: Record<string, { weight: number }> = {};
  for (const load of loads) servers[nameOf(load.store.storeId)] = { weight: Math.round(load.weight * 16) };
  return new HashRing(servers, 'md5', { 'max cache size': 1 });
}

function nameOf(storeId: number): string {
  return `store-${storeId}`;
}

function storeIdOf(name: string): number {
  return Number(name.slice('store-'.length));
}

/** Replicas per store in proportion to weight; a store holds each shard once at most, and the others share what it cannot take. */
function fairCaps(loads: readonly StoreLoad[], shards: number, replicaCount: number): number[] {
  const caps = loads.map(() => 0);
  let open = loads.map((_, i) => i);
  let replicas = shards * replicaCount;
  for (;;) {
    const weight = open.reduce((sum, i) => sum + (loads[i]?.weight ?? 0), 0);
    const full = open.filter((i) => (replicas * (loads[i]?.weight ?? 0)) / weight >= shards);
    if (full.length === 0) {
      for (const i of open) caps[i] = Math.ceil((replicas * (loads[i]?.weight ?? 0)) / weight);
      return caps;
    }
    for (const i of full) caps[i] = shards;
    replicas -= full.length * shards;
    open = open.filter((i) => !full.includes(i));
    if (open.length === 0) return caps;
  }
}

/** Stores in the order liked: one where the leader belongs, zones apart and below their cap if possible, hosts apart always. */
function chooseStores(order: readonly Bin[], { voters: count, spread, leaderOn }: PlacementRules): Bin[] {
  const chosen: Bin[] = [];
  const take = (allowed: (bin: Bin) => boolean): void => {
    for (const bin of order) {
      if (chosen.length === count) return;
      if (chosen.includes(bin) || !allowed(bin)) continue;
      if (isApart(bin.store, storesOf(chosen))) chosen.push(bin);
    }
  };
  const addsZone = (bin: Bin): boolean => {
    const stores = storesOf(chosen);
    return distinctValues([...stores, bin.store], spread) > distinctValues(stores, spread);
  };
  const belowCap = (bin: Bin): boolean => bin.replicas < bin.cap;
  if (leaderOn.length > 0) {
    const places = order.filter((bin) => hasLabels(bin.store, leaderOn));
    const place = places.find(belowCap) ?? places[0];
    if (place !== undefined) chosen.push(place);
  }
  take((bin) => addsZone(bin) && belowCap(bin));
  take(addsZone);
  take(belowCap);
  take(() => true);
  return chosen;
}

function storesOf(bins: readonly Bin[]): StoreRecord[] {
  return bins.map((bin) => bin.store);
}

/** Passes of the evening steps: each lowers the spread, and a handful reach the end on any cluster tried. */
const eveningPassesMax = 16;

/** Moves single replicas from stores with more than their share to stores with less, where hosts and zones allow. */
function evenReplicas(placed: Bin[][], bins: readonly Bin[], rules: PlacementRules): void {
  let moved = true;
  for (let pass = 0; moved && pass < eveningPassesMax; pass++) {
    moved = false;
    for (const chosen of placed) {
      for (const [i, from] of chosen.entries()) {
        const to = lessLoaded(chosen, from, bins, rules);
        if (to === null) continue;
        chosen[i] = to;
        from.replicas--;
        to.replicas++;
        moved = true;
      }
    }
  }
}

function lessLoaded(
  chosen: readonly Bin[],
  from: Bin,
  bins: readonly Bin[],
  { spread, leaderOn }: PlacementRules,
): Bin | null {
  const others = storesOf(chosen.filter((other) => other !== from));
  const zones = distinctValues([...others, from.store], spread);
  // The only replica where the leader belongs goes to such a place only.
  const isPlace = hasLabels(from.store, leaderOn) && !others.some((store) => hasLabels(store, leaderOn));
  let best: Bin | null = null;
  for (const bin of bins) {
    const share = (bin.replicas + 1) / bin.load.weight;
    if (share > (from.replicas - 1) / from.load.weight || chosen.includes(bin)) continue;
    if (best !== null && share >= (best.replicas + 1) / best.load.weight) continue;
    if (isPlace && !hasLabels(bin.store, leaderOn)) continue;
    if (isApart(bin.store, others) && distinctValues([...others, bin.store], spread) >= zones) best = bin;
  }
  return best;
}

/** The first leader of each shard: the store with the smallest share of leaders so far, then evened out. */
function electFirst(placed: readonly (readonly Bin[])[], { leaderOn }: PlacementRules): Bin[] {
  const heirs = placed.map((chosen) => {
    const fitting = chosen.filter((bin) => hasLabels(bin.store, leaderOn));
    return fitting.length > 0 ? fitting : chosen;
  });
  const leaders = heirs.map((chosen) => {
    const first = smallestShare(chosen);
    first.leaders++;
    return first;
  });
  let moved = true;
  for (let pass = 0; moved && pass < eveningPassesMax; pass++) {
    moved = false;
    for (const [i, chosen] of heirs.entries()) {
      const from = must(leaders[i], 'a first leader');
      const to = smallestShare(chosen);
      if ((to.leaders + 1) / to.load.weight > (from.leaders - 1) / from.load.weight) continue;
      from.leaders--;
      to.leaders++;
      leaders[i] = to;
      moved = true;
    }
  }
  return leaders;
}

/** In this keyspace first, and then in all. */
function smallestShare(chosen: readonly Bin[]): Bin {
  let smallest = must(chosen[0], 'a replica');
  for (const bin of chosen) {
    const share = bin.leaders / bin.load.weight - smallest.leaders / smallest.load.weight;
    if (share < 0 || (share === 0 && bin.load.leaders < smallest.load.leaders)) smallest = bin;
  }
  return smallest;
}
