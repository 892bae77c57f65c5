import { assert } from '../base/assert.js';
import { isMember } from '../raft/conf_state.js';
import { decodeConfChange } from '../raft/conf_change_codec.js';
import type { ConfChange } from '../raft/conf_change.js';
import {
  appendThread,
  applyThread,
  EntryType,
  MsgType,
  type ConfState,
  type Entry,
  type Message,
  type SnapshotMeta,
  emptyBuffer,
} from '../raft/message.js';
import { RawNode } from '../raft/raw_node.js';
import type { Ready, Role } from '../raft/ready.js';
import type { GroupLog } from '../raftlog/raft_log.js';
import type { BeatSleep } from '../wire/beat_codec.js';
import { Activity } from './activity.js';
import { Appends } from './appends.js';
import type { ApplyPass } from './apply_pass.js';
import { isRunning, type HostContext } from './context.js';
import { replicaStart } from './core_config.js';
import { statusOf } from './group_status.js';
import type { Command, CommandKind, Group, GroupSpec, GroupStatus, StateMachine } from './host.js';
import { Hibernation } from './hibernation.js';
import { LearnedHosts } from './learned_hosts.js';
import { Proposals } from './proposals.js';
import type { ProposalDone } from './proposal_waiters.js';
import type { PeerParts } from './peer_parts.js';
import { PeerReads } from './peer_reads.js';
import type { ReadDone } from './read_waiters.js';
import type { StagedForInstall } from './snapshot_installer.js';
import { SnapshotPins } from './snapshot_pins.js';
import { StorageAdapter, type StorageOwner } from './storage_adapter.js';

/**
 * One group's running replica: the core with its mailbox in front and its waiters behind.
 *
 *     transport, callers ─▶ mailbox ─▶ run() in the turn ─▶ core ─▶ Ready ─▶ log writer, outbox, apply loop
 *                                                            ▲                  │          │
 *                                                            └──── release() ◀──┴──────────┘
 */
export class Peer implements Group, StorageOwner {
  readonly groupId: number;
  readonly replicaId: number;
  readonly stateMachine: StateMachine;
  readonly core: RawNode;
  readonly log: GroupLog;
  /** What followers need of the log. */
  readonly pins = new SnapshotPins();
  readonly activity = new Activity();
  readonly hibernation: Hibernation;
  /** Place in the set of those that tick; -1: it hibernates or is stopped. */
  awakeSlot = -1;
  /** The tick of its last use: by a caller, or by a message that is no heartbeat. */
  usedTick: number;
  private readonly parts: PeerParts;
  private readonly host: HostContext;

  /** In the turn's dirty set. */
  dirty = false;
  /** Removed from the host; nothing of it is stepped, written, sent or applied any more. */
  stopped = false;
  /** Its own removal was applied. */
  removed = false;
  /** The last index when the last membership change since the start was applied; 0: none. */
  private changeMark = 0;
  /** In the current apply pass. */
  inPass = false;
  /** In the engine batch under way, which its state machine has not closed. */
  owesPosition = false;
  /** MsgStorageApplys handed out and not evaluated. */
  applyJobs = 0;
  /** Log writes whose sync is awaited. */
  unsyncedWrites = 0;
  appliedIndex: number;
  appliedTerm: number;
  confState: ConfState;

  private inbox: Message[] = [];
  /** Null: none since it was made or slept last. */
  private proposals: Proposals | null = null;
  private reads: PeerReads | null = null;
  /** Null: none. A map for each of ten thousand groups would be heap for nothing. */
  private learnedHosts: LearnedHosts | null = null;
  private readonly appends: Appends;
  private seenRole: Role = 'follower';
  private seenLeaderId = 0;
  private seenTerm = 0;

  constructor(parts: PeerParts, spec: GroupSpec, log: GroupLog, isNew: boolean) {
    this.parts = parts;
    this.host = parts.host;
    this.groupId = spec.groupId;
    this.replicaId = spec.replicaId;
    this.stateMachine = spec.stateMachine;
    this.log = log;
    this.appliedIndex = spec.applied.index;
    this.appliedTerm = spec.applied.term;
    this.confState = spec.confState;
    this.appends = new Appends(this, parts, log.hardState);
    const storage = new StorageAdapter(log, this, spec.applied.index, spec.confState);
    const { settings } = parts;
    this.core = new RawNode({ ...settings, ...replicaStart(this.host, spec, isNew) }, storage, settings);
    this.seenTerm = this.core.term;
    this.usedTick = this.host.tick;
    this.hibernation = new Hibernation(this, parts);
    parts.awake.add(this);
  }

