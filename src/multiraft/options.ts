import { batchingSendPolicy, type SendPolicy } from '../raft/config.js';
import { assert } from '../base/assert.js';
import {
  applyBatchBytesMax,
  applyBatchEntriesMax,
  heldBytesMax,
  heldOperationsMax,
  applyBatchesInFlightMax,
  earlyCampaignsPerTickMax,
  entryBytesMax,
  forwardsOutstandingMax,
  forwardsServingMax,
  groupProposalBytesMax,
  groupProposalsMax,
  groupReadRoundsMax,
  groupReadsMax,
  hostProposalBytesMax,
  hostProposalsMax,
  inboxMessagesMax,
  logWriteBytesMax,
  snapshotSendQueueMax,
  snapshotsReceivingMax,
  snapshotsSendingMax,
  unsyncedBytesMax,
  wakesPerTickMax,
} from './limits.js';

/** Tunables of a host. All hosts of a cluster should have the same tick settings. */
export interface MultiRaftOptions {
  readonly tickMs: number;
  /** Ticks between a leader's heartbeats; also the interval of the host's beats. */
  readonly heartbeatTicks: number;
  /** Least ticks without a leader before a follower campaigns; the core draws up to twice as many. */
  readonly electionTicks: number;
  /** Bytes of entries in one MsgApp. */
  readonly appendBytesMax: number;
  /** MsgApps on their way to one follower. */
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Bytes of committed entries that the core hands out before they are applied. */
  readonly applyingBytesMax: number;
  /** Ticks after which a read that found no answer fails. */
  readonly readTimeoutTicks: number;
  /** Ticks that a proposal's fate is awaited after leadership was lost. */
  readonly outcomeTimeoutTicks: number;
  /**
   * Age of the oldest unsynced write, milliseconds, from which on this host gives its leaderships away and takes none.
   * Default: the longest election timeout.
   */
  readonly diskStallMs: number;
  /**
   * Leaders serve linearizable reads under a lease, without a message. Voters then keep the promise that it rests on: after a
   * leader's host was lost no other is elected before an election timeout is over.
   */
  readonly leases: boolean;
  /** Ticks without use after which a group hibernates, if all its replicas are level; 0: never. */
  readonly hibernateAfterTicks: number;
  /** When the core sends what could wait. */
  readonly sendPolicy: SendPolicy;
  readonly compaction: CompactionOptions;
  readonly limits: HostLimits;
}

export interface CompactionOptions {
  /** Milliseconds between checks. */
  readonly checkMs: number;
  /** A group is compacted once it keeps this many applied entries beyond its tail, or ... */
  readonly entriesMin: number;
  /** ... this many bytes, or ... */
  readonly bytesMin: number;
  /** ... has entries beyond the idle tail for this long. */
  readonly idleMs: number;
  /** Applied entries kept for followers that are a little behind. */
  readonly tailEntries: number;
  /** The same for a group compacted because it is idle. */
  readonly idleTailEntries: number;
  /** A leader keeps this many applied entries at most for a follower that is further behind; past it it gets a snapshot. */
  readonly followerEntriesMax: number;
  /** ... and only while the follower's host is connected, or was this recently: a restart should not cost snapshots. */
  readonly followerGraceMs: number;
  /** The log bytes of one group past which followers and running snapshots are no reason to keep entries. */
  readonly groupBytesMax: number;
  /** The same for the log of all groups together. */
  readonly logBytesMax: number;
  /** How long entries after a snapshot are kept for the follower that got it, at most. */
  readonly snapshotPinMs: number;
}

/** limits.ts as values, so that a test can reach them with little. */
export interface HostLimits {
  readonly groupProposalBytes: number;
  readonly groupProposals: number;
  readonly hostProposalBytes: number;
  readonly hostProposals: number;
  readonly entryBytes: number;
  readonly groupReads: number;
  readonly groupReadRounds: number;
  readonly inboxMessages: number;
  readonly logWriteBytes: number;
  readonly unsyncedBytes: number;
  readonly applyBatchBytes: number;
  readonly applyBatchEntries: number;
  readonly heldOperations: number;
  readonly heldBytes: number;
  readonly applyBatchesInFlight: number;
  readonly snapshotsSending: number;
  readonly snapshotSendQueue: number;
  readonly snapshotsReceiving: number;
  readonly forwardsOutstanding: number;
  readonly forwardsServing: number;
  readonly earlyCampaignsPerTick: number;
  readonly wakesPerTick: number;
}

