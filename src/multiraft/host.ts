import type { Engine, EngineBatch } from '../engine/engine.js';
import type { ConfChange } from '../raft/conf_change.js';
import type { ConfState, Message, SnapshotMeta } from '../raft/message.js';
import type { GoneNotice, SnapshotHeadInfo } from '../transport/transport.js';

/** Field number of a command in EntryPayload: 1 a client's write, 2 an administrative command. */
export type CommandKind = 1 | 2;

/** One command of a committed entry, in order. bytes is a view into the entry. */
export interface Command {
  readonly kind: CommandKind;
  readonly bytes: Buffer;
}

/** Hosts many Raft groups on one event loop (DESIGN section 4). */
export interface MultiRaft {
  readonly hostId: number;
  readonly engine: Engine;
  /**
   * Makes (or restarts) a group's running peer. The log must already hold the group unless `bootstrap` is given.
   * With `bootstrap`, three things may be there already and stay: entries of the group in the log (a crash came after
   * them: nothing is reset), the term and vote of a log that has no entries, and a running uninitialized peer
   * (a split made it meanwhile: it is replaced, its term and vote kept).
   * The log of a group without `bootstrap` that it does not hold is made empty (an uninitialized peer).
   */
  addGroup(spec: GroupSpec): Promise<Group>;
  group(groupId: number): Group | undefined;
  groups(): IterableIterator<Group>;
  readonly groupCount: number;
  /**
   * Stops the peer and drops its log; of a group without a peer (it lost data, so it has none), drops the log. The caller
   * has already written its tombstone to the engine.
   */
  removeGroup(groupId: number): Promise<void>;
  /** Stops the peer and leaves its log as it is: the caller adds the group again, from another position. */
  stopGroup(groupId: number): Promise<void>;
  /** Passes a request to another host, at most once; rejects with a reason when the connection is lost. */
  forward(hostId: number, payload: Buffer, timeoutMs: number): Promise<Buffer>;
  /** Asks the state machines again whose next entry had to wait (StateMachine.readiness). */
  retryHeld(): void;
  /** Tells another host that a replica of it is no longer a member. */
  sendGone(hostId: number, gone: GoneNotice): void;
  /**
   * While true, entries of leaders on other hosts are not taken: this disk has no room for them. Votes, heartbeats and what
   * is led here go on; leaders repeat what was not taken.
   */
  refuseEntries(refuse: boolean): void;
  stats(): MultiRaftStats;
  /** Begins to talk to other hosts and to tick. Groups that are on disk are added before. */
  start(): Promise<void>;
  /** Stops everything in order: groups, transport, log. Settles waiting proposals as undetermined. */
  close(): Promise<void>;
}

export interface GroupSpec {
  readonly groupId: number;
  readonly replicaId: number;
  readonly stateMachine: StateMachine;
  /** What the engine holds: state machine position and the membership at it. */
  readonly applied: { readonly index: number; readonly term: number };
  readonly confState: ConfState;
  /** A new group: its log begins after this index and term, as on every other first member. */
  readonly bootstrap?: { readonly index: number; readonly term: number };
  /** Campaign at once, as the first leader that placement chose. */
  readonly campaign?: boolean;
}

/** A group's running peer on this host. */
export interface Group {
  readonly groupId: number;
  readonly replicaId: number;
  readonly stateMachine: StateMachine;
  isLeader(): boolean;
  /** Replica id of the leader, 0 if none is known. */
  leaderId(): number;
  term(): number;
  /**
   * Proposes a command. All commands of one turn share one entry. `done` is called exactly once, never
   * from within this call. bytes must stay as they are.
   */
  propose(kind: CommandKind, bytes: Buffer, done: (outcome: ProposalOutcome) => void): void;
  proposeConfChange(change: ConfChange, done: (outcome: ProposalOutcome) => void): void;
  /**
   * A linearizable read point. `done(null)`: every engine read issued from within the callback on sees all writes
   * acknowledged before readIndex was called. All reads of a turn share one round. Works on followers too (asks the leader).
   */
  readIndex(done: (failure: ReadFailure | null) => void): void;
  transferLeader(toReplicaId: number): void;
  /**
   * On the leader: whether an entry appended after the last membership change was applied is committed. A majority of the new configuration then has
   * the change's commitment on disk, beside that entry, so that no crash can make them need the votes of those who left.
   * False also proposes such an entry, if none is on its way.
   */
  membershipSettled(): boolean;
  campaign(): void;
  /** What the group serves has changed: no lease from before counts any more. */
  voidLease(): void;
  /** The entry of this index and term is committed, as another group's log tells. Nothing happens while it is not in the log here. */
  learnCommit(index: number, term: number): void;
  status(): GroupStatus;
}

