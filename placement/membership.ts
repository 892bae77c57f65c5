import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { Group, ProposalOutcome } from '../src/multiraft/host.js';
import type { ConfChangeSingle } from '../src/raft/conf_change.js';
import { ConfChangeTransition, ConfChangeType } from '../src/raft/conf_change.js';
import { memberCheckMs } from './limits.js';
import type { MemberChange } from './member_changes.js';
import { nextMemberChange } from './member_changes.js';
import type { MemberAddress } from './member_lines.js';
import type { Proposer } from './proposer.js';
import type { ClusterState } from './state/cluster_state.js';
import type { PlacementCommand } from './state/commands.js';
import { WireFault } from './wire_fault.js';

export interface MembershipOptions {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly group: Group;
  readonly proposer: Proposer;
  readonly state: () => ClusterState;
  /** Addresses by configuration, for members that are not recorded yet, and this member's own. */
  readonly configured: () => readonly MemberAddress[];
  readonly ownId: number;
  /** Whether another member's host is connected: what Raft has heard lately may be a second old. */
  readonly isConnected: (memberId: number) => boolean;
  /** Something that requests wait for may have happened. */
  readonly poke: () => void;
}

const noContext = Buffer.alloc(0);
const typeOf = {
  addLearner: ConfChangeType.AddLearnerNode,
  promote: ConfChangeType.AddNode,
  remove: ConfChangeType.RemoveNode,
} as const;

/**
 * The leader's care for the placement group itself: records the first members, and brings the group's configuration in
 * line with the records, one change after the other. What gets lost is decided anew at the next look.
 */
export class Membership {
  private readonly options: MembershipOptions;
  private readonly timer: TimerHandle;
  private busy = false;
  private closed = false;
  private present: MemberChange | null = null;

  constructor(options: MembershipOptions) {
    this.options = options;
    this.timer = options.runtime.every(memberCheckMs, () => this.look());
  }

  /** What was last found to be done, or to wait for. */
  get change(): MemberChange | null {
    return this.present;
  }

  look(): void {
    if (this.busy || this.closed || this.options.state().clusterId === 0) return;
    const unrecorded = this.unrecorded();
    if (unrecorded !== null) {
      this.propose(unrecorded);
      return;
    }
    const { group, state, isConnected } = this.options;
    const settled = (): boolean => group.membershipSettled();
    const status = group.status();
    const progress = status.progress.map((p) => ({ ...p, recentActive: p.recentActive && isConnected(p.replicaId) }));
    const change = nextMemberChange(state().members.all(), { ...status, progress }, settled);
    this.present = change;
    if (change !== null) this.carryOut(change);
  }

  close(): void {
    this.closed = true;
    this.timer.cancel();
  }

  /** First members have no record yet, and a member may come back under another address. */
  private unrecorded(): PlacementCommand | null {
    const { group, state, configured, ownId } = this.options;
    const { voters } = group.status().confState;
    for (const { id, address } of [...configured()].sort((a, b) => a.id - b.id)) {
      const record = state().members.get(id);
      const isNew = record === undefined && voters.includes(id) && id >= state().metaRecord.nextMemberId;
      const moved = record !== undefined && id === ownId && record.address !== address;
      if (isNew || moved) return { kind: 'putMember', memberId: id, address };
    }
    return null;
  }

  private carryOut(change: MemberChange): void {
    const { group, logger } = this.options;
    const { memberId } = change;
    switch (change.kind) {
      case 'wait':
        logger.debug({ memberId, why: change.why }, 'a change of the placement members waits');
        return;
      case 'handOver':
        logger.info({ memberId }, 'handing the placement group over before leaving it');
        group.transferLeader(memberId);
        return;
      case 'forget':
        this.propose({ kind: 'forgetMember', memberId });
        return;
      case 'addLearner':
      case 'promote':
      case 'remove':
        logger.info({ memberId, change: change.kind }, 'changing the placement members');
        this.changeGroup({ type: typeOf[change.kind], replicaId: memberId });
    }
  }

  private changeGroup(single: ConfChangeSingle): void {
    this.busy = true;
    const change = { transition: ConfChangeTransition.Auto, changes: [single], context: noContext };
    this.options.group.proposeConfChange(change, (outcome) => this.ended(outcome));
  }

  private ended(outcome: ProposalOutcome): void {
    this.busy = false;
    this.options.poke();
    if (outcome.status === 'applied') this.look();
    else this.options.logger.debug({ outcome }, 'a change of the placement members did not get through');
  }

  private propose(command: PlacementCommand): void {
    const { proposer, logger, poke } = this.options;
    this.busy = true;
    proposer.tryPropose(command).then(
      (outcome) => {
        this.busy = false;
        poke();
        if (outcome.ok) this.look();
        else logger.warn({ command, error: outcome.error }, 'a change of the placement members was refused');
      },
      (error: unknown) => {
        // Anything but a typed refusal is a broken invariant, which must end the process.
        if (!(error instanceof WireFault)) throw error;
        this.busy = false;
        logger.debug({ err: error }, 'could not propose a change of the placement members');
      },
    );
  }
}
