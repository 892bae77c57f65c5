import { shardNotFound, storeNotFound } from '../../src/base/wire_errors.js';
import type { Decision as WireDecision } from '../../src/gen/skerry/v1/admin.js';
import { describeHindrance } from '../hindrance.js';
import { patrolPerTickMax } from '../limits.js';
import { WireFault } from '../wire_fault.js';
import type { Decision } from '../why.js';
import { whyShard, whyStore } from '../why.js';
import type { LeaderContext } from './unary.js';

/** @throws WireFault ShardNotFound */
export function shardDecisions({ member, work }: LeaderContext, shardId: number): { decisions: WireDecision[] } {
  const shard = member.state.shard(shardId);
  if (shard === undefined) throw new WireFault(shardNotFound(shardId));
  const decisions = whyShard(work.planner.whyContext(), shard);
  return { decisions: decisions.map((decision) => decisionToWire({ member, work }, decision)) };
}

/** @throws WireFault StoreNotFound */
export function storeDecisions({ member, work }: LeaderContext, storeId: number): { decisions: WireDecision[] } {
  const store = member.state.store(storeId);
  if (store === undefined) throw new WireFault(storeNotFound(storeId));
  const decisions = whyStore(work.planner.whyContext(), store);
  return { decisions: decisions.map((decision) => decisionToWire({ member, work }, decision)) };
}

type Seen = Pick<LeaderContext, 'member' | 'work'>;

function decisionToWire(seen: Seen, { by, wants, hindrance }: Decision): WireDecision {
  const { nowMs } = seen.work.view;
  return {
    by,
    wants,
    heldBy: hindrance?.kind ?? '',
    detail: hindrance === null ? '' : describeHindrance(hindrance, nowMs),
    looksAgainMs: Math.ceil(looksAgainMs(seen, { by, wants, hindrance })),
  };
}

/** Schedulers look every round. Shards that wait for a limit are looked at in every tick, the others when the patrol comes around. */
function looksAgainMs({ member, work }: Seen, { by, hindrance }: Decision): number {
  const { patrolIntervalMs, scheduleIntervalMs } = member.options.settings;
  if (hindrance?.kind === 'resting') return Math.max(0, hindrance.untilMs - work.view.nowMs);
  if (by.startsWith('balance-') || by === 'evict-leaders') return scheduleIntervalMs;
  if (by === 'operator' || hindrance?.kind === 'limit') return patrolIntervalMs;
  return Math.ceil(member.state.shardCount / patrolPerTickMax) * patrolIntervalMs;
}
