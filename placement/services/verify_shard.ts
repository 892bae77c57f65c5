import { deadlineExceeded, placementUnavailable, serverIsBusy } from '../../src/base/wire_errors.js';
import type { VerifyShardResponse } from '../../src/gen/skerry/v1/admin.js';
import { ReplicaCheckState, VerifyOutcome } from '../../src/gen/skerry/v1/admin.js';
import type { ReplicaVerdict, Verdict } from '../scrub/verdict.js';
import { WireFault } from '../wire_fault.js';
import { shardOf } from './admin_operators.js';
import type { LeaderContext } from './unary.js';

const busyRetryAfterMs = 1_000;

const outcomes: Readonly<Record<Verdict['outcome'], VerifyOutcome>> = {
  consistent: VerifyOutcome.CONSISTENT,
  inconsistent: VerifyOutcome.INCONSISTENT,
  unchecked: VerifyOutcome.UNCHECKED,
};

const states: Readonly<Record<ReplicaVerdict['state'], ReplicaCheckState>> = {
  agrees: ReplicaCheckState.AGREES,
  odd: ReplicaCheckState.ODD,
  differs: ReplicaCheckState.DIFFERS,
  unchecked: ReplicaCheckState.UNCHECKED,
};

/** Compares the replicas of a shard now, and answers with what was found. */
export async function verifyShard(ctx: LeaderContext, shardId: number): Promise<Omit<VerifyShardResponse, 'error'>> {
  const { member, work } = ctx;
  shardOf(ctx, shardId);
  const check = work.scrubber.request(shardId);
  if (check === null) throw new WireFault(serverIsBusy('placement.scrub_requests', busyRetryAfterMs));
  await member.waiters.wait(() => check.verdict !== null || member.leading !== work, ctx.remainingMs());
  const { verdict } = check;
  if (verdict === null) {
    throw new WireFault(member.leading === work ? deadlineExceeded() : placementUnavailable(member.leaderAddress()));
  }
  const replicas = verdict.replicas.map((replica) => ({ ...replica, state: states[replica.state] }));
  return { shardId, outcome: outcomes[verdict.outcome], index: verdict.index, replicas };
}