  // What callers ask.

  isLeader(): boolean {
    return this.core.role === 'leader';
  }

  leaderId(): number {
    return this.core.leaderId;
  }

  term(): number {
    return this.core.term;
  }

  propose(kind: CommandKind, bytes: Buffer, done: ProposalDone): void {
    if (!this.isOpen()) {
      this.taken().refuseLater(done, 'stopped');
      return;
    }
    this.taken().add(kind, bytes, done);
    this.use();
  }

  private taken(): Proposals {
    return (this.proposals ??= new Proposals(this.host, this.core));
  }

  proposeConfChange(change: ConfChange, done: ProposalDone): void {
    if (!this.isOpen()) {
      this.taken().refuseLater(done, 'stopped');
      return;
    }
    this.taken().addChange(change, done);
    this.use();
  }

  readIndex(done: ReadDone): void {
    const reason = !this.isOpen() ? 'stopped' : this.reads?.isFull === true ? 'busy' : null;
    if (reason !== null) {
      const failure = { reason, leaderId: this.core.leaderId } as const;
      this.host.deferred.add(() => done(failure));
      return;
    }
    this.reads ??= new PeerReads(this, this.parts);
    this.reads.add(done);
    this.use();
  }

  transferLeader(toReplicaId: number): void {
    if (!this.isOpen()) return;
    this.use();
    this.core.transferLeader(toReplicaId);
  }

  membershipSettled(): boolean {
    if (this.core.commit > this.changeMark) return true;
    if (this.isOpen() && this.core.lastIndex <= this.changeMark) {
      this.core.propose(emptyBuffer);
      this.use();
    }
    return false;
  }

  campaign(): void {
    if (!this.isOpen() || this.host.diskStalled) return;
    this.use();
    this.core.campaign();
  }

  voidLease(): void {
    this.core.voidLease();
  }

  learnCommit(index: number, term: number): void {
    if (!this.isOpen()) return;
    this.use();
    this.core.learnCommit(index, term);
  }

  status(): GroupStatus {
    return statusOf(this);
  }

  // What comes in from the host.

  /** A message from another host, no heartbeat. Past the mailbox's limit it is dropped. */
  deliver(fromHost: number, message: Message): void {
    if (this.stopped) return;
    this.use(message.from !== this.core.leaderId);
    this.take(fromHost, message);
  }

  /** A heartbeat or the answer to one. The turn has it only if there is more to do for the group. */
  deliverBeat(fromHost: number, message: Message, sleep: BeatSleep): void {
    if (this.stopped || !this.hibernation.heard(message, sleep)) return;
    if (this.dirty || this.hibernation.isAsked) {
      this.take(fromHost, message);
      return;
    }
    this.learnHost(message.from, fromHost);
    this.core.step(message);
    this.sendOrMarkDirty();
  }

  /** Outside of the turn: sends what the core has to say if that is all there is to do, else the turn sees to it. */
  private sendOrMarkDirty(): void {
    const messages = this.core.takeMessages();
    if (messages === null) this.markDirty();
    else if (messages.length > 0) {
      for (const message of messages) this.dispatch(message);
      this.parts.turn.wake();
    }
  }

  /** True when that message is from whom this replica follows. */
  follows({ from, term }: Message): boolean {
    return !this.stopped && !this.isLeader() && from === this.core.leaderId && term === this.core.term;
  }

  private take(fromHost: number, message: Message): void {
    if (this.inbox.length >= this.host.options.limits.inboxMessages) {
      this.host.counters.messagesDropped++;
      return;
    }
    this.learnHost(message.from, fromHost);
    this.inbox.push(message);
    this.markDirty();
  }

  /** True while a snapshot is staged for this group or being installed: it takes no other. */
  get hasSnapshot(): boolean {
    return this.appends.hasSnapshot;
  }

  get isInstalling(): boolean {
    return this.appends.isInstalling;
  }

  /** False: it has no state and no membership yet, and waits for its first snapshot. */
  get isInitialized(): boolean {
    return this.appliedIndex > 0;
  }

  /** True for members of the configuration applied here. */
  knows(replicaId: number): boolean {
    return isMember(this.confState, replicaId);
  }

  /** A snapshot that is completely staged; the core decides in the turn whether it wants it. */
  deliverSnapshot(fromHost: number, staged: StagedForInstall): void {
    this.appends.stage(staged);
    this.use();
    this.learnHost(staged.head.message.from, fromHost);
  }

