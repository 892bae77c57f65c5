import { encodeEntryPayload } from '../wire/entry_codec.js';
import type { ConfChange } from '../raft/conf_change.js';
import type { RawNode } from '../raft/raw_node.js';
import type { ProposalRefusal } from '../raft/ready.js';
import type { Entry } from '../raft/message.js';
import type { ApplyPass } from './apply_pass.js';
import type { HostContext } from './context.js';
import type { Command, CommandKind, DropReason, ProposalOutcome } from './host.js';
import { ProposalWaiters, type ProposalDone, type ProposedEntry } from './proposal_waiters.js';

/** What came of an entry. */
export interface AppliedEntry {
  /** A membership change; refused: it did not take effect. */
  readonly isChange: boolean;
  readonly refused: boolean;
  /** One per command. */
  readonly results: readonly unknown[];
}

interface QueuedChange {
  readonly change: ConfChange;
  readonly done: ProposalDone;
}

/**
 * One group's proposals: gathered during a turn, proposed as one entry at its end, awaited until their fate is known.
 *
 * Every `done` that came in is called exactly once: as dropped before it reaches the log, with its result or as dropped
 * when its index is applied, or as undetermined after a snapshot, a time without leadership, or the group's end.
 */
export class Proposals {
  private readonly host: HostContext;
  private readonly core: RawNode;
  private readonly waiters = new ProposalWaiters();
  private commands: Command[] = [];
  private dones: ProposalDone[] = [];
  private queuedBytes = 0;
  private changes: QueuedChange[] = [];
  /** Taken and not settled: queued and proposed. */
  private count = 0;
  private bytes = 0;

  constructor(host: HostContext, core: RawNode) {
    this.host = host;
    this.core = core;
  }

  /** Commands and membership changes whose fate is not known yet. */
  get awaited(): number {
    return this.count;
  }

  /** Takes a command for this turn's entry, or refuses it (later) as busy. */
  add(kind: CommandKind, bytes: Buffer, done: ProposalDone): void {
    const { budget, options, log } = this.host;
    const limits = options.limits;
    const size = bytes.length;
    const isFull = this.count >= limits.groupProposals || this.bytes + size > limits.groupProposalBytes;
    if (isFull || !budget.fits(size) || log.nearlyFull) {
      this.refuseLater(done, 'busy');
      return;
    }
    this.count++;
    this.bytes += size;
    budget.take(size);
    this.commands.push({ kind, bytes });
    this.dones.push(done);
    this.queuedBytes += size;
  }

  addChange(change: ConfChange, done: ProposalDone): void {
    if (this.count >= this.host.options.limits.groupProposals || !this.host.budget.fits(0)) {
      this.refuseLater(done, 'busy');
      return;
    }
    this.count++;
    this.host.budget.take(0);
    this.changes.push({ change, done });
  }

  /** A refusal that is known before the proposal is taken. */
  refuseLater(done: ProposalDone, reason: DropReason): void {
    const leaderId = this.core.leaderId;
    this.host.deferred.add(() => done({ status: 'dropped', reason, leaderId }));
  }

  /** Hands what gathered to the core. The turn calls it once per dirty group. */
  flush(): void {
    if (this.commands.length > 0) {
      const { commands, dones } = this;
      const bytes = this.queuedBytes;
      this.commands = [];
      this.dones = [];
      this.queuedBytes = 0;
      if (bytes <= this.host.options.limits.entryBytes) this.propose(commands, dones, bytes);
      else this.proposeInParts(commands, dones);
    }
    if (this.changes.length > 0) {
      const changes = this.changes;
      this.changes = [];
      for (const { change, done } of changes) this.proposeChange(change, done);
    }
  }

  private proposeInParts(commands: readonly Command[], dones: readonly ProposalDone[]): void {
    const entryBytesMax = this.host.options.limits.entryBytes;
    let start = 0;
    let bytes = 0;
    for (let i = 0; i < commands.length; i++) {
      const size = commands[i]?.bytes.length ?? 0;
      if (i > start && bytes + size > entryBytesMax) {
        this.propose(commands.slice(start, i), dones.slice(start, i), bytes);
        start = i;
        bytes = 0;
      }
      bytes += size;
    }
    this.propose(commands.slice(start), dones.slice(start), bytes);
  }

  private propose(commands: readonly Command[], dones: readonly ProposalDone[], bytes: number): void {
    const proposed = this.core.propose(encodeEntryPayload(commands));
    if (!proposed.ok) {
      this.drop(dones, bytes, dropReason(proposed.reason));
      return;
    }
    this.host.counters.proposals += commands.length;
    this.host.counters.entriesProposed++;
    const { index, term } = proposed;
    this.waiters.add({ index, term, commands, dones, bytes, deadlineTick: 0, older: null });
  }

