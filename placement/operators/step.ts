import { unreachable } from '../../src/base/assert.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import type { StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import type { ClusterView } from '../cluster_view.js';
import type { ShardRecord } from '../state/records.js';

/**
 * One step of an operator. A step is a wish about the shard's state, not a message: it is done when the shard looks
 * the way the step wants it, whoever brought that about. So each step is idempotent and can be taken up by
 * another placement leader. Stores name replicas, since a shard has one replica per store at most.
 */
export type Step =
  /** Done when the learner has caught up. replicaId 0 in a plan: given when the operator is admitted. */
  | { readonly kind: 'addLearner'; readonly storeId: number; readonly replicaId: number }
  | { readonly kind: 'promoteLearner'; readonly storeId: number }
  /** One joint change: promotes learners and removes voters together. */
  | { readonly kind: 'enterJoint'; readonly promote: readonly number[]; readonly remove: readonly number[] }
  | { readonly kind: 'leaveJoint' }
  | { readonly kind: 'removePeer'; readonly storeId: number; readonly replicaId: number }
  | { readonly kind: 'transferLeader'; readonly storeId: number }
  | {
      readonly kind: 'splitShard';
      /** Empty: near the middle. */
      readonly splitKey: Buffer;
      readonly newShardId: number;
      readonly newReplicaIds: readonly number[];
      /** Done when the shard's version is above this one. */
      readonly version: number;
    }
  | {
      /** Done when the shard is gone. */
      readonly kind: 'mergeShards';
      readonly targetShardId: number;
      /** Of the shard when it was planned. */
      readonly version: number;
    };

export type StepState =
  | { readonly state: 'done' }
  /** The shard's leader must be told. */
  | { readonly state: 'send'; readonly command: NonNullable<StoreCommand['command']> }
  | { readonly state: 'wait'; readonly why: string }
  /** The shard is not what the step was planned for. */
  | { readonly state: 'broken'; readonly why: string };

const done: StepState = { state: 'done' };
const broken = (why: string): StepState => ({ state: 'broken', why });
const wait = (why: string): StepState => ({ state: 'wait', why });

/** For people. */
export function describeStep(step: Step): string {
  switch (step.kind) {
    case 'addLearner':
      return `add learner on store ${step.storeId}`;
    case 'promoteLearner':
      return `promote learner on store ${step.storeId}`;
    case 'enterJoint':
      return `enter joint: promote ${storeList(step.promote)}, remove ${storeList(step.remove)}`;
    case 'leaveJoint':
      return 'leave joint';
    case 'removePeer':
      return `remove replica on store ${step.storeId}`;
    case 'transferLeader':
      return `transfer leader to store ${step.storeId}`;
    case 'splitShard':
      return step.splitKey.length === 0 ? 'split near the middle' : `split at ${step.splitKey.toString('hex')}`;
    case 'mergeShards':
      return `merge into shard ${step.targetShardId}`;
    default:
      return unreachable(step);
  }
}

function storeList(storeIds: readonly number[]): string {
  return storeIds.length === 0 ? 'none' : `store ${storeIds.join(', ')}`;
}

export function isJoint(shard: ShardRecord): boolean {
  return shard.replicas.some((r) => r.role !== ReplicaRole.VOTER && r.role !== ReplicaRole.LEARNER);
}

export function replicaOn(shard: ShardRecord, storeId: number): Replica | undefined {
  return shard.replicas.find((r) => r.storeId === storeId);
}

/** Where the step stands, given the shard as it is now. */
export function evaluateStep(step: Step, shard: ShardRecord, view: ClusterView): StepState {
  switch (step.kind) {
    case 'addLearner':
      return addLearner(step.storeId, step.replicaId, shard, view);
    case 'promoteLearner':
      return promoteLearner(step.storeId, shard);
    case 'enterJoint':
      return enterJoint(step.promote, step.remove, shard, view);
    case 'leaveJoint':
      return isJoint(shard) ? { state: 'send', command: changeReplicas(shard, [], true) } : done;
    case 'removePeer':
      return removePeer(step.storeId, step.replicaId, shard, view);
    case 'transferLeader':
      return transferLeader(step.storeId, shard, view);
    case 'splitShard':
      return splitShard(step, shard);
    case 'mergeShards':
      return mergeShards(step, shard, view);
    default:
      return unreachable(step);
  }
}

