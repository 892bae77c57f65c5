import { must } from '../../../src/base/assert.js';
import { Partitioning, ReplicaRole } from '../../../src/gen/skerry/v1/meta.js';
import { ClusterView } from '../../../placement/cluster_view.js';
import { LeaderTable } from '../../../placement/leader_table.js';
import { slowAfterMs, slowSyncUs } from '../../../placement/limits.js';
import { OperatorTable } from '../../../placement/operators/operator_table.js';
import type { PlacementRules } from '../../../placement/rules/placement_rules.js';
import { ClusterState } from '../../../placement/state/cluster_state.js';
import type { ShardRecord, StoredStoreState } from '../../../placement/state/records.js';
import { storeLoads } from '../../../placement/store_loads.js';
import type { StoreLoad } from '../../../placement/store_loads.js';

/** v voter, l learner, i incoming, o outgoing; with ! behind it: pending; with x: it lost data. Keys are store ids. */
export type ReplicaSpec = Readonly<Record<number, string>>;

export interface StoreSpec {
  /** silent: up, but disconnected; down: up, but silent for too long. */
  readonly state?: StoredStoreState | 'silent' | 'down';
  readonly labels?: Readonly<Record<string, string>>;
  readonly capacity?: number;
  readonly diskFull?: boolean;
  readonly diskStalled?: boolean;
  /** Its syncs have been slow for a while. */
  readonly slow?: boolean;
}

export interface ShardSpec {
  readonly replicas: ReplicaSpec;
  /** Store that leads; default: the first voter's; 0: none. */
  readonly leader?: number;
  readonly target?: { readonly voters: number; readonly learners?: readonly number[] };
  /** Default: 1. */
  readonly keyspace?: number;
  readonly bytes?: number;
  readonly keys?: number;
  readonly reads?: number;
  readonly writes?: number;
}

export interface ViewSpec {
  /** Stores 1, 2, 3, ... */
  readonly stores: readonly StoreSpec[];
  /** Shards 1, 2, 3, ..., each one after the other in its keyspace. */
  readonly shards: readonly ShardSpec[];
  readonly replicaCount?: number;
  readonly rules?: PlacementRules;
  /** Default: as many as there are. */
  readonly initialShards?: number;
}

const roles: Readonly<Record<string, ReplicaRole>> = {
  v: ReplicaRole.VOTER,
  l: ReplicaRole.LEARNER,
  i: ReplicaRole.INCOMING_VOTER,
  o: ReplicaRole.OUTGOING_VOTER,
};
const times = { storeDisconnectMs: 1_000, storeDownMs: 10_000 };
/** Late enough that a view which began at 0 has seen everything that rests come to an end. */
export const nowMs = 10_000_000;
const silenceMs: Readonly<Record<string, number>> = { silent: 5_000, down: 50_000 };

export interface FixedView {
  readonly view: ClusterView;
  readonly state: ClusterState;
  readonly operators: OperatorTable;
  readonly shards: readonly ShardRecord[];
  readonly loads: () => Map<number, StoreLoad>;
}

/** A cluster as a table says it, at rest. Replica ids are 100 × shard + store. */
export function fixedView(spec: ViewSpec): FixedView {
  const state = new ClusterState();
  const view = new ClusterView({ state: () => state, leaders: new LeaderTable(), times, sinceMs: 0 });
  spec.stores.forEach((store, i) => restoreStore(state, i + 1, store));
  const heard = spec.stores.flatMap((store, i) =>
    heartbeatTimes(store).map((atMs) => ({ atMs, storeId: i + 1, store })),
  );
  // The view's clock does not go back.
  heard.sort((a, b) => a.atMs - b.atMs);
  for (const { atMs, storeId, store } of heard) {
    view.setTime(atMs);
    heartbeat(view, storeId, store);
  }
  view.setTime(nowMs);
  const keyspaceIds = new Set([1, ...spec.shards.map((shard) => shard.keyspace ?? 1)]);
  for (const keyspaceId of keyspaceIds) {
    state.restoreKeyspace({
      keyspaceId,
      name: `ks${keyspaceId}`,
      partitioning: Partitioning.RANGE,
      replicaCount: spec.rules?.voters ?? spec.replicaCount ?? 3,
      initialShards: spec.initialShards ?? spec.shards.length,
      phase: 'ready',
      ...(spec.rules === undefined ? {} : { rules: spec.rules }),
    });
  }
  spec.shards.forEach((shard, i) => addShard(state, view, i + 1, shard, nextOf(spec.shards, i)));
  const operators = new OperatorTable();
  return { view, state, operators, shards: [...state.shards()], loads: () => storeLoads(view, operators) };
}

/** Position of the shard that comes after this one in its keyspace; -1: none. */
function nextOf(shards: readonly ShardSpec[], at: number): number {
  return shards.findIndex((shard, i) => i > at && (shard.keyspace ?? 1) === (shards[at]?.keyspace ?? 1));
}

function heartbeatTimes({ state = 'up', slow = false }: StoreSpec): number[] {
  const last = nowMs - (silenceMs[state] ?? 0);
  return slow ? [last - slowAfterMs, last] : [last];
}

function restoreStore(state: ClusterState, storeId: number, spec: StoreSpec): void {
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
}

function heartbeat(view: ClusterView, storeId: number, spec: StoreSpec): void {
  view.storeHeartbeat(storeId, {
    capacityBytes: spec.capacity ?? 1_000,
    usedBytes: 0,
    replicaCount: 0,
    leaderCount: 0,
    snapshotsInFlight: 0,
    incarnation: 1,
    diskFull: spec.diskFull ?? false,
    fsyncP99Us: spec.slow === true ? slowSyncUs : 0,
    quarantined: [],
    quarantinedCount: 0,
    diskStalled: spec.diskStalled ?? false,
  });
}

function keyOf(shardId: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32BE(shardId);
  return key;
}

function addShard(state: ClusterState, view: ClusterView, shardId: number, spec: ShardSpec, next: number): void {
  const { keyspace = 1 } = spec;
  const entries = Object.entries(spec.replicas).map(([id, mark]) => ({ storeId: Number(id), mark }));
  const replicas = entries.map(({ storeId, mark }) => ({
    replicaId: shardId * 100 + storeId,
    storeId,
    role: must(roles[mark.charAt(0)], 'a role'),
  }));
  const epoch = { confVer: 1, version: 1 };
  const shard = {
    shardId,
    keyspaceId: keyspace,
    partitioning: Partitioning.RANGE,
    startKey: state.shardCountOf(keyspace) === 0 ? Buffer.alloc(0) : keyOf(shardId),
    endKey: next === -1 ? Buffer.alloc(0) : keyOf(next + 1),
    epoch,
    replicas,
    merge: undefined,
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
    approximateBytes: spec.bytes ?? 0,
    approximateKeys: spec.keys ?? 0,
    sizeKnown: spec.bytes !== undefined || spec.keys !== undefined,
    readsPerS: spec.reads ?? 0,
    writesPerS: spec.writes ?? 0,
  });
}
