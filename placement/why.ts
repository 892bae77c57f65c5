import type { CheckContext } from './checkers/check_context.js';
import type { CheckResult } from './checkers/check_result.js';
import { checkers, leaderless } from './checkers/check_shard.js';
import { leaderScore, replicaScore } from './choose_target.js';
import type { Hindrance, Rejection } from './hindrance.js';
import { checkLimitReached } from './move_limits.js';
import { describeStep } from './operators/step.js';
import {
  fairLeaders,
  heirHindrance,
  heirsOf,
  leaderPairHindrance,
  transferableHindrance,
} from './schedulers/balance_leaders.js';
import { fairShare, movableHindrance, pairHindrance, placeRejection } from './schedulers/balance_replicas.js';
import { evictionReason } from './schedulers/evict_leaders.js';
import type { SchedulerContext } from './schedulers/scheduler.js';
import type { ShardRecord, StoreRecord } from './state/records.js';
import type { StoreLoad } from './store_loads.js';

/** What one part of placement wants, and what holds it back. */
export interface Decision {
  /** A checker, a scheduler, or the operator at work. */
  readonly by: string;
  /** Empty: nothing. */
  readonly wants: string;
  /** Null: nothing. */
  readonly hindrance: Hindrance | null;
}

export interface WhyContext {
  readonly checks: CheckContext;
  readonly scheduling: SchedulerContext;
  /** Why schedulers rest; null: they do not. */
  readonly balance: Hindrance | null;
  /** What the last look at a shard found to be wanting and held back. */
  readonly blockedOn: (
    shardId: number,
  ) => { readonly wants: { reason: string }; readonly hindrance: Hindrance } | undefined;
}

/** Asks every checker and the schedulers of balance about one shard, with the functions by which they decide. */
export function whyShard(context: WhyContext, shard: ShardRecord): Decision[] {
  const { view, operators } = context.checks;
  const running = operators.onShard(shard.shardId);
  const decisions: Decision[] = [];
  if (running !== undefined) {
    const { takingBack, plan } = running;
    const step = running.steps[running.currentStep];
    const doing = step === undefined ? 'its end' : describeStep(step);
    const aim = takingBack === null ? `${doing}; ${plan.reason}` : `take back: ${doing}; ${takingBack.why}`;
    const hindrance: Hindrance = { kind: 'operatorRunning', operatorId: running.operatorId };
    decisions.push({ by: 'operator', wants: `${plan.kind}: ${aim}`, hindrance });
  }
  if (view.liveLeaderOf(shard.shardId) === undefined) return [...decisions, decisionOf(context, 'leader', leaderless)];
  for (const checker of checkers)
    decisions.push(decisionOf(context, checker.name, checker.check(context.checks, shard)));
  decisions.push(whyReplicasStay(context, shard), whyLeaderStays(context, shard));
  return decisions;
}

function decisionOf(context: WhyContext, by: string, result: CheckResult): Decision {
  if (result.kind === 'sound') return { by, wants: '', hindrance: null };
  if (result.kind !== 'plan')
    return { by, wants: `${result.wants.kind}: ${result.wants.reason}`, hindrance: result.hindrance };
  const { loads, limits } = context.scheduling;
  const wants = `${result.plan.kind}: ${result.plan.steps.map(describeStep).join('; ')}; ${result.plan.reason}`;
  return { by, wants, hindrance: checkLimitReached(result.plan, loads, limits, context.checks.operators) };
}

function whyReplicasStay({ scheduling, balance }: WhyContext, shard: ShardRecord): Decision {
  const by = 'balance-replicas';
  const held = balance ?? movableHindrance(scheduling, shard);
  if (held !== null) return { by, wants: '', hindrance: held };
  const stores = [...scheduling.loads.values()].filter((load) => load.store.state === 'up');
  const sources = stores.filter((load) => shard.replicas.some((r) => r.storeId === load.store.storeId));
  const source = largest(sources, replicaScore);
  if (source === null) return { by, wants: '', hindrance: { kind: 'noShard' } };
  const rejected: Rejection[] = [];
  let best: StoreLoad | null = null;
  for (const target of stores) {
    const { storeId } = target.store;
    const kind = target.acceptsReplicas ? placeRejection(scheduling, shard, source, target) : 'unreachable';
    if (kind !== null) rejected.push({ storeId, kind });
    else if (best === null || replicaScore(target) < replicaScore(best)) best = target;
  }
  if (best === null) return { by, wants: '', hindrance: { kind: 'noCandidate', rejected } };
  const wants = `move a replica from store ${source.store.storeId} to store ${best.store.storeId}, if this shard's turn comes`;
  const hindrance = pairHindrance(scheduling, source, best, fairShare(stores));
  return { by, wants: hindrance?.kind === 'tolerance' ? '' : wants, hindrance };
}