  private proposeChange(change: ConfChange, done: ProposalDone): void {
    const refusal = this.core.role === 'leader' ? this.core.confChangeRefusal(change) : null;
    if (refusal !== null) {
      this.drop([done], 0, refusal === 'notJoint' ? 'rejected' : 'confChangePending');
      return;
    }
    const proposed = this.core.proposeConfChange(change);
    if (!proposed.ok) {
      this.drop([done], 0, dropReason(proposed.reason));
      return;
    }
    this.host.counters.entriesProposed++;
    const { index, term } = proposed;
    this.waiters.add({ index, term, commands: null, dones: [done], bytes: 0, deadlineTick: 0, older: null });
  }

  /** Commands of the entry proposed at this index in this term; null: not proposed here, or a membership change. */
  commandsOf(index: number, term: number): readonly Command[] | null {
    if (this.waiters.size === 0) return null;
    for (let entry = this.waiters.peek(index); entry !== null; entry = entry.older) {
      if (entry.term === term) return entry.commands;
    }
    return null;
  }

  /** Takes out the entries that wait for this index. settle() is owed for each of them. */
  private take(index: number): ProposedEntry | null {
    return this.waiters.size === 0 ? null : this.waiters.take(index);
  }

  /** An entry was applied: notes in the pass what becomes of all that waits for its index. */
  settleEntry({ index, term }: Entry, { isChange, refused, results }: AppliedEntry, pass: ApplyPass): void {
    for (let waiter = this.take(index); waiter !== null; waiter = waiter.older) {
      if (waiter.term !== term || refused) pass.settleDropped(this, waiter, 'rejected');
      // The core put an empty entry in the place of a membership change that came too early.
      else if (waiter.commands === null && !isChange) pass.settleDropped(this, waiter, 'confChangePending');
      else pass.settleApplied(this, waiter, results);
    }
  }

  /** The commands were applied; results are in their order. */
  settleApplied(entry: ProposedEntry, results: readonly unknown[]): void {
    this.release(entry.dones.length, entry.bytes);
    const index = entry.index;
    for (let i = 0; i < entry.dones.length; i++) {
      entry.dones[i]?.({ status: 'applied', index, result: results[i] });
    }
  }

  /** The entry can never commit, or was refused by every replica alike. */
  settleDropped(entry: ProposedEntry, reason: DropReason): void {
    this.drop(entry.dones, entry.bytes, reason);
  }

  /** A snapshot took the place of all entries up to index: what they did is inside it, their results are not known. */
  skippedTo(index: number): void {
    if (this.waiters.size > 0) this.undetermined(this.waiters.takeThrough(index));
  }

  /** Their fates are awaited for a while, except where the disk stalls: nothing is applied here then, and whoever leads now can tell. */
  leadershipLost(): void {
    const { tick, diskStalled, options } = this.host;
    this.waiters.leadershipLost(tick + (diskStalled ? 1 : options.outcomeTimeoutTicks));
  }

  expire(): void {
    const expired = this.waiters.takeExpired(this.host.tick);
    if (expired.length > 0) this.undetermined(expired);
  }

  /** The group ends here. */
  stop(): void {
    const queued = this.dones;
    const bytes = this.queuedBytes;
    const changes = this.changes;
    this.commands = [];
    this.dones = [];
    this.queuedBytes = 0;
    this.changes = [];
    const proposed = this.waiters.takeAll();
    this.drop(queued, bytes, 'stopped');
    for (const { done } of changes) this.drop([done], 0, 'stopped');
    this.undetermined(proposed);
  }

  private undetermined(entries: readonly ProposedEntry[]): void {
    const outcome: ProposalOutcome = { status: 'undetermined', leaderId: this.core.leaderId };
    for (const entry of entries) {
      this.release(entry.dones.length, entry.bytes);
      for (const done of entry.dones) done(outcome);
    }
  }

  private drop(dones: readonly ProposalDone[], bytes: number, reason: DropReason): void {
    if (dones.length === 0) return;
    this.release(dones.length, bytes);
    const outcome: ProposalOutcome = { status: 'dropped', reason, leaderId: this.core.leaderId };
    for (const done of dones) done(outcome);
  }

  private release(count: number, bytes: number): void {
    this.count -= count;
    this.bytes -= bytes;
    this.host.budget.give(count, bytes);
  }
}

function dropReason(refusal: ProposalRefusal): DropReason {
  switch (refusal) {
    case 'notLeader':
    case 'notMember':
      return 'notLeader';
    case 'transferring':
      return 'transferring';
    case 'busy':
      return 'busy';
  }
}