function addLearner(storeId: number, replicaId: number, shard: ShardRecord, view: ClusterView): StepState {
  const present = replicaOn(shard, storeId);
  if (present !== undefined) {
    if (replicaId !== 0 && present.replicaId !== replicaId)
      return broken(`store ${storeId} has another replica already`);
    if (view.isQuarantined(present.replicaId)) return broken('the learner lost data');
    if (view.isCaughtUp(shard.shardId, present.replicaId)) return done;
    // Nobody will ever catch up there; the learner checker removes what was added.
    return view.isDown(storeId) ? broken(`store ${storeId} is down`) : wait('the learner is catching up');
  }
  if (isJoint(shard)) return broken('the shard is in a joint configuration');
  if (view.isDown(storeId)) return broken(`store ${storeId} is down`);
  return {
    state: 'send',
    command: changeReplicas(shard, [{ role: ReplicaRole.LEARNER, replicaId, storeId }], false),
  };
}

function promoteLearner(storeId: number, shard: ShardRecord): StepState {
  const present = replicaOn(shard, storeId);
  if (present === undefined) return broken(`no replica on store ${storeId}`);
  if (present.role === ReplicaRole.VOTER) return done;
  if (present.role !== ReplicaRole.LEARNER) return broken('the shard is in a joint configuration');
  return { state: 'send', command: changeReplicas(shard, [{ ...present, role: ReplicaRole.VOTER }], false) };
}

function enterJoint(
  promote: readonly number[],
  remove: readonly number[],
  shard: ShardRecord,
  view: ClusterView,
): StepState {
  const incoming = promote.map((storeId) => replicaOn(shard, storeId));
  const outgoing = remove.map((storeId) => replicaOn(shard, storeId));
  const entered =
    incoming.every((r) => r?.role === ReplicaRole.INCOMING_VOTER || r?.role === ReplicaRole.VOTER) &&
    outgoing.every((r) => r === undefined || r.role === ReplicaRole.OUTGOING_VOTER);
  if (entered) return done;
  if (isJoint(shard)) return broken('the shard is in another joint configuration');
  const changes: Replica[] = [];
  for (const replica of incoming) {
    if (replica?.role !== ReplicaRole.LEARNER) return broken('a replica to promote is no learner');
    changes.push({ ...replica, role: ReplicaRole.VOTER });
  }
  for (const replica of outgoing) {
    if (replica?.role !== ReplicaRole.VOTER) return broken('a replica to remove is no voter');
    changes.push({ ...replica, role: ReplicaRole.UNSPECIFIED });
  }
  return awayFirst(remove, shard, view) ?? { state: 'send', command: changeReplicas(shard, changes, true) };
}

function removePeer(storeId: number, replicaId: number, shard: ShardRecord, view: ClusterView): StepState {
  const present = replicaOn(shard, storeId);
  if (present === undefined || present.replicaId !== replicaId) return done;
  if (isJoint(shard)) return broken('the shard is in a joint configuration');
  const command = changeReplicas(shard, [{ ...present, role: ReplicaRole.UNSPECIFIED }], false);
  return awayFirst([storeId], shard, view) ?? { state: 'send', command };
}

/** A leader that is about to be removed hands over first; it may have won an election after the operator's own transfer. */
function awayFirst(leaving: readonly number[], shard: ShardRecord, view: ClusterView): StepState | null {
  const leader = view.leaderOf(shard.shardId);
  if (leader === undefined || !leaving.includes(leader.leaderStoreId)) return null;
  const heir = shard.replicas.find(
    (r) =>
      r.role === ReplicaRole.VOTER &&
      !leaving.includes(r.storeId) &&
      view.isConnected(r.storeId) &&
      view.isCaughtUp(shard.shardId, r.replicaId),
  );
  // Without an heir the leader removes itself, which Raft allows (thesis §4.2.2).
  return heir === undefined ? null : { state: 'send', command: transferCommand(shard, heir) };
}

