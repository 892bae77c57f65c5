import type { ClusterView } from './cluster_view.js';
import { effectOf } from './operators/operator.js';
import type { OperatorTable } from './operators/operator_table.js';
import type { StoreRecord } from './state/records.js';

/** A store's share of the cluster as it will be once everything in flight has arrived. */
export interface StoreLoad {
  readonly store: StoreRecord;
  /** Share of the work it should bear, relative to the largest store (1). */
  readonly weight: number;
  replicas: number;
  /** Of its replicas, as their leaders estimate them. */
  bytes: number;
  leaders: number;
  /** Operations per second that it has a part in. */
  work: number;
  /** Replica moves in flight to it and from it. */
  incoming: number;
  outgoing: number;
  /** Leader transfers in flight to or from it. */
  transfers: number;
  readonly acceptsReplicas: boolean;
  readonly acceptsLeaders: boolean;
}

export type StoreLoads = ReadonlyMap<number, StoreLoad>;

/** Weights move in steps of a sixteenth, so that a disk that grows a little does not set replicas in motion. */
const weightSteps = 16;

/** The loads of all stores but tombstones. */
export function storeLoads(view: ClusterView, operators: OperatorTable): Map<number, StoreLoad> {
  const loads = new Map<number, StoreLoad>();
  const capacityMax = Math.max(1, ...[...view.state.stores()].map((s) => view.report(s.storeId)?.capacityBytes ?? 0));
  for (const store of view.state.stores()) {
    if (store.state === 'tombstone') continue;
    loads.set(store.storeId, {
      store,
      weight: capacityWeight(view.report(store.storeId)?.capacityBytes ?? 0, capacityMax),
      replicas: view.state.shardIdsOn(store.storeId).size,
      bytes: view.useOf(store.storeId).bytes,
      leaders: view.leaders.countOn(store.storeId),
      work: view.useOf(store.storeId).work,
      incoming: 0,
      outgoing: 0,
      transfers: 0,
      acceptsReplicas: view.acceptsReplicas(store),
      acceptsLeaders: view.acceptsLeaders(store),
    });
  }
  for (const operator of operators.running()) addInFlight(loads, view, operator.plan.shardId, effectOf(operator.steps));
  return loads;
}

/** Counts a planned change as if it had happened. */
export function addInFlight(
  loads: StoreLoads,
  view: ClusterView,
  shardId: number,
  effect: ReturnType<typeof effectOf>,
): void {
  const status = view.status(shardId);
  const bytes = status?.approximateBytes ?? 0;
  for (const storeId of effect.adds) {
    const load = loads.get(storeId);
    if (load === undefined) continue;
    load.incoming++;
    if (view.state.shardIdsOn(storeId).has(shardId)) continue;
    load.replicas++;
    load.bytes += bytes;
  }
  for (const storeId of effect.removes) {
    const load = loads.get(storeId);
    if (load === undefined) continue;
    load.outgoing++;
    if (!view.state.shardIdsOn(storeId).has(shardId)) continue;
    load.replicas--;
    load.bytes -= bytes;
  }
  if (effect.leaderTo === 0) return;
  const from = loads.get(view.leaderOf(shardId)?.leaderStoreId ?? 0);
  const to = loads.get(effect.leaderTo);
  if (to === undefined) return;
  to.transfers++;
  if (from === to) return;
  to.leaders++;
  to.work += view.workOf(shardId);
  if (from !== undefined) {
    from.transfers++;
    from.leaders--;
    from.work -= view.workOf(shardId);
  }
}

function capacityWeight(capacityBytes: number, capacityMax: number): number {
  // A store that has not told its capacity counts as a large one; it will tell within a heartbeat.
  if (capacityBytes === 0) return 1;
  return Math.max(1, Math.round((capacityBytes / capacityMax) * weightSteps)) / weightSteps;
}