export type ProposalOutcome =
  | { readonly status: 'applied'; readonly index: number; readonly result: unknown }
  /** Certainly not proposed, or certainly not committed. */
  | { readonly status: 'dropped'; readonly reason: DropReason; readonly leaderId: number }
  /** Was proposed; whether it commits is not known any more (leadership lost, group stopped). */
  | { readonly status: 'undetermined'; readonly leaderId: number };

export type DropReason = 'notLeader' | 'busy' | 'transferring' | 'confChangePending' | 'rejected' | 'stopped';
export type ReadFailure = { readonly reason: 'notLeader' | 'busy' | 'stopped' | 'timeout'; readonly leaderId: number };

export interface GroupStatus {
  readonly groupId: number;
  readonly replicaId: number;
  readonly role: 'follower' | 'preCandidate' | 'candidate' | 'leader';
  readonly term: number;
  readonly leaderId: number;
  /** It does not tick: the group is idle. */
  readonly hibernates: boolean;
  readonly commit: number;
  readonly applied: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly confState: ConfState;
  /** Leader only. */
  readonly progress: readonly GroupProgress[];
}

export interface GroupProgress {
  readonly replicaId: number;
  readonly match: number;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  readonly recentActive: boolean;
  readonly learner: boolean;
}

/**
 * When the next entry of a group may be applied: with others in one batch; in a batch of its own; not before
 * MultiRaft.retryHeld(), and meanwhile nothing of the group is; or never, so that the replica can only be replaced.
 */
export type Readiness = 'any' | 'alone' | 'later' | 'never';

/**
 * What a group's log is applied to. Deterministic: same entries, same results, on every replica. All
 * calls for one group come one after the other, in log order.
 */
export interface StateMachine {
  /**
   * Asked of entries with administrative commands; what it says counts when everything before the entry is applied. Entries of
   * other groups may hold it up. Absent: 'any'.
   */
  readiness?(commands: readonly Command[]): Readiness;
  /** Engine keys whose values apply() will want of these commands (compare-and-swap); null: none. */
  keysToRead(commands: readonly Command[]): readonly Buffer[] | null;
  /**
   * Applies one entry's commands: adds engine operations (data, sessions, and the replica record with
   * index and term as the new applied position) to ctx.batch and returns one result per command.
   * Called with no commands for empty entries, which still move the applied position.
   */
  apply(index: number, term: number, commands: readonly Command[], ctx: ApplyContext): readonly unknown[];
  /** False refuses a committed membership change (wrong epoch): it is then skipped on every replica alike. */
  acceptConfChange(change: ConfChange): boolean;
  /** The change took effect in the group. confState is the configuration from now on; record it with the applied position. */
  applyConfChange(
    index: number,
    term: number,
    change: ConfChange | null,
    confState: ConfState,
    ctx: ApplyContext,
  ): unknown;
  /**
   * Called once per batch after the last entry of this group in it, whenever the host closes the batch; for records that need one
   * write per batch (sessions, the applied position) instead of one per entry.
   */
  finishBatch(ctx: ApplyContext): void;
  /** Host id of a replica; 0 if not known. */
  hostOf(replicaId: number): number;
  /** The group hibernates: gives back what is quickly made again. Ten thousand groups do this. */
  trim?(): void;
  /** Version of the snapshots that installSnapshot() reads; the host takes no others. */
  readonly snapshotFormatVersion: number;
  /** A consistent copy as of everything applied; memory bounded whatever its size. */
  openSnapshot(): Promise<StateSnapshot>;
  /**
   * Replaces everything by a snapshot that is completely staged on disk. A crash at any point leaves the old state, the new
   * one, or a record that makes the store install the same staged file again when it starts. Resolves when it is synced.
   */
  installSnapshot(meta: SnapshotMeta, descriptor: Buffer, staged: StagedSnapshot): Promise<void>;
  /** Leadership changed; leaderId 0: none. For reports. */
  leaderChanged(leaderId: number, term: number, isLeader: boolean): void;
}