  tick(): void {
    if (this.core.tick() && !this.dirty) this.sendOrMarkDirty();
    if (this.core.role === 'leader') this.hibernation.tickLeader();
    // Otherwise a replica that was removed while nobody could tell it would believe in its leader for ever.
    if (this.core.isDeaf()) this.forgetLeader();
    this.proposals?.expire();
    this.reads?.tick();
  }

  /** It is in use: time until it hibernates starts anew. */
  private use(tellLeader = true): void {
    this.usedTick = this.host.tick;
    this.hibernation.interrupt(tellLeader);
    this.markDirty();
  }

  /** Nothing is under way here, for which it would have to tick. Members that are away are not waited for. */
  isIdle(isAway: (replicaId: number) => boolean): boolean {
    if (this.stopped || this.removed || !this.isInitialized || this.inbox.length > 0) return false;
    if (this.applyJobs > 0 || this.unsyncedWrites > 0 || this.hasSnapshot || this.host.diskStalled) return false;
    if ((this.proposals?.awaited ?? 0) > 0 || this.reads?.isEmpty === false) return false;
    return this.appliedIndex === this.core.commit && this.core.isSettled(isAway);
  }

  /** It is idle and falls asleep: what only a group in use needs is given back. */
  trim(): void {
    this.reads = null;
    this.proposals = null;
    this.stateMachine.trim?.();
  }

  /** The leader's host is gone: stop believing in it, so that a candidate can have this vote at once. */
  forgetLeader(): void {
    this.core.forgetLeader();
    this.markDirty();
  }

  unreachable(replicaId: number): void {
    this.core.reportUnreachable(replicaId);
    this.markDirty();
  }

  snapshotReported(replicaId: number, ok: boolean): void {
    if (this.stopped) return;
    this.core.reportSnapshot(replicaId, ok);
    this.markDirty();
  }

  entriesLoaded(): void {
    if (!this.isOpen()) return;
    this.core.entriesLoaded();
    this.markDirty();
  }

  snapshotMeta(): SnapshotMeta | null {
    if (this.appliedIndex === 0 || !this.parts.sender.hasRoom) return null;
    return { index: this.appliedIndex, term: this.appliedTerm, confState: this.confState };
  }

  damaged(): void {
    if (!this.stopped) this.host.quarantine(this.groupId);
  }

  fail(error: unknown): void {
    if (!this.stopped) this.host.fail(error);
  }

  hostOf(replicaId: number): number {
    const known = this.stateMachine.hostOf(replicaId);
    return known !== 0 ? known : (this.learnedHosts?.of(replicaId) ?? 0);
  }

  // The turn.

  /** Steps what came in, proposes what gathered, and hands out what the core wants done. */
  run(): void {
    this.dirty = false;
    if (this.stopped) return;
    const offered = this.appends.offerStaged();
    if (this.inbox.length > 0) {
      const arrived = this.inbox;
      this.inbox = [];
      for (const message of arrived) this.core.step(message);
    }
    this.noticeLeadership();
    this.proposals?.flush();
    this.reads?.startRound();
    this.hibernation.obey();
    if (this.core.hasReady()) this.handle(this.core.ready());
    this.appends.settleOffer(offered);
    this.noticeLeadership();
    if (this.core.hasReady() || this.reads?.canStart === true) this.markDirty();
  }

  private handle(ready: Ready): void {
    for (const state of ready.readStates) this.reads?.settle(state);
    for (const message of ready.messages) this.dispatch(message);
  }

  private dispatch(message: Message): void {
    if (message.to === appendThread) this.appends.append(message);
    else if (message.to === applyThread) this.parts.apply.add(this, message);
    else if (message.type === MsgType.MsgSnap) this.parts.sender.request(this, message);
    else this.parts.outbox.send(this, message);
  }

  /** A response whose disk work is done: the core's own are stepped, the others leave now. */
  release(message: Message): void {
    if (this.stopped) return;
    if (message.to === this.replicaId) {
      this.core.step(message);
      this.markDirty();
    } else {
      this.parts.outbox.send(this, message);
    }
  }

  /** The state machine holds a snapshot in place of all that was applied. */
  restored(meta: SnapshotMeta): void {
    this.appliedIndex = meta.index;
    this.appliedTerm = meta.term;
    this.confState = meta.confState;
  }