export const defaultLimits: HostLimits = {
  groupProposalBytes: groupProposalBytesMax,
  groupProposals: groupProposalsMax,
  hostProposalBytes: hostProposalBytesMax,
  hostProposals: hostProposalsMax,
  entryBytes: entryBytesMax,
  groupReads: groupReadsMax,
  groupReadRounds: groupReadRoundsMax,
  inboxMessages: inboxMessagesMax,
  logWriteBytes: logWriteBytesMax,
  unsyncedBytes: unsyncedBytesMax,
  applyBatchBytes: applyBatchBytesMax,
  applyBatchEntries: applyBatchEntriesMax,
  heldOperations: heldOperationsMax,
  heldBytes: heldBytesMax,
  applyBatchesInFlight: applyBatchesInFlightMax,
  snapshotsSending: snapshotsSendingMax,
  snapshotSendQueue: snapshotSendQueueMax,
  snapshotsReceiving: snapshotsReceivingMax,
  forwardsOutstanding: forwardsOutstandingMax,
  forwardsServing: forwardsServingMax,
  earlyCampaignsPerTick: earlyCampaignsPerTickMax,
  wakesPerTick: wakesPerTickMax,
};

export const defaultCompaction: CompactionOptions = {
  checkMs: 5_000,
  entriesMin: 4_096,
  bytesMin: 8 * 1024 * 1024,
  idleMs: 60_000,
  tailEntries: 1_024,
  idleTailEntries: 16,
  followerEntriesMax: 65_536,
  followerGraceMs: 300_000,
  groupBytesMax: 256 * 1024 * 1024,
  logBytesMax: 4 * 1024 * 1024 * 1024,
  snapshotPinMs: 120_000,
};

export const defaultOptions: MultiRaftOptions = {
  tickMs: 100,
  heartbeatTicks: 2,
  electionTicks: 10,
  appendBytesMax: 1024 * 1024,
  inflightMessagesMax: 256,
  inflightBytesMax: 32 * 1024 * 1024,
  applyingBytesMax: 4 * 1024 * 1024,
  readTimeoutTicks: 30,
  outcomeTimeoutTicks: 20,
  diskStallMs: 2_000,
  leases: true,
  hibernateAfterTicks: 30,
  sendPolicy: batchingSendPolicy,
  compaction: defaultCompaction,
  limits: defaultLimits,
};

/** What the caller may give: any subset, at any depth. */
export type MultiRaftOptionsInput = Partial<Omit<MultiRaftOptions, 'compaction' | 'limits'>> & {
  readonly compaction?: Partial<CompactionOptions>;
  readonly limits?: Partial<HostLimits>;
};

/** Fills in defaults and checks what depends on each other. */
export function completeOptions(input: MultiRaftOptionsInput): MultiRaftOptions {
  const options: MultiRaftOptions = {
    ...defaultOptions,
    diskStallMs: 2 * (input.electionTicks ?? defaultOptions.electionTicks) * (input.tickMs ?? defaultOptions.tickMs),
    ...input,
    compaction: { ...defaultCompaction, ...input.compaction },
    limits: { ...defaultLimits, ...input.limits },
  };
  assert(options.tickMs > 0, 'a tick takes time');
  assert(options.heartbeatTicks >= 1, 'heartbeats need a tick');
  assert(options.electionTicks > options.heartbeatTicks * 2, 'an election timeout outlasts two heartbeats');
  assert(options.diskStallMs > options.tickMs, 'the age of a write is looked at once per tick');
  assert(Number.isInteger(options.hibernateAfterTicks) && options.hibernateAfterTicks >= 0, 'a number of ticks');
  assert(options.outcomeTimeoutTicks >= options.electionTicks, 'fates are awaited at least for an election');
  return options;
}
