import { assert } from '../base/assert.js';
import { checkConfig, checkElectionPriority } from './config.js';
import type { RaftConfig, RaftSettings } from './config.js';
import type { ConfChange } from './conf_change.js';
import { encodeConfChange } from './conf_change_codec.js';
import { Core } from './core.js';
import { maybeCampaign, promiseLeft } from './election.js';
import { broadcastHeartbeat, fillWindows } from './replication.js';
import { isJoint } from './conf_state.js';
import { applyConfChange } from './membership.js';
import { appendThread, applyThread, EntryType, MsgType, newMessage, none } from './message.js';
import type { ConfState, Entry, HardState, Message, SnapshotMeta } from './message.js';
import { confChangeRefusal, proposeAsLeader, proposeDataAsLeader } from './proposals.js';
import { readIndex, readsDue, startReadRound } from './reads.js';
import type {
  ConfChangeRefusal,
  ProposalRefusal,
  ProposeResult,
  RaftStatus,
  ReadState,
  Ready,
  Role,
  SoftState,
  StepResult,
} from './ready.js';
import { statusOf } from './status.js';
import type { RaftStorage } from './storage.js';
import { receive, step } from './step.js';
import { tick } from './tick.js';
import type { Progress } from './tracker/progress.js';

const noReadStates: readonly ReadState[] = Object.freeze([]);
const noMessages: readonly Message[] = Object.freeze([]);

/**
 * One peer of a Raft group: the core with its surface. Not reentrant. Everything is deterministic: the same storage,
 * config and calls give the same Readys.
 */
export class RawNode {
  private readonly core: Core;
  private readonly asyncStorage: boolean;
  /** What the last Ready said. */
  private readyLeaderId: number;
  private readyRole: Role;
  private readyTerm: number;
  private readyVote: number;
  private readyCommit: number;
  /** Without async storage writes: what advance() will step. Null: no Ready is out. */
  private onAdvance: readonly Message[] | null = null;

  /** `settings`: those of `config` as an object that many replicas share; default: `config` itself is kept. */
  constructor(config: RaftConfig, storage: RaftStorage, settings: RaftSettings = config) {
    checkConfig(config);
    const core = new Core(settings, config, storage);
    this.core = core;
    this.asyncStorage = config.asyncStorageWrites;
    this.readyLeaderId = core.leaderId;
    this.readyRole = core.role;
    this.readyTerm = core.term;
    this.readyVote = core.vote;
    this.readyCommit = core.log.commit;
  }

  get id(): number {
    return this.core.id;
  }

  get role(): Role {
    return this.core.role;
  }

  get term(): number {
    return this.core.term;
  }

  /** 0: none known. */
  get leaderId(): number {
    return this.core.leaderId;
  }

  get commit(): number {
    return this.core.log.commit;
  }

  get applied(): number {
    return this.core.log.applied;
  }

  /** Of the last entry, durable or not. */
  get lastIndex(): number {
    return this.core.log.lastIndex();
  }

  /** The configuration of the last applied change. */
  get confState(): ConfState {
    return this.core.conf;
  }

  /** Term of an entry or of the one before the first; null if it is not known here. */
  termAt(index: number): number | null {
    return this.core.log.term(index);
  }

  /** True: a candidate with this last entry may have this replica's vote, as far as their logs go (Raft §5.4.1). */
  isUpToDate(index: number, term: number): boolean {
    return this.core.log.isUpToDate(index, term);
  }

  /** Someone who knows says that the entry of this index and term is committed (INV-3: then so is all before it). */
  learnCommit(index: number, term: number): void {
    this.core.log.maybeCommit(index, term);
  }

  /** True: a timer fired, and there may be a Ready because of it. */
  tick(): boolean {
    return tick(this.core);
  }

  /** Campaigns as if the election timer had fired; does nothing where it would not. */
  campaign(): void {
    this.core.electionElapsed = 0;
    maybeCampaign(this.core, false);
  }

  /**
   * A replica that cannot campaign (a learner, or one without a configuration yet) has a leader that was silent for
   * twice the time after which others would campaign. Nothing in the core makes it give that leader up.
   */
  isDeaf(): boolean {
    const { core } = this;
    if (core.leaderId === none || core.electionElapsed < 2 * core.config.electionTick) return false;
    return core.leadership === null && !core.isPromotable();
  }

