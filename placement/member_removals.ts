import type { TypedError } from '../src/base/wire_errors.js';
import { failedPrecondition } from '../src/base/wire_errors.js';
import type { ClusterView } from './cluster_view.js';
import { storesNamedMax } from './limits.js';
import type { PlacementCommand } from './state/commands.js';
import type { MemberRecord } from './state/member_table.js';
import { untoldStores } from './untold_stores.js';
import { WireFault } from './wire_fault.js';

/**
 * The removals of placement members that the leader is asked for. A member goes only when every store knows a voter that stays. What stores know is
 * not in the log, so two removals at once, each of which leaves a store the other's member, are kept apart here: a member whose
 * removal is on its way through the log does not stay.
 */
export class MemberRemovals {
  private readonly view: ClusterView;
  private readonly propose: (command: PlacementCommand) => Promise<number>;
  /** Members whose removal is proposed, each as often as it is. */
  private readonly proposed: number[] = [];

  constructor(view: ClusterView, propose: (command: PlacementCommand) => Promise<number>) {
    this.view = view;
    this.propose = propose;
  }

  /** force: whatever the stores know. @throws WireFault STORES_NOT_TOLD, and what the state refuses */
  async remove(memberId: number, { voters, force }: { voters: readonly number[]; force: boolean }): Promise<void> {
    const refusal = force ? null : this.refusal(memberId, voters);
    if (refusal !== null) throw new WireFault(refusal);
    this.proposed.push(memberId);
    try {
      await this.propose({ kind: 'removeMember', memberId });
    } finally {
      this.proposed.splice(this.proposed.indexOf(memberId), 1);
    }
  }

  private refusal(memberId: number, voters: readonly number[]): TypedError | null {
    const { members } = this.view.state;
    // Nothing new is asked for, or the state refuses it for a reason of its own.
    if (members.get(memberId)?.leaving !== false || members.refusalOfRemoval(memberId) !== null) return null;
    const stays = (member: MemberRecord): boolean =>
      !member.leaving && member.memberId !== memberId && !this.proposed.includes(member.memberId);
    const untold = untoldStores(
      this.view,
      members.all().filter((member) => stays(member) && voters.includes(member.memberId)),
    );
    return untold.length === 0 ? null : storesNotTold(memberId, untold);
  }
}

function storesNotTold(memberId: number, storeIds: readonly number[]): TypedError {
  const named = storeIds.slice(0, storesNamedMax).join(', ');
  const more = storeIds.length > storesNamedMax ? ` and ${storeIds.length - storesNamedMax} more` : '';
  const message = `placement member ${memberId} stays until these stores have heard of a voter that stays: ${named}${more}`;
  return failedPrecondition('STORES_NOT_TOLD', message, storeIds);
}
