import type { TypedError } from '../../src/base/wire_errors.js';
import { must } from '../../src/base/assert.js';
import { alreadyExists, failedPrecondition, serverIsBusy } from '../../src/base/wire_errors.js';
import { membersMax } from '../limits.js';
import type { CommandOutcome, PlacementCommand } from './commands.js';
import type { MetaRecord } from './records.js';

/**
 *   (added) member ──asked to go──▶ leaving ──out of the group for good──▶ (forgotten)
 *
 * What role a member plays at the moment is the Raft group's configuration, which the leader brings in line with this
 * (member_changes.ts).
 */
export interface MemberRecord {
  readonly memberId: number;
  /** host:port */
  readonly address: string;
  readonly leaving: boolean;
  /**
   * Version of the first list of the members that has it at this address. Absent in records of an earlier version of Skerry: whoever has
   * the present list has it.
   */
  readonly listedFrom?: number;
}

export type MemberCommand = Extract<PlacementCommand, { kind: 'putMember' | 'removeMember' | 'forgetMember' }>;

/** changedId: the member whose record is another one now, or gone; null: nothing changed. */
export interface MemberOutcome {
  readonly outcome: CommandOutcome;
  readonly changedId: number | null;
}

/**
 * Who shall belong to the placement group. Ids are never used twice, so an id below the next one without a record
 * belongs to a member that was removed for good.
 */
export class MemberTable {
  private readonly byId = new Map<number, MemberRecord>();

  get size(): number {
    return this.byId.size;
  }

  get(memberId: number): MemberRecord | undefined {
    return this.byId.get(memberId);
  }

  /** By id. */
  all(): MemberRecord[] {
    return [...this.byId.values()].sort((a, b) => a.memberId - b.memberId);
  }

  /** meta: as of before the command. */
  apply(command: MemberCommand, meta: Pick<MetaRecord, 'nextMemberId' | 'membersVersion'>): MemberOutcome {
    switch (command.kind) {
      case 'putMember':
        return this.admit(command.memberId, command.address, meta);
      case 'removeMember':
        return this.remove(command.memberId, meta);
      case 'forgetMember':
        return this.forget(command.memberId);
    }
  }

  /** Null: the member may leave. */
  refusalOfRemoval(memberId: number): TypedError | null {
    const member = this.byId.get(memberId);
    if (member === undefined) return failedPrecondition('MEMBER_NOT_FOUND', `there is no placement member ${memberId}`);
    const staying = this.all().filter((m) => !m.leaving && m.memberId !== memberId);
    if (staying.length > 0) return null;
    return failedPrecondition('LAST_MEMBER', `placement member ${memberId} is the last one that stays`);
  }

  /** Loading: a record goes in as it is. */
  restore(member: MemberRecord): void {
    this.byId.set(member.memberId, member);
  }

  private admit(
    wantedId: number,
    address: string,
    { nextMemberId, membersVersion }: Pick<MetaRecord, 'nextMemberId' | 'membersVersion'>,
  ): MemberOutcome {
    const outcome = this.idFor(wantedId, address, nextMemberId);
    if (!outcome.ok) return unchanged(outcome);
    const memberId = outcome.value;
    const before = this.byId.get(memberId);
    if (before?.address === address) return unchanged(outcome);
    this.byId.set(memberId, {
      memberId,
      address,
      leaving: before?.leaving ?? false,
      listedFrom: membersVersion + 1,
    });
    return { outcome, changedId: memberId };
  }

  private remove(memberId: number, { nextMemberId }: Pick<MetaRecord, 'nextMemberId'>): MemberOutcome {
    const before = this.byId.get(memberId);
    // Gone already: asked for twice.
    if (before === undefined && memberId < nextMemberId) return unchanged({ ok: true, value: memberId });
    const refusal = this.refusalOfRemoval(memberId);
    if (refusal !== null || before === undefined) {
      return unchanged(refuse(must(refusal, 'a refusal of an unknown member')));
    }
    const outcome = { ok: true, value: memberId } as const;
    if (before.leaving) return unchanged(outcome);
    this.byId.set(memberId, { ...before, leaving: true });
    return { outcome, changedId: memberId };
  }

  private forget(memberId: number): MemberOutcome {
    const outcome = { ok: true, value: memberId } as const;
    if (this.byId.get(memberId)?.leaving !== true) return unchanged(outcome);
    this.byId.delete(memberId);
    return { outcome, changedId: memberId };
  }

  /** memberId 0: a new member, or the one that has the address already. The id to put, or a refusal. */
  private idFor(memberId: number, address: string, nextMemberId: number): CommandOutcome {
    const holder = this.all().find((member) => member.address === address);
    if (memberId === 0 && holder !== undefined && !holder.leaving) return { ok: true, value: holder.memberId };
    if (holder !== undefined && holder.memberId !== memberId) {
      return refuse(alreadyExists(`placement member ${holder.memberId} at ${address}`));
    }
    if (memberId !== 0 && !this.byId.has(memberId) && memberId < nextMemberId) return refuse(removed(memberId));
    if (!this.byId.has(memberId) && this.byId.size >= membersMax) {
      return refuse(serverIsBusy('placement.members', 60_000));
    }
    return { ok: true, value: memberId === 0 ? nextMemberId : memberId };
  }
}

function unchanged(outcome: CommandOutcome): MemberOutcome {
  return { outcome, changedId: null };
}

function removed(memberId: number): TypedError {
  return failedPrecondition('MEMBER_REMOVED', `placement member ${memberId} was removed for good`);
}

function refuse(error: TypedError): CommandOutcome {
  return { ok: false, error };
}