  /**
   * Nothing is under way that a tick could help: everything is applied here, and as far as a leader knows stored by all members
   * that are not away. A host may stop to tick such a replica.
   */
  isSettled(isAway: (replicaId: number) => boolean): boolean {
    const { log, conf, role, leadership } = this.core;
    const last = log.lastIndex();
    if (log.commit !== last || log.applied !== last || log.stableIndex !== last || isJoint(conf)) return false;
    if (this.core.deferred.length > 0 || this.core.readStates.length > 0) return false;
    if (leadership === null) return role === 'follower' && this.core.forwardedReads === null;
    const { peers, reads, transferee, ownTermCommitted } = leadership;
    if (!ownTermCommitted || transferee !== none || reads.hasWaiting) return false;
    const isLevel = (peer: Progress): boolean => peer.match === last && peer.recentActive && peer.state === 'replicate';
    return peers.all.every((peer) => peer.id === this.core.id || isAway(peer.id) || isLevel(peer));
  }

  /** Ticks go on after a time without. Time starts anew; a leader lets everyone know of it, a follower its leader if it is to. */
  wake(tellLeader: boolean): void {
    const { core } = this;
    core.electionElapsed = 0;
    // The one from before was drawn when the priority was another, and by all for the same reason.
    if (core.role === 'follower') core.drawElectionTimeout();
    if (core.leadership !== null) {
      core.heartbeatElapsed = 0;
      broadcastHeartbeat(core, core.leadership);
    } else if (tellLeader && core.role === 'follower' && core.leaderId !== none) {
      core.send(core.message(MsgType.MsgHeartbeatResp, core.leaderId));
    }
  }

  forgetLeader(): void {
    step(this.core, newMessage(MsgType.MsgForgetLeader, this.core.id, this.core.id));
  }

  /** Asks the leader (this replica, or the one it follows) to hand leadership to `to`. */
  transferLeader(to: number): void {
    step(this.core, newMessage(MsgType.MsgTransferLeader, to, this.core.id));
  }

  /** Proposes an entry; data must not change any more. */
  propose(data: Buffer): ProposeResult {
    const { core } = this;
    if (core.leadership === null) return this.forward(EntryType.EntryNormal, data);
    return this.proposed(proposeDataAsLeader(core, core.leadership, data));
  }

  /** A leader puts an empty entry in its place when confChangeRefusal() is not null. */
  proposeConfChange(change: ConfChange, form: 'v1' | 'v2' = 'v2'): ProposeResult {
    const type = form === 'v1' ? EntryType.EntryConfChange : EntryType.EntryConfChangeV2;
    const data = encodeConfChange(change);
    const { core } = this;
    if (core.leadership === null) return this.forward(type, data);
    return this.proposed(proposeAsLeader(core, core.leadership, [{ type, data }]));
  }

  /** Why this leader would not take a membership change now; null if it would, or if it does not lead. */
  confChangeRefusal(change: ConfChange): ConfChangeRefusal | null {
    const { leadership } = this.core;
    return leadership === null ? null : confChangeRefusal(this.core, leadership, change);
  }

  private proposed(refusal: ProposalRefusal | null): ProposeResult {
    const { log, term } = this.core;
    return refusal === null ? { ok: true, index: log.lastIndex(), term } : { ok: false, reason: refusal };
  }

  /** Passes a proposal on to the leader, if there is one and this is allowed. */
  private forward(type: EntryType, data: Buffer): ProposeResult {
    const { core } = this;
    const m = newMessage(MsgType.MsgProp, core.id, core.id);
    // The leader gives it a place in the log.
    m.entries = [{ term: 0, index: 0, type, data }];
    return step(core, m).ok ? { ok: true, index: 0, term: 0 } : { ok: false, reason: 'notLeader' };
  }

  /** A message from another replica, or a response of a storage thread, or one that this replica sent to itself. */
  step(m: Message): StepResult {
    return receive(this.core, m);
  }

  /**
   * Asks for a linearizable read point, answered once in Ready.readStates. context: above 0, a new one for each call. True:
   * answered under a lease.
   */
  readIndex(context: number): boolean {
    return readIndex(this.core, context);
  }

  /** This leader's reads wait for answers to its heartbeats. */
  get readsWait(): boolean {
    return this.core.leadership?.reads.hasWaiting === true;
  }

