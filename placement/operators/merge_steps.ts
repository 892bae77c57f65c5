import type { ClusterView } from '../cluster_view.js';
import type { ShardRecord } from '../state/records.js';
import type { Step } from './step.js';
import { replicaOn } from './step.js';

/**
 * The steps that make a shard a part of its neighbour. Where their replicas are on different stores, those of the shard that
 * goes, the small one, first move beside the other's, all of them in one joint change:
 *
 *   add learners ─▶ (caught up) ─▶ enter joint: promote and remove ─▶ leave joint ─▶ merge
 *
 * One change and not one after the other, because on the way from one sound place to another two voters could
 * come to share a host.
 */
export function mergeSteps(view: ClusterView, from: ShardRecord, into: ShardRecord): Step[] {
  const merge: Step = { kind: 'mergeShards', targetShardId: into.shardId, version: from.epoch.version };
  const { coming, going } = alignment(from, into);
  if (coming.length === 0) return [merge];
  const learners = coming.map((storeId): Step => ({ kind: 'addLearner', storeId, replicaId: 0 }));
  const enter: Step = { kind: 'enterJoint', promote: coming, remove: going };
  return [...learners, enter, ...handOver(view, from, into, going), { kind: 'leaveJoint' }, merge];
}

/** Stores that the first shard's replicas come to and leave, to be where the second one's are. */
export function alignment(from: ShardRecord, into: ShardRecord): { coming: number[]; going: number[] } {
  const missing = (of: ShardRecord, other: ShardRecord): number[] =>
    of.replicas.filter((r) => replicaOn(other, r.storeId) === undefined).map((r) => r.storeId);
  return { coming: missing(into, from), going: missing(from, into) };
}

/** If nobody stays, there is no heir before the joint configuration; in it, one of those that came takes over. */
function handOver(view: ClusterView, from: ShardRecord, into: ShardRecord, going: readonly number[]): Step[] {
  if (going.length < from.replicas.length) return [];
  const storeId = view.liveLeaderOf(into.shardId)?.leaderStoreId ?? into.replicas[0]?.storeId;
  return storeId === undefined ? [] : [{ kind: 'transferLeader', storeId }];
}
