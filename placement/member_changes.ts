import type { GroupProgress, GroupStatus } from '../src/multiraft/host.js';
import { memberLagMax } from './limits.js';
import type { MemberRecord } from './state/member_table.js';

/** The next change that brings the group's configuration nearer to the members that are wanted. */
export type MemberChange =
  | { readonly kind: 'addLearner' | 'promote' | 'remove' | 'handOver'; readonly memberId: number }
  /** Out of the configuration for good: its record can go. */
  | { readonly kind: 'forget'; readonly memberId: number }
  /** Nothing can be done right now. */
  | { readonly kind: 'wait'; readonly memberId: number; readonly why: string };

/**
 * One change at a time, each a single server, so that any majority of the old configuration and any of the new one
 * share a member (Raft thesis §4.1). Null: the group is as wanted. Pure, and decided anew from what is there each time, so that a
 * new leader goes on where its predecessor stopped.
 *
 * `settled`: see Group.membershipSettled().
 */
export function nextMemberChange(
  records: readonly MemberRecord[],
  status: Pick<GroupStatus, 'replicaId' | 'confState' | 'progress' | 'lastIndex'>,
  settled: () => boolean,
): MemberChange | null {
  const { voters, learners, votersOutgoing, learnersNext } = status.confState;
  const present = (id: number): boolean => voters.includes(id) || learners.includes(id);
  if (votersOutgoing.length > 0 || learnersNext.length > 0) {
    return { kind: 'wait', memberId: 0, why: 'a change of the group is under way' };
  }
  const missing = records.find((m) => !m.leaving && !present(m.memberId));
  if (missing !== undefined) return { kind: 'addLearner', memberId: missing.memberId };
  const { replicaId } = status;
  const ready = records.find((m) => !m.leaving && learners.includes(m.memberId) && lagOf(status, m.memberId) === null);
  if (ready !== undefined) return { kind: 'promote', memberId: ready.memberId };
  const goner = records.find((m) => m.leaving && !present(m.memberId));
  if (goner !== undefined) {
    if (settled()) return { kind: 'forget', memberId: goner.memberId };
    return { kind: 'wait', memberId: goner.memberId, why: 'the change is not on a majority of disks yet' };
  }
  // The leader goes last: each hand-over is an election.
  const leaving = records.filter((m) => m.leaving).sort((a, b) => order(a, replicaId) - order(b, replicaId))[0];
  if (leaving !== undefined) return removal(leaving.memberId, records, status);
  const behind = records.find((m) => learners.includes(m.memberId));
  if (behind === undefined) return null;
  return { kind: 'wait', memberId: behind.memberId, why: lagOf(status, behind.memberId) ?? 'it catches up' };
}

function removal(
  memberId: number,
  records: readonly MemberRecord[],
  status: Pick<GroupStatus, 'replicaId' | 'confState' | 'progress' | 'lastIndex'>,
): MemberChange {
  const { confState, replicaId } = status;
  if (confState.learners.includes(memberId)) return { kind: 'remove', memberId };
  const rest = confState.voters.filter((id) => id !== memberId);
  if (rest.length === 0) return { kind: 'wait', memberId, why: 'no other member votes yet' };
  const alive = rest.filter((id) => lagOf(status, id) === null);
  if (memberId === replicaId) {
    const leaving = (id: number): boolean => records.some((m) => m.memberId === id && m.leaving);
    const heir = alive.find((id) => !leaving(id)) ?? alive[0];
    if (heir === undefined) return { kind: 'wait', memberId, why: 'no other voter can lead' };
    return { kind: 'handOver', memberId: heir };
  }
  // Without it the others must have a majority of their own right away, or nothing could be changed any more.
  const majority = Math.floor(rest.length / 2) + 1;
  if (alive.length < majority) {
    const why = `of the ${rest.length} voters that would be left only ${alive.length} can be reached`;
    return { kind: 'wait', memberId, why };
  }
  return { kind: 'remove', memberId };
}

function order(member: MemberRecord, leaderId: number): number {
  return member.memberId === leaderId ? 1 : 0;
}

/** Null: it has nearly everything and answers. */
export function lagOf(
  status: Pick<GroupStatus, 'replicaId' | 'progress' | 'lastIndex'>,
  memberId: number,
): string | null {
  if (memberId === status.replicaId) return null;
  const progress: GroupProgress | undefined = status.progress.find((p) => p.replicaId === memberId);
  if (progress === undefined || !progress.recentActive) return 'it is not heard of';
  if (progress.state === 'snapshot') return 'it receives a snapshot';
  const lag = status.lastIndex - progress.match;
  return lag > memberLagMax ? `it lacks ${lag} entries` : null;
}