  /** How long this replica still owes it to the leader heard last not to vote, in lease time; 0: nothing is owed. */
  get promiseLeft(): number {
    return this.core.config.readOnlyOption === 'leaseBased' ? Math.max(0, promiseLeft(this.core)) : 0;
  }

  /** A committed membership change is applied; the configuration from now on. */
  applyConfChange(change: ConfChange): ConfState {
    return applyConfChange(this.core, change);
  }

  reportUnreachable(id: number): void {
    step(this.core, newMessage(MsgType.MsgUnreachable, id, this.core.id));
  }

  /** A snapshot's transfer ended. */
  reportSnapshot(id: number, ok: boolean): void {
    const m = newMessage(MsgType.MsgSnapStatus, id, this.core.id);
    m.reject = !ok;
    step(this.core, m);
  }

  /** Entries that storage called `pending` are in memory now. */
  entriesLoaded(): void {
    const { core } = this;
    core.log.entriesLoaded();
    if (core.leadership === null) return;
    for (const peer of core.leadership.peers.all) peer.loading = false;
    fillWindows(core, core.leadership);
  }

  /** Gives up the read lease, e.g. after a stall of the event loop; the next round starts a new one. */
  voidLease(): void {
    this.core.leadership?.reads.voidLease();
  }

  /** See RaftConfig.electionPriority; counts from the next role change on. */
  setElectionPriority(priority: number): void {
    checkElectionPriority(priority);
    this.core.electionPriority = priority;
  }

  /** Its host has it campaign in `ticks`: its own timer starts anew, for that much longer. */
  postponeElection(ticks: number): void {
    const { core } = this;
    core.electionElapsed = 0;
    core.drawElectionTimeout();
    core.electionTimeout += ticks;
  }

  /** The election timeout in ticks until the next role change: for a host that must not campaign for now, and for tests. */
  overrideElectionTimeout(ticks: number): void {
    this.core.electionTimeout = ticks;
  }

  status(): RaftStatus {
    return statusOf(this.core);
  }

  hasReady(): boolean {
    return this.core.outbox.length > 0 || this.hasWork();
  }

  /**
   * The messages of a Ready that would hold nothing else, none if there is no Ready; null: there is more to do than to send. Heartbeats and
   * the answers to them are nearly always alone, and what a whole Ready costs is most of what they cost.
   */
  takeMessages(): readonly Message[] | null {
    if (this.hasWork()) return null;
    const { core } = this;
    if (core.outbox.length === 0) return noMessages;
    const messages = core.outbox;
    core.outbox = [];
    return messages;
  }

  /** There is a Ready with more in it than messages that may leave at once. */
  private hasWork(): boolean {
    const { core } = this;
    const { log, leadership } = core;
    return (
      core.deferred.length > 0 ||
      core.readStates.length > 0 ||
      log.unstable.hasNextEntries() ||
      log.unstable.nextSnapshot() !== null ||
      log.hasNextCommitted(!this.asyncStorage) ||
      this.softStateChanged() ||
      this.hardStateChanged() ||
      (leadership !== null && (leadership.appendsDue || readsDue(leadership)))
    );
  }

  /** Hands out what there is to do; it will not be handed out again. */
  ready(): Ready {
    assert(this.onAdvance === null, 'raft: advance() comes before the next ready()');
    const { core } = this;
    this.makeDueMessages();
    const { log } = core;
    const softState = this.takeSoftState();
    const mustSync = log.unstable.hasNextEntries() || core.term !== this.readyTerm || core.vote !== this.readyVote;
    const hardState = this.takeHardState();
    const entries = log.unstable.nextEntries();
    const snapshot = log.unstable.nextSnapshot();
    const committedEntries = log.nextCommitted(!this.asyncStorage);
    const readStates = core.readStates.length === 0 ? noReadStates : core.readStates;
    if (readStates.length > 0) core.readStates = [];
    const messages = core.outbox;
    core.outbox = [];
    const deferred = core.deferred;
    core.deferred = [];
    log.unstable.acceptInProgress();
    log.acceptApplying(committedEntries, !this.asyncStorage);
    this.countCommitted(committedEntries);
    if (this.asyncStorage) {
      this.addStorageMessages(messages, hardState, entries, snapshot, deferred, committedEntries);
    } else {
      this.addDeferred(messages, snapshot, deferred, committedEntries);
    }
    return { softState, hardState, entries, snapshot, committedEntries, readStates, messages, mustSync };
  }

