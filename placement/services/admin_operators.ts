import { inRange } from '../../src/base/encoded_key.js';
import type { TypedError } from '../../src/base/wire_errors.js';
import {
  alreadyExists,
  failedPrecondition,
  invalidArgument,
  keyNotInShard,
  operatorNotFound,
  shardNotFound,
  storeNotFound,
} from '../../src/base/wire_errors.js';
import type { Operator as WireOperator } from '../../src/gen/skerry/v1/admin.js';
import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { Partitioning, ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { holders } from '../choose_target.js';
import { isApart } from '../isolation.js';
import { operatorWaitMs, replicaCountMax } from '../limits.js';
import type { Operator, OperatorPlan } from '../operators/operator.js';
import { toRecord } from '../operators/operator_record.js';
import { addSteps, moveSteps, removeSteps } from '../operators/plans.js';
import type { Step } from '../operators/step.js';
import { isJoint, mergeObstacle, replicaOn } from '../operators/step.js';
import type { PlacementMember } from '../placement_member.js';
import type { ShardRecord, ShardTarget, StoreRecord } from '../state/records.js';
import { storeLoads } from '../store_loads.js';
import { WireFault } from '../wire_fault.js';
import { operatorToWire } from './convert.js';
import type { LeaderContext } from './unary.js';

/**
 * Operators that people ask for. Adding or removing a replica also changes what the shard should have from then on
 * (ShardTarget), or the replica checker would undo it at once. Both are recorded by one command before the operator starts, so
 * that the next placement leader goes on with it; when the operator fails, what ends it in the log takes the target back.
 */
interface Wish {
  readonly plan: OperatorPlan;
  /** Undefined: the target stays. */
  readonly target?: Pick<ShardTarget, 'voters' | 'learnerStoreIds'>;
}

type Ask = (shard: ShardRecord) => Wish;

/** Starts what was asked for; with `wait`, answers when it has ended. */
export async function runOperator(
  ctx: LeaderContext,
  shardId: number,
  wait: boolean,
  ask: Ask,
  partnerShardId = shardId,
): Promise<{ operator: WireOperator; error: TypedError | undefined }> {
  const { member, work } = ctx;
  shardOf(ctx, shardId);
  await waitUntilFree(ctx, shardId);
  if (partnerShardId !== shardId) await waitUntilFree(ctx, partnerShardId);
  // Looked at only now: the operator that held the shard may have changed it.
  const shard = shardOf(ctx, shardId);
  if (work.view.liveLeaderOf(shardId) === undefined) {
    throw new WireFault(failedPrecondition('NO_LEADER', `no reachable store leads shard ${shardId}`));
  }
  if (isJoint(shard)) throw new WireFault(failedPrecondition('JOINT', `shard ${shardId} is in a joint configuration`));
  const wish = ask(shard);
  const operator = await begin(ctx, shard, wish);
  if (wait) await member.waiters.wait(() => hasEnded(operator) || member.leading !== work, ctx.remainingMs());
  return {
    operator: operatorToWire(operator, work.view.nowMs),
    error: wait ? errorOf(operator, 'success', member.leading === work) : undefined,
  };
}

/** What one who waited is told; undefined: it ended as wanted, or still runs at the end of the caller's time. */
function errorOf(operator: Operator, wanted: 'success' | 'canceled', stillLeads: boolean): TypedError | undefined {
  const { operatorId, state, reason } = operator;
  if (hasEnded(operator)) {
    return state === wanted ? undefined : failedPrecondition(`OPERATOR_${state.toUpperCase()}`, reason);
  }
  if (stillLeads) return undefined;
  const message = `the placement leader changed; the next one goes on with operator ${operatorId}`;
  return failedPrecondition('OPERATOR_HANDED_OVER', message);
}

/** The shard is taken at once, and nothing is sent before the operator is in the log. */
async function begin({ member, work }: LeaderContext, shard: ShardRecord, wish: Wish): Promise<Operator> {
  const { controller } = work.planner;
  const admission = controller.admit(wish.plan, 'record');
  if (!admission.ok) {
    throw new WireFault(failedPrecondition(admission.reason, `shard ${shard.shardId} could not be given an operator`));
  }
  const { operator } = admission;
  const target = wish.target === undefined ? null : targetOf(member, shard, wish.target);
  try {
    await member.proposer.propose({ kind: 'startOperator', operator: toRecord(operator, work.clocks()), target });
  } catch (error) {
    if (!hasEnded(operator)) controller.cancel(operator.operatorId, 'it could not be recorded');
    throw error;
  }
  if (member.leading === work) controller.release(operator);
  return operator;
}

/**
 * Answers when its end, or that it is being taken back, is in the log, so that the next leader does not go ahead with it; with `wait`
 * when it has ended.
 */
export async function cancelOperator(
  ctx: LeaderContext,
  operatorId: number,
  wait: boolean,
): Promise<{ operator: WireOperator; error: TypedError | undefined }> {
  const { member, work } = ctx;
  const canceled = work.planner.controller.cancel(operatorId, 'canceled by request');
  if (!canceled.ok) throw new WireFault(operatorNotFound(operatorId));
  const { operator } = canceled;
  await member.proposer.propose({ kind: 'recordOperators', operators: [toRecord(operator, work.clocks())] });
  if (wait) await member.waiters.wait(() => hasEnded(operator) || member.leading !== work, ctx.remainingMs());
  return {
    operator: operatorToWire(operator, work.view.nowMs),
    error: wait ? errorOf(operator, 'canceled', member.leading === work) : undefined,
  };
}

function hasEnded(operator: Operator): boolean {
  return operator.state !== 'created' && operator.state !== 'running';
}

async function waitUntilFree(ctx: LeaderContext, shardId: number): Promise<void> {
  const { member, work } = ctx;
  const { table } = work.planner;
  const running = table.onShard(shardId);
  const passing = running === undefined || running.plan.source !== 'admin';
  // Another person's operator may take long; checkers and schedulers are done soon.
  const free = (): boolean => table.onShard(shardId) === undefined && work.hasIds(1 + replicaCountMax);
  if (passing) await member.waiters.wait(free, Math.min(operatorWaitMs, ctx.remainingMs()));
  const holder = table.onShard(shardId);
  if (holder === undefined) return;
  const message = `operator ${holder.operatorId} (${holder.plan.kind}) is running on shard ${shardId}`;
  throw new WireFault(failedPrecondition('OPERATOR_RUNNING', message));
}

/** voters 0: as its keyspace has it. */
function targetOf(
  member: PlacementMember,
  shard: ShardRecord,
  target: Pick<ShardTarget, 'voters' | 'learnerStoreIds'>,
): Pick<ShardTarget, 'voters' | 'learnerStoreIds'> {
  const usual = member.state.keyspace(shard.keyspaceId)?.replicaCount;
  const asUsual = target.voters === usual && target.learnerStoreIds.length === 0;
  return asUsual ? { voters: 0, learnerStoreIds: [] } : target;
}

export function shardOf({ member }: LeaderContext, shardId: number): ShardRecord {
  const shard = member.state.shard(shardId);
  if (shard === undefined) throw new WireFault(shardNotFound(shardId));
  return shard;
}

function storeOf({ member }: LeaderContext, storeId: number): StoreRecord {
  const store = member.state.store(storeId);
  if (store === undefined) throw new WireFault(storeNotFound(storeId));
  return store;
}

function newHolder(ctx: LeaderContext, shard: ShardRecord, storeId: number, withoutStoreId: number): StoreRecord {
  const store = storeOf(ctx, storeId);
  if (replicaOn(shard, storeId) !== undefined) {
    throw new WireFault(alreadyExists(`a replica of shard ${shard.shardId} on store ${storeId}`));
  }
  if (!ctx.work.view.acceptsReplicas(store)) {
    throw new WireFault(failedPrecondition('STORE_NOT_UP', `store ${storeId} may not take replicas right now`));
  }
  if (!isApart(store, holders(ctx.work.view, shard, withoutStoreId))) {
    const message = `store ${storeId} shares its host with another replica of shard ${shard.shardId}`;
    throw new WireFault(failedPrecondition('HOST_TAKEN', message));
  }
  return store;
}

function presentOn(ctx: LeaderContext, shard: ShardRecord, storeId: number): Replica {
  storeOf(ctx, storeId);
  const replica = replicaOn(shard, storeId);
  if (replica !== undefined) return replica;
  throw new WireFault(failedPrecondition('NO_REPLICA', `shard ${shard.shardId} has no replica on store ${storeId}`));
}

function votersOf(shard: ShardRecord): number {
  return shard.replicas.filter((r) => r.role === ReplicaRole.VOTER).length;
}

function wantedLearners({ member }: LeaderContext, shard: ShardRecord): readonly number[] {
  return member.state.target(shard.shardId)?.learnerStoreIds ?? [];
}

function planOf(shard: ShardRecord, kind: string, steps: readonly Step[]): OperatorPlan {
  return { shardId: shard.shardId, kind, source: 'admin', steps, reason: 'asked for' };
}

export function addReplica(ctx: LeaderContext, storeId: number, learner: boolean): Ask {
  return (shard) => {
    const learners = wantedLearners(ctx, shard);
    const present = replicaOn(shard, storeId);
    if (present?.role === ReplicaRole.LEARNER && !learner) return promoteLearner(ctx, storeId)(shard);
    newHolder(ctx, shard, storeId, 0);
    if (shard.replicas.length >= replicaCountMax) {
      throw new WireFault(failedPrecondition('TOO_MANY_REPLICAS', `a shard has ${replicaCountMax} replicas at most`));
    }
    if (learner) {
      return {
        plan: planOf(shard, 'add-learner', [{ kind: 'addLearner', storeId, replicaId: 0 }]),
        target: { voters: ctx.member.state.wantedVoters(shard), learnerStoreIds: [...learners, storeId] },
      };
    }
    return {
      plan: planOf(shard, 'add-replica', addSteps(storeId)),
      target: { voters: votersOf(shard) + 1, learnerStoreIds: learners },
    };
  };
}

export function moveReplica(ctx: LeaderContext, fromStoreId: number, toStoreId: number): Ask {
  return (shard) => {
    const replica = presentOn(ctx, shard, fromStoreId);
    newHolder(ctx, shard, toStoreId, fromStoreId);
    if (replica.role === ReplicaRole.VOTER) {
      const loads = storeLoads(ctx.work.view, ctx.work.planner.table);
      return { plan: planOf(shard, 'move-replica', moveSteps(ctx.work.view, shard, fromStoreId, toStoreId, loads)) };
    }
    const learners = wantedLearners(ctx, shard).filter((id) => id !== fromStoreId);
    return {
      plan: planOf(shard, 'move-replica', [
        { kind: 'addLearner', storeId: toStoreId, replicaId: 0 },
        { kind: 'removePeer', storeId: fromStoreId, replicaId: replica.replicaId },
      ]),
      target: { voters: ctx.member.state.wantedVoters(shard), learnerStoreIds: [...learners, toStoreId] },
    };
  };
}

export function removeReplica(ctx: LeaderContext, storeId: number): Ask {
  return (shard) => {
    const replica = presentOn(ctx, shard, storeId);
    const isVoter = replica.role === ReplicaRole.VOTER;
    if (isVoter && votersOf(shard) === 1) {
      throw new WireFault(failedPrecondition('LAST_REPLICA', `shard ${shard.shardId} has no other voter`));
    }
    const loads = storeLoads(ctx.work.view, ctx.work.planner.table);
    return {
      plan: planOf(shard, 'remove-replica', removeSteps(ctx.work.view, shard, storeId, replica.replicaId, loads)),
      target: {
        voters: isVoter ? votersOf(shard) - 1 : ctx.member.state.wantedVoters(shard),
        learnerStoreIds: wantedLearners(ctx, shard).filter((id) => id !== storeId),
      },
    };
  };
}

export function promoteLearner(ctx: LeaderContext, storeId: number): Ask {
  return (shard) => {
    const replica = presentOn(ctx, shard, storeId);
    if (replica.role !== ReplicaRole.LEARNER) {
      throw new WireFault(alreadyExists(`a voter of shard ${shard.shardId} on store ${storeId}`));
    }
    return {
      // The first step waits until it has caught up: one that is far behind would hold the quorum back.
      plan: planOf(shard, 'promote-learner', addSteps(storeId, replica.replicaId)),
      target: {
        voters: votersOf(shard) + 1,
        learnerStoreIds: wantedLearners(ctx, shard).filter((id) => id !== storeId),
      },
    };
  };
}

export function transferLeader(ctx: LeaderContext, storeId: number): Ask {
  return (shard) => {
    const replica = presentOn(ctx, shard, storeId);
    if (replica.role !== ReplicaRole.VOTER) {
      throw new WireFault(failedPrecondition('NOT_A_VOTER', `the replica on store ${storeId} is a learner`));
    }
    return { plan: planOf(shard, 'transfer-leader', [{ kind: 'transferLeader', storeId }]) };
  };
}

export function mergeShards(ctx: LeaderContext, targetShardId: number): Ask {
  return (shard) => {
    const obstacle = mergeObstacle(shard, shardOf(ctx, targetShardId));
    if (obstacle !== null) throw new WireFault(failedPrecondition('NOT_MERGEABLE', obstacle));
    const step: Step = { kind: 'mergeShards', targetShardId, version: shard.epoch.version };
    return { plan: planOf(shard, 'merge-shards', [step]) };
  };
}

const slotTokens = 4;

export function splitShard(ctx: LeaderContext, splitKey: Buffer): Ask {
  return (shard) => {
    if (splitKey.length > 0) checkSplitKey(shard, splitKey);
    const ids = ctx.work.takeIds(1 + shard.replicas.length);
    const newShardId = ids?.[0];
    if (ids === null || newShardId === undefined) {
      throw new WireFault(failedPrecondition('NO_IDS', 'no ids are at hand yet; try again'));
    }
    const step: Step = {
      kind: 'splitShard',
      splitKey: Buffer.from(splitKey),
      newShardId,
      newReplicaIds: ids.slice(1),
      version: shard.epoch.version,
    };
    return { plan: planOf(shard, 'split-shard', [step]) };
  };
}

function checkSplitKey(shard: ShardRecord, splitKey: Buffer): void {
  const inside = inRange(splitKey, shard.startKey, shard.endKey) && !splitKey.equals(shard.startKey);
  if (!inside) throw new WireFault(keyNotInShard(shard, splitKey));
  const onSlot = splitKey.length === 2 && splitKey.readUInt16BE(0) % slotTokens === 0;
  if (shard.partitioning === Partitioning.HASH && !onSlot) {
    const message = 'shards of a hash keyspace begin at a slot: the split key is the slot times four, as two bytes';
    throw new WireFault(invalidArgument('split_key', 'NOT_A_SLOT', message));
  }
}