function whyLeaderStays({ scheduling, balance }: WhyContext, shard: ShardRecord): Decision {
  const by = 'balance-leaders';
  const held = balance ?? transferableHindrance(scheduling, shard);
  if (held !== null) return { by, wants: '', hindrance: held };
  const { view, loads } = scheduling;
  const source = loads.get(view.leaderOf(shard.shardId)?.leaderStoreId ?? 0);
  if (source === undefined) return { by, wants: '', hindrance: { kind: 'noLeader' } };
  const heir = largest(heirsOf(scheduling, shard, source), (load) => -leaderScore(load));
  if (heir === null) return { by, wants: '', hindrance: { kind: 'noHeir' } };
  const stores = [...loads.values()].filter((load) => load.acceptsLeaders);
  const hindrance = heirHindrance(scheduling, shard, source, heir, fairLeaders(stores));
  const wants = `hand the leadership to store ${heir.store.storeId}, if this shard's turn comes`;
  return { by, wants: hindrance?.kind === 'tolerance' ? '' : wants, hindrance };
}

/** What is wanted of a store: to be emptied, or to have a fair share; and the shards on it that wait for something. */
export function whyStore(context: WhyContext, store: StoreRecord): Decision[] {
  const { scheduling, balance } = context;
  const { view, loads } = scheduling;
  const decisions: Decision[] = [];
  const eviction = evictionReason(view, store);
  const leaders = view.leaders.countOn(store.storeId);
  if (eviction !== null) {
    decisions.push({ by: 'evict-leaders', wants: `${leaders} leaders to go; ${eviction}`, hindrance: null });
  }
  const waiting = blockedOnStore(context, store);
  if (store.state === 'draining') {
    const left = view.state.shardIdsOn(store.storeId).size;
    decisions.push({ by: 'replicas', wants: `${left} replicas to go`, hindrance: waiting[0]?.hindrance ?? null });
  }
  decisions.push(...waiting);
  const load = loads.get(store.storeId);
  if (store.state !== 'up' || load === undefined) return decisions;
  const up = [...loads.values()].filter((l) => l.store.state === 'up');
  decisions.push({
    by: 'balance-replicas',
    wants: `a fair share of ${(fairShare(up) * load.weight).toFixed(1)} where it has ${(replicaScore(load) * load.weight).toFixed(1)}`,
    hindrance: balance ?? against(load, up, replicaScore, (a, b) => pairHindrance(scheduling, a, b, fairShare(up))),
  });
  const leading = up.filter((l) => l.acceptsLeaders);
  decisions.push({
    by: 'balance-leaders',
    wants: `a fair share of ${(fairLeaders(leading) * load.weight).toFixed(1)} leaders where it has ${load.leaders}`,
    hindrance:
      balance ??
      against(load, leading, leaderScore, (a, b) => leaderPairHindrance(scheduling, a, b, fairLeaders(leading))),
  });
  return decisions;
}

/** The store beside the one that differs from it most, from the larger to the smaller. */
function against(
  load: StoreLoad,
  stores: readonly StoreLoad[],
  scoreOf: (load: StoreLoad) => number,
  pair: (larger: StoreLoad, smaller: StoreLoad) => Hindrance | null,
): Hindrance | null {
  const others = stores.filter((other) => other !== load);
  const other = largest(others, (o) => Math.abs(scoreOf(o) - scoreOf(load)));
  if (other === null) return { kind: 'noCandidate', rejected: [] };
  return scoreOf(other) > scoreOf(load) ? pair(other, load) : pair(load, other);
}

/** One decision per kind of hindrance, with the first shard and the number of shards. */
function blockedOnStore({ scheduling, blockedOn }: WhyContext, { storeId }: StoreRecord): Decision[] {
  const byKind = new Map<string, { first: number; count: number; wants: string; hindrance: Hindrance }>();
  for (const shardId of scheduling.view.state.shardIdsOn(storeId)) {
    const found = blockedOn(shardId);
    if (found === undefined) continue;
    const known = byKind.get(found.hindrance.kind);
    if (known !== undefined) known.count++;
    else
      byKind.set(found.hindrance.kind, {
        first: shardId,
        count: 1,
        wants: found.wants.reason,
        hindrance: found.hindrance,
      });
  }
  return [...byKind.values()].map(({ first, count, wants, hindrance }) => ({
    by: 'checkers',
    wants: `${count} shards wait, shard ${first} first: ${wants}`,
    hindrance,
  }));
}

function largest(loads: readonly StoreLoad[], valueOf: (load: StoreLoad) => number): StoreLoad | null {
  return loads.reduce<StoreLoad | null>((best, l) => (best === null || valueOf(l) > valueOf(best) ? l : best), null);
}