  /** Without async storage writes: everything that the last Ready asked for was done. */
  advance(): void {
    const steps = this.onAdvance;
    assert(steps !== null, 'raft: advance() follows a ready()');
    this.onAdvance = null;
    for (const m of steps) step(this.core, m);
  }

  private makeDueMessages(): void {
    const { core } = this;
    const { leadership } = core;
    if (leadership === null) return;
    if (leadership.appendsDue) {
      leadership.appendsDue = false;
      fillWindows(core, leadership);
    }
    if (readsDue(leadership)) startReadRound(core, leadership);
  }

  private softStateChanged(): boolean {
    return this.core.leaderId !== this.readyLeaderId || this.core.role !== this.readyRole;
  }

  private takeSoftState(): SoftState | null {
    if (!this.softStateChanged()) return null;
    const { leaderId, role } = this.core;
    this.readyLeaderId = leaderId;
    this.readyRole = role;
    return { leaderId, role };
  }

  private hardStateChanged(): boolean {
    const { core } = this;
    return core.term !== this.readyTerm || core.vote !== this.readyVote || core.log.commit !== this.readyCommit;
  }

  private takeHardState(): HardState | null {
    if (!this.hardStateChanged()) return null;
    const { term, vote, log } = this.core;
    this.readyTerm = term;
    this.readyVote = vote;
    this.readyCommit = log.commit;
    return { term, vote, commit: log.commit };
  }

  /** Committed entries count no longer against the limit on a leader's uncommitted bytes. */
  private countCommitted(entries: readonly Entry[]): void {
    const { leadership } = this.core;
    if (leadership === null) return;
    for (const entry of entries) {
      if (entry.index >= leadership.firstOwnIndex) leadership.uncommittedBytes -= entry.data.length;
    }
  }

  private addStorageMessages(
    messages: Message[],
    hardState: HardState | null,
    entries: readonly Entry[],
    snapshot: SnapshotMeta | null,
    deferred: Message[],
    committed: readonly Entry[],
  ): void {
    if (entries.length > 0 || hardState !== null || snapshot !== null || deferred.length > 0) {
      const m = newMessage(MsgType.MsgStorageAppend, this.core.id, appendThread);
      m.entries = entries;
      m.snapshot = snapshot;
      if (hardState !== null) {
        m.term = hardState.term;
        m.vote = hardState.vote;
        m.commit = hardState.commit;
      }
      const stored = this.storedMessage(snapshot);
      if (stored !== null) deferred.push(stored);
      m.responses = deferred;
      messages.push(m);
    }
    if (committed.length > 0) {
      const m = newMessage(MsgType.MsgStorageApply, this.core.id, applyThread);
      m.entries = committed;
      m.responses = [this.appliedMessage(committed)];
      messages.push(m);
    }
  }

  private addDeferred(
    messages: Message[],
    snapshot: SnapshotMeta | null,
    deferred: readonly Message[],
    committed: readonly Entry[],
  ): void {
    const steps: Message[] = [];
    for (const m of deferred) (m.to === this.core.id ? steps : messages).push(m);
    const stored = this.storedMessage(snapshot);
    if (stored !== null) steps.push(stored);
    if (committed.length > 0) steps.push(this.appliedMessage(committed));
    this.onAdvance = steps;
  }

  /** Confirms, once the write of this Ready is durable, everything that is unconfirmed as of now. */
  private storedMessage(snapshot: SnapshotMeta | null): Message | null {
    const { log, term, id } = this.core;
    if (log.unstable.isEmpty && snapshot === null) return null;
    const m = newMessage(MsgType.MsgStorageAppendResp, appendThread, id);
    m.term = term;
    m.snapshot = snapshot;
    if (!log.unstable.isEmpty) {
      m.index = log.lastIndex();
      m.logTerm = log.lastTerm();
    }
    return m;
  }

  private appliedMessage(entries: readonly Entry[]): Message {
    const m = newMessage(MsgType.MsgStorageApplyResp, applyThread, this.core.id);
    m.entries = entries;
    return m;
  }
}
