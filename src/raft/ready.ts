import type { ConfState, Entry, HardState, Message, SnapshotMeta } from './message.js';

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** Volatile state worth reporting. */
export interface SoftState {
  /** 0: none known. */
  readonly leaderId: number;
  readonly role: Role;
}

/** The answer to one readIndex(context). */
export interface ReadState {
  /** The state machine may be read once it has applied this index; -1: not served, ask again (elsewhere). */
  readonly index: number;
  readonly context: number;
}

/** `index` of a read that could not be served. */
export const readFailedIndex = -1;

/**
 * What the caller has to do. Without async storage writes, in this order: make hardState, entries and
 * snapshot durable; send messages; apply committedEntries; advance(). With them, `messages` says it all:
 * MsgStorageAppend and MsgStorageApply hold the work and the messages to send or step after it.
 */
export interface Ready {
  /** Null: unchanged since the last Ready. */
  readonly softState: SoftState | null;
  /** Null: unchanged since the last Ready. */
  readonly hardState: HardState | null;
  readonly entries: readonly Entry[];
  readonly snapshot: SnapshotMeta | null;
  readonly committedEntries: readonly Entry[];
  readonly readStates: readonly ReadState[];
  readonly messages: readonly Message[];
  /** True when entries, term or vote have to be synced before deferred messages leave. */
  readonly mustSync: boolean;
}

export type ProgressStateName = 'probe' | 'replicate' | 'snapshot';

/** What a leader knows of one member. */
export interface PeerStatus {
  readonly id: number;
  readonly state: ProgressStateName;
  readonly match: number;
  readonly next: number;
  readonly learner: boolean;
  readonly paused: boolean;
  readonly pendingSnapshot: number;
  readonly recentActive: boolean;
  readonly inflightMsgs: number;
  readonly inflightFull: boolean;
  /** The highest commit index sent to it. */
  readonly sentCommit: number;
}

export interface RaftStatus {
  readonly id: number;
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
  readonly applied: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Entries up to here are known to be durable on this replica. */
  readonly stableIndex: number;
  readonly role: Role;
  readonly leaderId: number;
  /** Leader only: the replica that leadership is being handed to, 0 for none. */
  readonly leadTransferee: number;
  readonly confState: ConfState;
  /** Leader only, ids ascending, itself included while it is a member; else empty. */
  readonly progress: ReadonlyMap<number, PeerStatus>;
}

/** notLeader: no leader to propose to (or forwarding is off). notMember: removed. busy: too many uncommitted bytes. */
export type ProposalRefusal = 'notLeader' | 'notMember' | 'transferring' | 'busy';

/** index and term say where the entry stands while this replica leads; both 0 when it was passed on to the leader. */
export type ProposeResult =
  | { readonly ok: true; readonly index: number; readonly term: number }
  | { readonly ok: false; readonly reason: ProposalRefusal };

/** Why a membership change would not be taken now. */
export type ConfChangeRefusal = 'pending' | 'joint' | 'notJoint';

/** peerNotFound: a response of a non-member. localMessage: a type that never travels. dropped: a refused proposal. */
export type StepResult =
  { readonly ok: true } | { readonly ok: false; readonly reason: 'peerNotFound' | 'localMessage' | 'dropped' };
