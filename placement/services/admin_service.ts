import { failedPrecondition, keyspaceNotFound, storeNotFound } from '../../src/base/wire_errors.js';
import type { AdminServer, ListShardsRequest, ShardStatus } from '../../src/gen/skerry/v1/admin.js';
import { AdminService } from '../../src/gen/skerry/v1/admin.js';
import { distinctHosts } from '../isolation.js';
import { createKeyspace, checkWish, describePlan, planKeyspace } from '../keyspace_creation.js';
import { shardsPerPageDefault, shardsPerPageMax } from '../limits.js';
import { shardsOf } from '../operators/operator.js';
import type { PlacementMember } from '../placement_member.js';
import type { StoreRecord } from '../state/records.js';
import { WireFault } from '../wire_fault.js';
import {
  addReplica,
  cancelOperator,
  moveReplica,
  promoteLearner,
  removeReplica,
  runOperator,
  shardOf,
  mergeShards,
  splitShard,
  transferLeader,
} from './admin_operators.js';
import { clusterStatus } from './cluster_status.js';
import { keyspaceToWire, operatorToWire, shardStatusToWire, storeToWire } from './convert.js';
import { drainStatus } from './drain_status.js';
import type { LeaderContext } from './unary.js';
import { atLeader, local } from './unary.js';
import { checkPolicy, policyOf, setPolicy } from './keyspace_policy.js';
import { verifyShard } from './verify_shard.js';
import { shardDecisions, storeDecisions } from './why.js';

/** The service of operators, people and tools. What stores report is known to the leader alone, so most of it goes there. */
export function adminService(member: PlacementMember): AdminServer {
  const methods = AdminService;
  return {
    createKeyspace: atLeader(member, methods.createKeyspace, async (request, ctx) => {
      const wish = checkWish(request, request.policy === undefined ? null : checkPolicy(request.policy));
      if (request.plan) {
        const plans = await planKeyspace(member, ctx.work, wish, ctx.remainingMs());
        return { keyspace: undefined, changes: describePlan(plans) };
      }
      const keyspaceId = await createKeyspace(member, ctx.work, wish, ctx.remainingMs());
      const ready = (): boolean => member.state.keyspace(keyspaceId)?.phase === 'ready';
      if (request.wait) await member.waiters.wait(() => ready() || member.leading !== ctx.work, ctx.remainingMs());
      const keyspace = member.state.keyspace(keyspaceId);
      if (keyspace === undefined) throw new WireFault(keyspaceNotFound(wish.name, keyspaceId));
      return { keyspace: keyspaceToWire(keyspace), changes: [] };
    }),
    listKeyspaces: local(member, methods.listKeyspaces, () => ({
      keyspaces: [...member.state.keyspaces()].filter((k) => k.phase !== 'planning').map(keyspaceToWire),
    })),
    listShards: atLeader(member, methods.listShards, (request, ctx) => listShards(request, ctx)),
    getShard: atLeader(member, methods.getShard, ({ shardId }, ctx) => ({
      shard: shardStatusToWire(shardOf(ctx, shardId), ctx.work.view, ctx.work.planner.table.onShard(shardId)),
    })),
    mergeShards: atLeader(member, methods.mergeShards, ({ shardId, targetShardId, wait }, ctx) =>
      runOperator(ctx, shardId, wait, mergeShards(ctx, targetShardId), targetShardId),
    ),
    splitShard: atLeader(member, methods.splitShard, ({ shardId, splitKey, wait }, ctx) =>
      runOperator(ctx, shardId, wait, splitShard(ctx, Buffer.from(splitKey))),
    ),
    addReplica: atLeader(member, methods.addReplica, ({ shardId, storeId, learner, wait }, ctx) =>
      runOperator(ctx, shardId, wait, addReplica(ctx, storeId, learner)),
    ),
    moveReplica: atLeader(member, methods.moveReplica, ({ shardId, fromStoreId, toStoreId, wait }, ctx) =>
      runOperator(ctx, shardId, wait, moveReplica(ctx, fromStoreId, toStoreId)),
    ),
    removeReplica: atLeader(member, methods.removeReplica, ({ shardId, storeId, wait }, ctx) =>
      runOperator(ctx, shardId, wait, removeReplica(ctx, storeId)),
    ),
    promoteLearner: atLeader(member, methods.promoteLearner, ({ shardId, storeId, wait }, ctx) =>
      runOperator(ctx, shardId, wait, promoteLearner(ctx, storeId)),
    ),
    transferLeader: atLeader(member, methods.transferLeader, ({ shardId, storeId, wait }, ctx) =>
      runOperator(ctx, shardId, wait, transferLeader(ctx, storeId)),
    ),
    listStores: atLeader(member, methods.listStores, (_request, { work }) => ({
      stores: [...member.state.stores()].map((store) => storeToWire(store, member.state, work.view)),
    })),
    drainStore: atLeader(member, methods.drainStore, async ({ storeId, cancel, leadersOnly }, ctx) => {
      if (!cancel && !leadersOnly) checkDrain(ctx, storeId);
      await member.proposer.propose({
        kind: 'setStoreState',
        storeId,
        state: cancel ? 'up' : leadersOnly ? 'maintenance' : 'draining',
      });
      return { store: storeToWire(storeOf(member, storeId), member.state, ctx.work.view) };
    }),
    getDrain: atLeader(member, methods.getDrain, ({ storeId }, ctx) => drainStatus(ctx, storeId)),
    listSchedules: atLeader(member, methods.listSchedules, () => {
      const { runtime, settings } = member.options;
      const schedules = settings.schedules?.(runtime.wallMs()) ?? [];
      return {
        schedules: schedules.map(({ name, cron, minutes, nextRunWallMs, isOpen }) => ({
          name,
          cron,
          minutes,
          nextRunUnixMs: nextRunWallMs ?? undefined,
          open: isOpen,
        })),
      };
    }),
    listOperators: atLeader(member, methods.listOperators, ({ history, shardId }, { work }) => {
      const { table } = work.planner;
      const all = [...(history ? table.history() : []), ...table.running()];
      const operators = shardId === 0 ? all : all.filter(({ plan }) => shardsOf(plan).includes(shardId));
      return { operators: operators.map((operator) => operatorToWire(operator, work.view.nowMs)) };
    }),
    cancelOperator: atLeader(member, methods.cancelOperator, ({ operatorId, wait }, ctx) =>
      cancelOperator(ctx, operatorId, wait),
    ),
    verifyShard: atLeader(member, methods.verifyShard, ({ shardId }, ctx) => verifyShard(ctx, shardId)),
    whyShard: atLeader(member, methods.whyShard, ({ shardId }, ctx) => shardDecisions(ctx, shardId)),
    whyStore: atLeader(member, methods.whyStore, ({ storeId }, ctx) => storeDecisions(ctx, storeId)),
    setKeyspacePolicy: atLeader(member, methods.setKeyspacePolicy, (request, ctx) => setPolicy(ctx, request)),
    getKeyspacePolicy: atLeader(member, methods.getKeyspacePolicy, ({ keyspace }) => policyOf(member, keyspace)),
    getClusterStatus: getClusterStatus(member),
  };
}