function transferLeader(storeId: number, shard: ShardRecord, view: ClusterView): StepState {
  if (view.leaderOf(shard.shardId)?.leaderStoreId === storeId) return done;
  const heir = replicaOn(shard, storeId);
  if (heir === undefined) return broken(`no replica on store ${storeId}`);
  if (heir.role !== ReplicaRole.VOTER && heir.role !== ReplicaRole.INCOMING_VOTER) {
    return broken(`the replica on store ${storeId} is no voter`);
  }
  if (!view.isConnected(storeId)) return broken(`store ${storeId} is not connected`);
  return { state: 'send', command: transferCommand(shard, heir) };
}

function splitShard(step: Extract<Step, { kind: 'splitShard' }>, shard: ShardRecord): StepState {
  if (shard.epoch.version > step.version) return done;
  if (isJoint(shard)) return broken('the shard is in a joint configuration');
  if (shard.replicas.length !== step.newReplicaIds.length) return broken('the replicas of the shard changed');
  return {
    state: 'send',
    command: {
      $case: 'splitShard',
      value: {
        shardId: shard.shardId,
        epoch: shard.epoch,
        splitKey: step.splitKey,
        into: { shardId: step.newShardId, replicaIds: [...step.newReplicaIds] },
      },
    },
  };
}

/** A merge that is given up: done when the shard serves, and nothing that was asked for by the step can begin any more. */
export function evaluateTakeBack({ version }: Extract<Step, { kind: 'mergeShards' }>, shard: ShardRecord): StepState {
  if (shard.merge?.into === undefined && shard.epoch.version > version) return done;
  return { state: 'send', command: { $case: 'cancelMerge', value: { shardId: shard.shardId, epoch: shard.epoch } } };
}

/** Begins where both shards lead on one store, which is where the stores end it. */
function mergeShards(
  { targetShardId, version }: Extract<Step, { kind: 'mergeShards' }>,
  shard: ShardRecord,
  view: ClusterView,
): StepState {
  if (shard.merge?.into !== undefined) return wait('the stores are at it');
  if (shard.epoch.version > version) return broken('the stores took it back, or the shard was split');
  const target = view.state.shard(targetShardId);
  if (target === undefined) return broken(`shard ${targetShardId} is gone`);
  const obstacle = mergeObstacle(shard, target);
  if (obstacle !== null) return broken(obstacle);
  const there = view.liveLeaderOf(targetShardId)?.leaderStoreId;
  const heir = there === undefined ? undefined : replicaOn(shard, there);
  if (heir === undefined) return wait(`shard ${targetShardId} has no leader`);
  const together = view.leaderOf(shard.shardId)?.leaderStoreId === there;
  if (!together) return { state: 'send', command: transferCommand(shard, heir) };
  const value = { shardId: shard.shardId, epoch: shard.epoch, targetShardId };
  return { state: 'send', command: { $case: 'mergeShard', value } };
}

/** Why two shards can not become one as they are; null: nothing. */
export function mergeObstacle(shard: ShardRecord, target: ShardRecord): string | null {
  const meets = (a: ShardRecord, b: ShardRecord): boolean => a.endKey.length > 0 && a.endKey.equals(b.startKey);
  const { keyspaceId, shardId } = target;
  if (shard.keyspaceId !== keyspaceId || shard.shardId === shardId || !(meets(shard, target) || meets(target, shard))) {
    return `shard ${shardId} is no neighbour of shard ${shard.shardId}`;
  }
  if (target.merge?.into !== undefined) return `shard ${shardId} is being merged itself`;
  const all = [...shard.replicas, ...target.replicas];
  if (all.some((r) => r.role !== ReplicaRole.VOTER)) return 'a replica is no voter';
  const aligned =
    shard.replicas.length === target.replicas.length &&
    shard.replicas.every((r) => replicaOn(target, r.storeId) !== undefined);
  return aligned ? null : 'the replicas are not on the same stores';
}

function transferCommand(shard: ShardRecord, heir: Replica): NonNullable<StoreCommand['command']> {
  return { $case: 'transferLeader', value: { shardId: shard.shardId, toReplicaId: heir.replicaId } };
}

function changeReplicas(
  shard: ShardRecord,
  changes: readonly Replica[],
  joint: boolean,
): NonNullable<StoreCommand['command']> {
  return {
    $case: 'changeReplicas',
    value: { shardId: shard.shardId, epoch: shard.epoch, changes: [...changes], joint },
  };
}
