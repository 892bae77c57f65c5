import { OperatorState as WireOperatorState } from '../../src/gen/skerry/v1/admin.js';
import type { Operator as WireOperator, ShardStatus as WireShardStatus } from '../../src/gen/skerry/v1/admin.js';
import type { Keyspace, ShardRoute, Store } from '../../src/gen/skerry/v1/meta.js';
import { KeyspaceState, StoreState } from '../../src/gen/skerry/v1/meta.js';
import type { ClusterView } from '../cluster_view.js';
import type { LeaderTable } from '../leader_table.js';
import type { Operator, OperatorState } from '../operators/operator.js';
import { isFinished } from '../operators/operator.js';
import { describeStep } from '../operators/step.js';
import type { ClusterState } from '../state/cluster_state.js';
import type { KeyspaceRecord, ShardRecord, StoreRecord } from '../state/records.js';

/** Records and observations as they stand on the wire. */

export function keyspaceToWire(keyspace: KeyspaceRecord): Keyspace {
  const { keyspaceId, name, partitioning, replicaCount, initialShards, phase } = keyspace;
  const state = phase === 'ready' ? KeyspaceState.READY : KeyspaceState.CREATING;
  return { keyspaceId, name, partitioning, replicaCount, initialShards, state };
}

export function routeOf(shard: ShardRecord, leaders: LeaderTable): ShardRoute {
  const leadership = leaders.get(shard.shardId);
  return {
    shard,
    leaderReplicaId: leadership?.leaderReplicaId ?? 0,
    leaderStoreId: leadership?.leaderStoreId ?? 0,
    term: leadership?.term ?? 0,
  };
}

/** A store; what only the leader observes is left at zero without a view. */
export function storeToWire(store: StoreRecord, state: ClusterState, view: ClusterView | null): Store {
  const report = view?.report(store.storeId);
  return {
    storeId: store.storeId,
    address: store.address,
    labels: [...store.labels],
    state: view === null ? storedState(store) : view.storeState(store),
    capacityBytes: report?.capacityBytes ?? 0,
    usedBytes: report?.usedBytes ?? 0,
    replicaCount: state.shardIdsOn(store.storeId).size,
    leaderCount: view?.leaders.countOn(store.storeId) ?? 0,
    version: store.version,
    engine: store.engine,
    lastHeartbeatAgeMs: Math.round(view?.heartbeatAgeMs(store.storeId) ?? -1),
    diskFull: report?.diskFull ?? false,
  };
}

function storedState(store: StoreRecord): StoreState {
  switch (store.state) {
    case 'up':
      return StoreState.UP;
    case 'maintenance':
      return StoreState.MAINTENANCE;
    case 'draining':
      return StoreState.DRAINING;
    case 'tombstone':
      return StoreState.TOMBSTONE;
  }
}

const operatorStates: Readonly<Record<OperatorState, WireOperatorState>> = {
  created: WireOperatorState.CREATED,
  running: WireOperatorState.RUNNING,
  success: WireOperatorState.SUCCESS,
  canceled: WireOperatorState.CANCELED,
  timeout: WireOperatorState.TIMEOUT,
  replaced: WireOperatorState.REPLACED,
};

export function operatorToWire(operator: Operator, nowMs: number): WireOperator {
  return {
    operatorId: operator.operatorId,
    shardId: operator.plan.shardId,
    kind: operator.plan.kind,
    state: operatorStates[operator.state],
    steps: operator.steps.map(describeStep),
    currentStep: operator.currentStep,
    ageMs: Math.round(nowMs - operator.createdAtMs),
    reason: operator.reason,
    source: operator.plan.source,
    endedAgeMs: isFinished(operator) ? Math.round(nowMs - operator.finishedAtMs) : undefined,
  };
}

export function shardStatusToWire(
  shard: ShardRecord,
  view: ClusterView,
  operator: Operator | undefined,
): WireShardStatus {
  const status = view.status(shard.shardId);
  return {
    route: routeOf(shard, view.leaders),
    keyspace: view.state.keyspace(shard.keyspaceId)?.name ?? '',
    progress: [...(status?.progress ?? [])],
    approximateBytes: status?.approximateBytes ?? 0,
    approximateKeys: status?.approximateKeys ?? 0,
    operator: operator === undefined ? undefined : operatorToWire(operator, view.nowMs),
  };
}
