import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { ClusterView } from '../cluster_view.js';
import { chooseHeir } from '../choose_target.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoads } from '../store_loads.js';
import type { Step } from './step.js';

/** The steps of the changes that checkers, schedulers and people ask for. */

/** A replicaId other than 0 names a learner that is there already. */
const newReplica = 0;

/** Moves a voter: learner, catch up, hand leadership over if it leads, then promote and remove as one joint change. */
export function moveSteps(
  view: ClusterView,
  shard: ShardRecord,
  fromStoreId: number,
  toStoreId: number,
  loads: StoreLoads,
  replicaId = newReplica,
): Step[] {
  return [
    { kind: 'addLearner', storeId: toStoreId, replicaId },
    ...handOver(view, shard, fromStoreId, loads),
    { kind: 'enterJoint', promote: [toStoreId], remove: [fromStoreId] },
    { kind: 'leaveJoint' },
  ];
}

/** Removes a replica, which hands leadership over first if it leads. */
export function removeSteps(
  view: ClusterView,
  shard: ShardRecord,
  storeId: number,
  replicaId: number,
  loads: StoreLoads,
): Step[] {
  return [...handOver(view, shard, storeId, loads), { kind: 'removePeer', storeId, replicaId }];
}

/** Adds a voter by way of a learner. */
export function addSteps(toStoreId: number, replicaId = newReplica): Step[] {
  return [
    { kind: 'addLearner', storeId: toStoreId, replicaId },
    { kind: 'promoteLearner', storeId: toStoreId },
  ];
}

/** Replaces a replica that lost data by a new one on the same store, which has room for one replica of a shard only. */
export function renewSteps(view: ClusterView, shard: ShardRecord, replica: Replica, loads: StoreLoads): Step[] {
  const { storeId, replicaId, role } = replica;
  const added: Step[] =
    role === ReplicaRole.LEARNER ? [{ kind: 'addLearner', storeId, replicaId: newReplica }] : addSteps(storeId);
  return [...removeSteps(view, shard, storeId, replicaId, loads), ...added];
}

function handOver(view: ClusterView, shard: ShardRecord, fromStoreId: number, loads: StoreLoads): Step[] {
  if (view.leaderOf(shard.shardId)?.leaderStoreId !== fromStoreId) return [];
  const heir = chooseHeir(view, shard, fromStoreId, loads);
  return heir === null ? [] : [{ kind: 'transferLeader', storeId: heir.storeId }];
}
