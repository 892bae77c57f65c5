import { assert } from '../base/assert.js';
import type { Logger } from '../base/logger.js';
import { electionPriorityMax } from './limits.js';

/** What the core logs to: rare events only, never one line per message. */
export type RaftLogger = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** safe: one heartbeat round per batch of reads. leaseBased: none while a quorum's promise not to vote lasts. */
export type ReadOnlyOption = 'safe' | 'leaseBased';

/**
 * A clock for leases and the promises that they rest on. All times are milliseconds on the monotonic clock of this process.
 */
export interface LeaseClock {
  /**
   * A time not after the present and not before the arrival of any message that is stepped: the present as of this turn,
   * tick or beat. Rounds are stamped with it when they are sent, promises when the leader is heard.
   */
  readonly stampMs: number;
  /** How long a voter that heard a leader grants no vote, however that leader fares. */
  readonly promiseMs: number;
  /** True while the answers to a round sent then hold off elections, by a fresh look at the clock. */
  covers(sentMs: number): boolean;
}

/**
 * When to send what could wait. Policy never touches safety: with any setting the same entries commit.
 */
export interface SendPolicy {
  /**
   * eager: each advance of the commit index is sent to every follower at once, in an empty append if need be.
   * piggyback: the next append or heartbeat carries it. A committed membership change is always sent at once,
   * since a replica that it removes will hear nothing more afterwards.
   */
  readonly commitNotice: 'eager' | 'piggyback';
  /** True: an append per proposal and follower. False: appends are made in ready(), one for all proposals since the last. */
  readonly appendPerProposal: boolean;
  /** True: of several acknowledgements to one leader that wait for the same sync only the highest is sent. */
  readonly coalesceAcks: boolean;
}

/** Sends at once whatever can be sent: what the conformance data describes. */
export const eagerSendPolicy: SendPolicy = Object.freeze({
  commitNotice: 'eager',
  appendPerProposal: true,
  coalesceAcks: false,
});

/** For a busy store with many groups: the fewest messages, no added latency for the leader's acknowledgements. */
export const batchingSendPolicy: SendPolicy = Object.freeze({
  commitNotice: 'piggyback',
  appendPerProposal: false,
  coalesceAcks: true,
});

/** What one replica starts with. Read once. */
export interface ReplicaStart {
  /** Replica id, above 0. */
  readonly id: number;
  /** Index that the state machine has applied; entries up to it are not handed out again. */
  readonly applied: number;
  /**
   * With a lease clock: when this replica, in this life of the process or an earlier one, may have heard a leader last. Absent: now,
   * which is right for a replica that was here before.
   */
  readonly promisedAtMs?: number;
  /** 0, the default, campaigns first; a replica of priority p waits p election timeouts longer. Never a matter of safety. */
  readonly electionPriority?: number;
}

/** How replicas behave: one object for all that behave alike. */
export interface RaftSettings {
  /** Ticks without a leader before a follower campaigns; the real timeout is drawn from [electionTick, 2 electionTick - 1]. */
  readonly electionTick: number;
  /** Ticks between heartbeats, below electionTick. */
  readonly heartbeatTick: number;
  /** Bytes of entries in one MsgApp; an entry above it travels alone. */
  readonly maxSizePerMsg: number;
  /** Bytes of committed entries handed out and not yet applied. */
  readonly maxCommittedSizePerReady: number;
  /** Appends on their way to one follower. */
  readonly maxInflightMsgs: number;
  /** Bytes of entries on their way to one follower. */
  readonly maxInflightBytes: number;
  /** Payload bytes that a leader holds uncommitted before it refuses proposals. */
  readonly maxUncommittedEntriesSize: number;
  /** Ask before raising the term (thesis §9.6). */
  readonly preVote: boolean;
  /** A leader without an active quorum steps down; voters that hear a leader ignore candidates (thesis §6.2, §4.2.3). */
  readonly checkQuorum: boolean;
  /** Disk work goes out as MsgStorageAppend and MsgStorageApply and may overlap with what follows. */
  readonly asyncStorageWrites: boolean;
  /**
   * For the conformance data only: with async storage writes, ask for votes before the term is durable. A candidate that loses
   * its unsynced log and term in a crash could then campaign in that term again, with votes that were granted to the longer log.
   */
  readonly earlyVoteRequests?: boolean;
  /** A leader that a membership change removes or demotes becomes a follower. */
  readonly stepDownOnRemoval: boolean;
  /** Tests only: let membership changes into the log that do not fit the current configuration. */
  readonly disableConfChangeValidation: boolean;
  /** A follower refuses proposals instead of passing them on to its leader. */
  readonly disableProposalForwarding: boolean;
  readonly readOnlyOption: ReadOnlyOption;
  /** What leases run on. Absent: own ticks, which is only safe where ticks never come late. */
  readonly leaseClock?: LeaseClock;
  /** A number in [0, 1); the only source of randomness. */
  readonly random: () => number;
  readonly logger: RaftLogger | null;
  readonly sendPolicy: SendPolicy;
}

export interface RaftConfig extends RaftSettings, ReplicaStart {}

/** Throws AssertionError when the settings contradict each other. */
export function checkConfig(c: RaftConfig): void {
  assert(Number.isSafeInteger(c.id) && c.id > 0, 'raft: id is a positive integer');
  assert(c.heartbeatTick > 0, 'raft: heartbeatTick is above 0');
  assert(c.electionTick > c.heartbeatTick, 'raft: electionTick is above heartbeatTick');
  assert(c.maxSizePerMsg >= 0, 'raft: maxSizePerMsg is not negative');
  assert(c.maxCommittedSizePerReady > 0, 'raft: maxCommittedSizePerReady is above 0');
  assert(c.maxInflightMsgs > 0, 'raft: maxInflightMsgs is above 0');
  assert(c.maxInflightBytes >= c.maxSizePerMsg, 'raft: one append fits the window');
  assert(c.maxUncommittedEntriesSize > 0, 'raft: maxUncommittedEntriesSize is above 0');
  checkElectionPriority(c.electionPriority ?? 0);
  assert(c.applied >= 0, 'raft: applied is not negative');
  assert(c.readOnlyOption === 'safe' || c.checkQuorum, 'raft: lease-based reads rest on CheckQuorum');
}

export function checkElectionPriority(priority: number): void {
  const valid = Number.isInteger(priority) && priority >= 0 && priority <= electionPriorityMax;
  assert(valid, 'raft: the election priority is an integer from 0 to electionPriorityMax');
}