  /** The log goes on behind a snapshot: what waited for entries inside of it will not see them. */
  skippedTo(index: number): void {
    this.proposals?.skippedTo(index);
    this.reads?.appliedTo(index);
    this.markDirty();
  }

  // Applying, called by the apply loop.

  /** Commands of an entry that this peer proposed itself, if they are still at hand. */
  proposedCommands(index: number, term: number): readonly Command[] | null {
    return this.proposals?.commandsOf(index, term) ?? null;
  }

  /** Evaluates one committed entry and notes what becomes of those who wait for it. */
  applyEntry(entry: Entry, commands: readonly Command[], pass: ApplyPass): void {
    const next = this.appliedIndex + 1;
    assert(
      entry.index === next,
      () => `group ${String(this.groupId)} applies ${String(entry.index)} for ${String(next)}`,
    );
    this.appliedIndex = entry.index;
    this.appliedTerm = entry.term;
    const isChange = entry.type !== EntryType.EntryNormal;
    let refused = false;
    let results: readonly unknown[];
    if (isChange) {
      const outcome = this.applyChange(entry, pass);
      refused = outcome.refused;
      results = [outcome.result];
    } else {
      results = this.stateMachine.apply(entry.index, entry.term, commands, pass);
    }
    this.proposals?.settleEntry(entry, { isChange, refused, results }, pass);
  }

  /** The batch of entries up to appliedIndex is with the engine. */
  appliedAdvanced(): void {
    if (this.stopped) return;
    this.reads?.appliedTo(this.appliedIndex);
    this.markDirty();
  }

  private applyChange(entry: Entry, pass: ApplyPass): { refused: boolean; result: unknown } {
    const change = decodeConfChange(entry.data);
    assert(change !== null, 'a committed membership change can be decoded');
    const { index, term } = entry;
    // A leader leaves a joint configuration on its own; that is nobody's to refuse.
    const automatic = change.changes.length === 0 && change.context.length === 0;
    if (!automatic && !this.stateMachine.acceptConfChange(change)) {
      return { refused: true, result: this.stateMachine.applyConfChange(index, term, null, this.confState, pass) };
    }
    this.confState = this.core.applyConfChange(change);
    // Entries sent earlier may commit without telling anybody that the change did.
    this.changeMark = this.core.lastIndex;
    this.core.voidLease();
    const result = this.stateMachine.applyConfChange(index, term, change, this.confState, pass);
    this.removed = !isMember(this.confState, this.replicaId);
    this.markDirty();
    return { refused: false, result };
  }

  // Leadership, reads, the end.

  /** Compares what the core says with what was told last, and tells the waiters and the state machine. */
  private noticeLeadership(): void {
    const { role, leaderId, term } = this.core;
    if (role === this.seenRole && leaderId === this.seenLeaderId && term === this.seenTerm) return;
    const led = this.seenRole === 'leader';
    const leads = role === 'leader';
    const sameReign = term === this.seenTerm && leaderId === this.seenLeaderId;
    if (isCandidate(role) && !isCandidate(this.seenRole)) this.host.counters.electionsStarted++;
    const report = leads !== led || leaderId !== this.seenLeaderId || (leads && term !== this.seenTerm);
    this.seenRole = role;
    this.seenLeaderId = leaderId;
    this.seenTerm = term;
    if (leaderId !== 0) this.core.setElectionPriority(0);
    if (led && !(leads && sameReign)) this.proposals?.leadershipLost();
    if (!sameReign) this.reads?.reignEnded();
    if (report) this.stateMachine.leaderChanged(leaderId, term, leads);
  }

  /** Ends the peer: settles all that waits. Idempotent. Resolves once a running install has ended. */
  async stop(): Promise<void> {
    if (!this.stopped) {
      this.stopped = true;
      this.parts.awake.remove(this);
      this.inbox = [];
      this.proposals?.stop();
      this.reads?.stop();
    }
    await this.appends.stop();
  }

  private isOpen(): boolean {
    return !this.stopped && isRunning(this.host);
  }

  private markDirty(): void {
    if (!this.stopped) this.parts.turn.markDirty(this);
  }

  /** Needed while the state machine does not know who its peers are, and right after it was told late. */
  private learnHost(replicaId: number, hostId: number): void {
    if (this.stateMachine.hostOf(replicaId) === hostId) return;
    this.learnedHosts ??= new LearnedHosts();
    this.learnedHosts.learn(replicaId, hostId);
  }
}

function isCandidate(role: Role): boolean {
  return role === 'candidate' || role === 'preCandidate';
}
