import { must } from '../../../src/base/assert.js';
import { Partitioning, ReplicaRole } from '../../../src/gen/skerry/v1/meta.js';
import { ClusterView } from '../../../placement/cluster_view.js';
import { LeaderTable } from '../../../placement/leader_table.js';
import { OperatorTable } from '../../../placement/operators/operator_table.js';
import { ClusterState } from '../../../placement/state/cluster_state.js';
import type { ShardRecord, StoredStoreState } from '../../../placement/state/records.js';
import { storeLoads } from '../../../placement/store_loads.js';
import type { StoreLoad } from '../../../placement/store_loads.js';

/** v voter, l learner, i incoming, o outgoing; with ! behind it: pending; with x: it lost data. Keys are store ids. */
export type ReplicaSpec = Readonly<Record<number, string>>;

export interface StoreSpec {
  /** up, draining, tombstone, or silent (up, but disconnected) or down (up, but silent for too long). */
  readonly state?: StoredStoreState | 'silent' | 'down';
  readonly labels?: Readonly<Record<string, string>>;
  readonly capacity?: number;
  readonly diskFull?: boolean;
  readonly diskStalled?: boolean;
}

export interface ShardSpec {
  readonly replicas: ReplicaSpec;
  /** Store that leads; default: the first voter's; 0: none. */
  readonly leader?: number;
  readonly target?: { readonly voters: number; readonly learners?: readonly number[] };
}

export interface ViewSpec {
  /** Stores 1, 2, 3, ... */
  readonly stores: readonly StoreSpec[];
  readonly shards: readonly ShardSpec[];
  readonly replicaCount?: number;
}

const roles: Readonly<Record<string, ReplicaRole>> = {
  v: ReplicaRole.VOTER,
  l: ReplicaRole.LEARNER,
  i: ReplicaRole.INCOMING_VOTER,
  o: ReplicaRole.OUTGOING_VOTER,
};
const times = { storeDisconnectMs: 1_000, storeDownMs: 10_000 };
const nowMs = 100_000;
const silenceMs: Readonly<Record<string, number>> = { silent: 5_000, down: 50_000 };

export interface FixedView {
  readonly view: ClusterView;
  readonly state: ClusterState;
  readonly operators: OperatorTable;
  readonly shards: readonly ShardRecord[];
  loads(): Map<number, StoreLoad>;
}

/** A cluster as a table says it, at rest. Replica ids are 100 × shard + store. */
export function fixedView(spec: ViewSpec): FixedView {
  const state = new ClusterState();
  const view = new ClusterView({ state: () => state, leaders: new LeaderTable(), times, sinceMs: 0 });
  // The view's clock does not go back, so the stores that were silent for longest speak first.
  const silence = (store: StoreSpec): number => silenceMs[store.state ?? 'up'] ?? 0;
  const stores = spec.stores.map((store, i) => ({ store, storeId: i + 1 }));
  stores.sort((a, b) => silence(b.store) - silence(a.store));
  for (const { store, storeId } of stores) addStore(state, view, storeId, store);
  view.setTime(nowMs);
  const replicaCount = spec.replicaCount ?? 3;
  state.restoreKeyspace({
    keyspaceId: 1,
    name: 'ks',
    partitioning: Partitioning.RANGE,
    replicaCount,
    initialShards: spec.shards.length,
    phase: 'ready',
  });
  spec.shards.forEach((shard, i) => addShard(state, view, i + 1, shard));
  const operators = new OperatorTable();
  return { view, state, operators, shards: [...state.shards()], loads: () => storeLoads(view, operators) };
}

function addStore(state: ClusterState, view: ClusterView, storeId: number, spec: StoreSpec): void {
  const { state: given = 'up', labels = {} } = spec;
  state.restoreStore({
    storeId,
    address: `s${storeId}`,
    labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
    state: given === 'silent' || given === 'down' ? 'up' : given,
    version: '',
    engine: '',
    directoryId: `d${storeId}`,
  });
  view.setTime(nowMs - (silenceMs[given] ?? 0));
  view.storeHeartbeat(storeId, {
    capacityBytes: spec.capacity ?? 1_000,
    usedBytes: 0,
    replicaCount: 0,
    leaderCount: 0,
    snapshotsInFlight: 0,
    incarnation: 1,
    diskFull: spec.diskFull ?? false,
    fsyncP99Us: 0,
    quarantined: [],
    quarantinedCount: 0,
    diskStalled: spec.diskStalled ?? false,
  });
}

function addShard(state: ClusterState, view: ClusterView, shardId: number, spec: ShardSpec): void {
  const entries = Object.entries(spec.replicas).map(([id, mark]) => ({ storeId: Number(id), mark }));
  const replicas = entries.map(({ storeId, mark }) => ({
    replicaId: shardId * 100 + storeId,
    storeId,
    role: must(roles[mark.charAt(0)], 'a role'),
  }));
  const key = Buffer.alloc(shardId === 1 ? 0 : 4);
  if (shardId > 1) key.writeUInt32BE(shardId);
  const epoch = { confVer: 1, version: 1 };
  const shard = {
    shardId,
    keyspaceId: 1,
    partitioning: Partitioning.RANGE,
    startKey: key,
    endKey: Buffer.alloc(0),
    epoch,
    replicas,
  };
  state.restoreShard(shard);
  if (spec.target !== undefined) {
    state.restoreTarget({ shardId, voters: spec.target.voters, learnerStoreIds: spec.target.learners ?? [] });
  }
  for (const { storeId, mark } of entries) {
    const report = view.report(storeId);
    if (report === undefined || !mark.endsWith('x')) continue;
    const lost = { shardId, replicaId: shardId * 100 + storeId, epoch };
    view.storeHeartbeat(storeId, { ...report, quarantined: [...report.quarantined, lost] });
  }
  const leader = spec.leader ?? replicas.find((r) => r.role === ReplicaRole.VOTER)?.storeId ?? 0;
  if (leader === 0) return;
  view.shardReport(leader, {
    shard,
    leaderReplicaId: shardId * 100 + leader,
    term: 6,
    progress: entries.map(({ storeId, mark }) => ({
      replicaId: shardId * 100 + storeId,
      down: false,
      pending: mark.endsWith('!'),
      matchIndex: 0,
    })),
    approximateBytes: 0,
    approximateKeys: 0,
    readsPerS: 0,
    writesPerS: 0,
  });
}
