/** Message types, with the names of etcd's Raft library. The numbers are on the wire: never change one. */
export const MsgType = Object.freeze({
  MsgHup: 0,
  MsgBeat: 1,
  MsgProp: 2,
  MsgApp: 3,
  MsgAppResp: 4,
  MsgVote: 5,
  MsgVoteResp: 6,
  MsgSnap: 7,
  MsgHeartbeat: 8,
  MsgHeartbeatResp: 9,
  MsgUnreachable: 10,
  MsgSnapStatus: 11,
  MsgCheckQuorum: 12,
  MsgTransferLeader: 13,
  MsgTimeoutNow: 14,
  MsgReadIndex: 15,
  MsgReadIndexResp: 16,
  MsgPreVote: 17,
  MsgPreVoteResp: 18,
  MsgStorageAppend: 19,
  MsgStorageAppendResp: 20,
  MsgStorageApply: 21,
  MsgStorageApplyResp: 22,
  MsgForgetLeader: 23,
} as const);
export type MsgTypeName = keyof typeof MsgType;
export type MsgType = (typeof MsgType)[MsgTypeName];

/** Entry types; numbers on the wire and on disk. */
export const EntryType = Object.freeze({ EntryNormal: 0, EntryConfChange: 1, EntryConfChangeV2: 2 } as const);
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

/**
 * The storage threads' ids, as senders and receivers of MsgStorage*. Not valid replica ids, and small: beside a number past
 * 31 bits V8 would box the receiver and the sender of every message.
 */
export const appendThread = -1;
export const applyThread = -2;
/** No replica. */
export const none = 0;

/** One log entry. Immutable once made; `data` is never copied on its way through. */
export interface Entry {
  readonly term: number;
  readonly index: number;
  readonly type: EntryType;
  readonly data: Buffer;
}

/** The durable part of a peer's state (Raft figure 2: currentTerm, votedFor) and its commit index. */
export interface HardState {
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
}

/** Membership as the group works with it. Ids ascending in every list. */
export interface ConfState {
  readonly voters: readonly number[];
  readonly votersOutgoing: readonly number[];
  readonly learners: readonly number[];
  readonly learnersNext: readonly number[];
  readonly autoLeave: boolean;
}

/** What a snapshot stands for; its data travels on a stream of its own. */
export interface SnapshotMeta {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
}

/** One message. Every field is always present, so that all messages share one hidden class. */
export interface Message {
  type: MsgType;
  /** Replica ids. */
  to: number;
  from: number;
  term: number;
  logTerm: number;
  index: number;
  entries: readonly Entry[];
  commit: number;
  vote: number;
  reject: boolean;
  rejectHint: number;
  /** Id of a read round, or the transfer mark of a vote; 0: none. */
  context: number;
  snapshot: SnapshotMeta | null;
  /** MsgStorageAppend and MsgStorageApply: what to step or send once the work is done. */
  responses: readonly Message[];
}

/** The transfer mark in `context` of MsgVote and MsgPreVote: the candidacy comes from a leader transfer. */
export const campaignTransfer = 1;

export const noEntries: readonly Entry[] = Object.freeze([]);
export const noMessages: readonly Message[] = Object.freeze([]);
export const emptyBuffer: Buffer = Buffer.alloc(0);

/** A message with every field at its zero. */
export function newMessage(type: MsgType, from: number, to: number): Message {
  return {
    type,
    to,
    from,
    term: 0,
    logTerm: 0,
    index: 0,
    entries: noEntries,
    commit: 0,
    vote: 0,
    reject: false,
    rejectHint: 0,
    context: 0,
    snapshot: null,
    responses: noMessages,
  };
}

/*
 * The ids of read rounds do not fit a small integer. V8 lays a field out by what it has seen in it, and the first large id, half a minute
 * into a process' life, would give all messages another hidden class and throw optimized code away, some of it for good.
 */
newMessage(MsgType.MsgHup, 0, 0).context = Number.MAX_SAFE_INTEGER;