/** The one call that is worth an answer without a leader. */
function getClusterStatus(member: PlacementMember): AdminServer['getClusterStatus'] {
  const method = AdminService.getClusterStatus;
  const fromLeader = atLeader(member, method, (_request, { work }) => clusterStatus(member, work));
  const fromState = local(member, method, () => clusterStatus(member, null));
  return (call, callback) => {
    fromLeader(call, (error, answer, ...rest) => {
      const leaderless = answer?.error?.detail?.$case === 'placementUnavailable';
      if (leaderless) fromState(call, callback);
      else callback(error, answer, ...rest);
    });
  };
}

function listShards(
  request: ListShardsRequest,
  { member, work }: LeaderContext,
): { shards: ShardStatus[]; more: boolean } {
  const { state } = member;
  const keyspace = request.keyspace === '' ? undefined : state.keyspaceByName(request.keyspace);
  if (request.keyspace !== '' && (keyspace === undefined || keyspace.phase === 'planning')) {
    throw new WireFault(keyspaceNotFound(request.keyspace, 0));
  }
  if (request.storeId !== 0) storeOf(member, request.storeId);
  const limit = request.limit === 0 ? shardsPerPageDefault : Math.min(request.limit, shardsPerPageMax);
  const ids: number[] = [];
  const onStore = request.storeId === 0 ? null : state.shardIdsOn(request.storeId);
  for (const { shardId, keyspaceId } of state.shards()) {
    if (shardId <= request.afterShardId) continue;
    if (keyspace !== undefined && keyspaceId !== keyspace.keyspaceId) continue;
    if (onStore === null || onStore.has(shardId)) ids.push(shardId);
  }
  ids.sort((a, b) => a - b);
  const shards = ids.slice(0, limit).flatMap((id) => {
    const shard = state.shard(id);
    return shard === undefined ? [] : [shardStatusToWire(shard, work.view, work.planner.table.onShard(id))];
  });
  return { shards, more: ids.length > limit };
}

function storeOf(member: PlacementMember, storeId: number): StoreRecord {
  const store = member.state.store(storeId);
  if (store === undefined) throw new WireFault(storeNotFound(storeId));
  return store;
}

/** A drain that can never end helps nobody. */
function checkDrain({ member }: LeaderContext, storeId: number): void {
  storeOf(member, storeId);
  const others = [...member.state.stores()].filter((store) => store.state === 'up' && store.storeId !== storeId);
  const hosts = distinctHosts(others);
  for (const keyspace of member.state.keyspaces()) {
    if (keyspace.replicaCount <= hosts) continue;
    const message = `keyspace ${keyspace.name} has ${keyspace.replicaCount} replicas and ${hosts} hosts would be left`;
    throw new WireFault(failedPrecondition('TOO_FEW_STORES', message));
  }
}
