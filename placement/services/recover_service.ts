import { createHash } from 'node:crypto';
import {
  deadlineExceeded,
  failedPrecondition,
  invalidArgument,
  serverIsBusy,
  storeNotFound,
} from '../../src/base/wire_errors.js';
import type {
  RecoverServer,
  ShardRecovery as WireRecovery,
  ShardRecoveryStatus,
} from '../../src/gen/skerry/v1/recover.js';
import { RecoverService } from '../../src/gen/skerry/v1/recover.js';
import { recoveriesPerCommandMax } from '../limits.js';
import type { PlacementMember } from '../placement_member.js';
import type { RecoveryPlan, ShardRecovery } from '../recovery/recovery_plan.js';
import { planRecovery } from '../recovery/recovery_plan.js';
import { WireFault } from '../wire_fault.js';
import type { LeaderContext } from './unary.js';
import { atLeader } from './unary.js';

/** What a person types to have a plan applied. */
export const recoverConfirmation = 'I accept that acknowledged writes may be lost';

/**
 * Recovery of shards that lost the majority of their voters (recovery/recovery_plan.ts says from where, store/replica_recovery.ts how).
 * A plan is not kept: applying one makes it anew, and goes on only if it is the same, which its id tells. Nothing changes in shards without
 * a leader, so it is, unless stores came or went in between.
 */
export function recoverService(member: PlacementMember): RecoverServer {
  const methods = RecoverService;
  return {
    plan: atLeader(member, methods.plan, async ({ deadStoreIds }, ctx) => {
      const { plan, planId } = await makePlan(ctx, deadStoreIds);
      return {
        planId,
        shards: plan.recoveries.map(recoveryToWire),
        unrecoverable: plan.unrecoverable.map((u) => ({ ...u })),
        confirmation: recoverConfirmation,
      };
    }),
    apply: atLeader(member, methods.apply, async (request, ctx) => {
      const { work } = ctx;
      if (request.confirmation !== recoverConfirmation) {
        throw new WireFault(invalidArgument('confirmation', 'NOT_CONFIRMED', `type: ${recoverConfirmation}`));
      }
      const { plan, planId } = await makePlan(ctx, request.deadStoreIds);
      if (planId !== request.planId) {
        throw new WireFault(failedPrecondition('PLAN_CHANGED', `the plan is ${planId} by now: look at it again`));
      }
      await applyPlan(ctx, request.deadStoreIds, plan);
      const underWay = (): number =>
        plan.recoveries.filter((r) => member.state.recoveries.get(r.record.shardId)).length;
      if (request.wait) await member.waiters.wait(() => underWay() === 0 || member.leading !== work, ctx.remainingMs());
      return { shards: plan.recoveries.length, underWay: underWay() };
    }),
    status: atLeader(member, methods.status, (_request, { work }) => {
      const shards = [...member.state.recoveries.all()].map(({ shardId, replicaId, storeId }): ShardRecoveryStatus => {
        return { shardId, replicaId, storeId, detail: work.recovery.refusalOf(shardId) };
      });
      return { shards: shards.sort((a, b) => a.shardId - b.shardId) };
    }),
  };
}

async function makePlan(ctx: LeaderContext, given: readonly number[]): Promise<{ plan: RecoveryPlan; planId: string }> {
  const { member, work } = ctx;
  const { view } = work;
  const deadStoreIds = [...new Set(given)].sort((a, b) => a - b);
  const living = livingStores(ctx, deadStoreIds);
  const survey = work.surveys.begin(living, deadStoreIds);
  if (survey === null) throw new WireFault(serverIsBusy('placement.surveys', 1_000));
  try {
    const isDone = (): boolean => survey.missing.size === 0 || member.leading !== work;
    await member.waiters.wait(isDone, ctx.remainingMs());
    if (survey.missing.size > 0) throw new WireFault(deadlineExceeded());
  } finally {
    work.surveys.end(survey);
  }
  const plan = planRecovery({
    state: member.state,
    deadStoreIds: new Set(deadStoreIds),
    replicas: survey.replicas,
    isLed: (shardId) => view.liveLeaderOf(shardId) !== undefined,
    lastKnown: (shardId) => ({
      term: view.leaders.get(shardId)?.term ?? 0,
      index: Math.max(0, ...(view.status(shardId)?.progress.map((p) => p.matchIndex) ?? [])),
    }),
  });
  return { plan, planId: idOf(deadStoreIds, plan) };
}

/** The stores to ask. Those that are given up must be silent, and all others must answer: an unheard one may hold what is missing. */
function livingStores({ member, work }: LeaderContext, deadStoreIds: readonly number[]): number[] {
  if (deadStoreIds.length === 0)
    throw new WireFault(invalidArgument('dead_store_ids', 'NO_STORES', 'name the dead stores'));
  for (const storeId of deadStoreIds) {
    const store = member.state.store(storeId);
    if (store === undefined) throw new WireFault(storeNotFound(storeId));
    if (store.state !== 'tombstone' && (work.view.isConnected(storeId) || work.sessions.has(storeId))) {
      throw new WireFault(failedPrecondition('STORE_ALIVE', `store ${storeId} is not down: stop it for good first`));
    }
  }
  const living: number[] = [];
  for (const { storeId, state } of member.state.stores()) {
    if (state === 'tombstone' || deadStoreIds.includes(storeId)) continue;
    if (!work.view.isConnected(storeId) || !work.sessions.has(storeId)) {
      const message = `store ${storeId} cannot be asked: bring it back, or name it among the dead`;
      throw new WireFault(failedPrecondition('STORE_SILENT', message));
    }
    living.push(storeId);
  }
  return living;
}

async function applyPlan(
  { member }: LeaderContext,
  deadStoreIds: readonly number[],
  plan: RecoveryPlan,
): Promise<void> {
  // First, so that no lost majority can come back beside what goes on without it.
  await member.proposer.propose({ kind: 'buryStores', storeIds: [...new Set(deadStoreIds)] });
  const records = plan.recoveries.map((r) => r.record);
  for (let at = 0; at < records.length; at += recoveriesPerCommandMax) {
    const shards = records.slice(at, at + recoveriesPerCommandMax);
    await member.proposer.propose({ kind: 'recoverShards', shards });
  }
}

function idOf(deadStoreIds: readonly number[], { recoveries, unrecoverable }: RecoveryPlan): string {
  const chosen = recoveries.map(({ record, shard, lastTerm, lastIndex }) => [
    ...[record.shardId, record.replicaId, record.storeId, lastTerm, lastIndex],
    ...[shard.epoch.confVer, shard.epoch.version],
  ]);
  const text = JSON.stringify([deadStoreIds, chosen, unrecoverable.map((u) => [u.shardId, u.reason])]);
  return createHash('sha256').update(text).digest('hex').slice(0, planIdDigits);
}

const planIdDigits = 16;

function recoveryToWire(recovery: ShardRecovery): WireRecovery {
  const { record, shard, lastTerm, lastIndex, appliedIndex, missingEntriesMin, voters, votersLeft } = recovery;
  const { shardId, replicaId, storeId } = record;
  const { keyspaceId, epoch } = shard;
  const at = { lastTerm, lastIndex, appliedIndex, missingEntriesMin };
  return { shardId, keyspaceId, replicaId, storeId, ...at, epoch, voters, votersLeft };
}