export interface ApplyContext {
  readonly batch: EngineBatch;
  /**
   * Value of an engine key that keysToRead asked for, as of everything put into `batch` so far, this entry's writes too. null: none.
   */
  read(key: Buffer): Buffer | null;
  /** Runs `effect` after the batch was handed to the engine, in order (make the peer of a split, remove this peer). */
  after(effect: () => void): void;
}

export interface StateSnapshot {
  readonly meta: SnapshotMeta;
  readonly descriptor: Buffer;
  readonly formatVersion: number;
  next(): Promise<Buffer | null>;
  close(): Promise<void>;
}

/**
 * A staged file. openStagedSnapshot(disk, path) of staging.ts opens one again, for a store that crashed while it was
 * being installed. The host unlinks the file once installSnapshot() has resolved; at start the store clears the directory.
 */
export interface StagedSnapshot {
  readonly path: string;
  readonly chunks: number;
  readonly bytes: number;
  read(): AsyncIterable<Buffer>;
}

/** What the host asks of the server around it. */
export interface HostCallbacks {
  /**
   * A MsgApp, MsgHeartbeat or MsgSnap for a group that is not here. Return a spec to make an (uninitialized) peer for
   * it, or null to drop it. Also called when message.to is a newer replica than the one that is here: that one was
   * removed from the group while this host was away; the store removes it and returns null, and the message comes again.
   */
  unknownGroup(fromHost: number, groupId: number, message: Message): GroupSpec | null;
  /**
   * A snapshot is offered (its head has come), and asked once more right before the staged snapshot is given to the
   * group. False refuses it: its range overlaps another replica here, so it must come again later. Absent: accepted.
   */
  acceptSnapshot?(groupId: number, head: SnapshotHeadInfo): boolean;
  /**
   * A message asks for a vote on behalf of a replica that is not in the group's configuration here (or the group is not
   * here). The epoch goes back to its
   * host in a gone notice; null: nothing does.
   */
  stranger?(groupId: number, message: Message): { readonly confVer: number; readonly version: number } | null;
  /** A peer says that our replica is no longer a member. */
  gone(groupId: number, replicaId: number, confVer: number, version: number): void;
  /**
   * Damage in the Raft log took entries of a running replica: it was stopped and must not be started again, only be
   * replaced (its log is kept until the store drops it).
   */
  dataLost?(groupId: number, replicaId: number): void;
  /** Connections to other hosts, for reports. */
  peerUp?(hostId: number, incarnation: number): void;
  peerDown?(hostId: number): void;
  /** A request that another host passed on. */
  forwarded(fromHost: number, payload: Buffer): Promise<Buffer>;
  /** Disk or engine failed: acknowledge nothing more and end the process. */
  fatal(error: Error): void;
}

export interface MultiRaftStats {
  readonly groups: number;
  readonly leaders: number;
  /** Groups whose replica here does not tick. */
  readonly hibernating: number;
  readonly turns: number;
  readonly proposals: number;
  readonly entriesProposed: number;
  /** Committed entries that came to be applied here. */
  readonly entriesCommitted: number;
  readonly entriesApplied: number;
  readonly applyBatches: number;
  readonly readRounds: number;
  readonly reads: number;
  /** Reads whose index a lease vouched for, without a message. */
  readonly readsByLease: number;
  /** Reads whose index a round of heartbeats vouched for; those of followers, which ask their leader, among them. */
  readonly readsByRound: number;
  /** Stalls of the event loop that cost the leases of this host. */
  readonly leaseStalls: number;
  readonly electionsStarted: number;
  readonly snapshotsSent: number;
  readonly snapshotsReceived: number;
  readonly beatsSent: number;
  /** Compact records written. */
  readonly compactions: number;
  /** Messages that found no host, no connection or a full mailbox. */
  readonly messagesDropped: number;
  /** How long the oldest write that is not on disk has waited, milliseconds; 0: nothing waits. */
  readonly syncAgeMs: number;
  /** The disk has not synced for so long that this host gives its leaderships away and takes none. */
  readonly diskStalled: boolean;
  /** Times that the disk stalled. */
  readonly diskStalls: number;
  /** Leaderships offered to other hosts because of it. */
  readonly handovers: number;
  /** Times that a replica here went to sleep, and that one woke. */
  readonly hibernations: number;
  readonly wakes: number;
}
