import { deadlineExceeded, invalidArgument, placementUnavailable } from '../../src/base/wire_errors.js';
import type { MemberStatus, MembersServer } from '../../src/gen/skerry/v1/members.js';
import { MemberRole, MembersService } from '../../src/gen/skerry/v1/members.js';
import { addressBytesMax } from '../limits.js';
import { lagOf } from '../member_changes.js';
import type { PlacementMember } from '../placement_member.js';
import { WireFault } from '../wire_fault.js';
import type { LeaderContext } from './unary.js';
import { atLeader, local } from './unary.js';

/** Who belongs to the placement group: asked for here, carried out by the leader's Membership. */
export function membersService(member: PlacementMember): MembersServer {
  const methods = MembersService;
  return {
    list: atLeader(member, methods.list, () => ({ members: statuses(member) })),
    add: atLeader(member, methods.add, async ({ address, wait }, ctx) => {
      checkAddress(address);
      // Before the first members are on record their ids would be given out again.
      await until(ctx, () => allRecorded(member));
      const memberId = await member.proposer.propose({ kind: 'putMember', memberId: 0, address });
      const votes = (): boolean => member.groupStatus().confState.voters.includes(memberId);
      if (wait) await until(ctx, votes);
      return { memberId };
    }),
    remove: atLeader(member, methods.remove, async ({ memberId, wait, force }, ctx) => {
      const { voters } = member.groupStatus().confState;
      await ctx.work.removals.remove(memberId, { voters, force });
      if (wait) await until(ctx, () => member.state.members.get(memberId) === undefined);
      return {};
    }),
    tell: local(member, methods.tell, ({ list }) => {
      if (list !== undefined) member.told(list);
      return {};
    }),
  };
}

/** Throws when the time is over, or another member leads: it goes on there, and the caller may ask again. */
async function until(ctx: LeaderContext, holds: () => boolean): Promise<void> {
  const { member, work } = ctx;
  await member.waiters.wait(() => holds() || member.leading !== work, ctx.remainingMs());
  if (holds()) return;
  throw new WireFault(member.leading === work ? deadlineExceeded() : placementUnavailable(member.leaderAddress()));
}

function allRecorded(member: PlacementMember): boolean {
  return member.groupStatus().confState.voters.every((id) => member.state.members.get(id) !== undefined);
}

function statuses(member: PlacementMember): MemberStatus[] {
  const status = member.groupStatus();
  const { voters, learners } = status.confState;
  const { memberChange } = member;
  const leaving = new Set(member.state.members.all().flatMap((m) => (m.leaving ? [m.memberId] : [])));
  return member.members().map(({ id, address }) => {
    const progress = status.progress.find((p) => p.replicaId === id);
    const leader = id === status.replicaId;
    return {
      memberId: id,
      address,
      role: voters.includes(id) ? MemberRole.VOTER : learners.includes(id) ? MemberRole.LEARNER : MemberRole.JOINING,
      leader,
      leaving: leaving.has(id),
      reachable: leader || progress?.recentActive === true,
      lag: leader ? 0 : status.lastIndex - (progress?.match ?? 0),
      waitsFor:
        memberChange?.kind === 'wait' && memberChange.memberId === id ? memberChange.why : (lagOf(status, id) ?? ''),
    };
  });
}

function checkAddress(address: string): void {
  if (!/^.+:[1-9]\d*$/.test(address)) {
    throw new WireFault(invalidArgument('address', 'NOT_AN_ADDRESS', `"${address}" is not host:port`));
  }
  if (Buffer.byteLength(address, 'utf8') > addressBytesMax) {
    throw new WireFault(invalidArgument('address', 'ADDRESS_TOO_LONG'));
  }
}
