import { commandBytesMax } from '../base/limits.js';
import { assert } from '../base/assert.js';
import { logBytesHardMaxDefault, nearlyFullShare } from '../raftlog/limits.js';

/** Limits of the host. What happens past each one is said beside it and tested in test/multiraft/limits.test.ts. */

/** Bytes of commands that one group has taken and not settled. Past it proposals are dropped as busy. */
export const groupProposalBytesMax = 64 * 1024 * 1024;
/** Commands that one group has taken and not settled: bounds memory when they are tiny. Past it: busy. */
export const groupProposalsMax = 32_768;
/** Bytes of commands of all groups that are not settled. Past it: busy. */
export const hostProposalBytesMax = 256 * 1024 * 1024;
/** Commands of all groups that are not settled. Past it: busy. */
export const hostProposalsMax = 262_144;
/** Commands of one turn share an entry up to this size; more of them make more entries. One command may be larger. */
export const entryBytesMax = 1024 * 1024;

/** Reads of one group that are not answered. Past it reads fail as busy. */
export const groupReadsMax = 65_536;
/** Read rounds of one group on their way; further reads gather for the next round to come back. */
export const groupReadRoundsMax = 4;

/** Messages in one group's mailbox. A turn empties it; past the limit messages are dropped, which Raft stands. */
export const inboxMessagesMax = 8_192;
/** Hosts of replicas that the state machine does not know yet, learned from their messages. Past it they are relearned. */
export const learnedHostsMax = 32;

/** Bytes of entries in one engine batch: a batch blocks the event loop while it is evaluated. The rest follows next turn. */
export const applyBatchBytesMax = 8 * 1024 * 1024;
/** Entries in one engine batch, for the same reason. */
export const applyBatchEntriesMax = 8_192;
/**
 * Passes over clients' commands share an engine batch until it holds so many operations ...: each shard's position and sessions then
 * are written once, not once per pass. A tick of the host closes it, too.
 */
export const heldOperationsMax = 1_024;
/** ... or so many bytes, which bounds the frames that their values keep in memory. */
export const heldBytesMax = 1024 * 1024;
/** Engine batches on their way: one is written while the next gathers. Past it committed entries wait. */
export const applyBatchesInFlightMax = 2;

/** Bytes of one write of the log; a turn with more makes several. Far below what the log takes in one write. */
export const logWriteBytesMax = 64 * 1024 * 1024;
/** Bytes written and not synced. Past it appends of other hosts' leaders are dropped, which makes them slow down. */
export const unsyncedBytesMax = 256 * 1024 * 1024;

/** Keys of one read of a pass (the engine takes four times as many); more are read one after the other. */
export const prefetchKeysMax = 4_096;
/** Wait before a read that the engine had no room for is asked again: by then it has answered many. */
export const prefetchRetryMs = 5;

/** Ranges of one group that are being read from disk for slow followers. Others wait for their turn. */
export const groupLogLoadsMax = 4;

/** Snapshots that the host sends at a time: each holds an engine view and takes disk and network. Others queue. */
export const snapshotsSendingMax = 4;
/** Snapshots that wait to be sent. Past it the core is told that the snapshot failed and asks again later. */
export const snapshotSendQueueMax = 64;
/** Snapshots that the host stages at a time. Past it an offer is refused and comes again later. */
export const snapshotsReceivingMax = 8;
/** Bytes of a staged file's header: the descriptor and the membership are small. Past it the snapshot is refused. */
export const stagedHeaderBytesMax = 4 * 1024 * 1024;
/** Bytes of one chunk of a staged file; a larger one is not ours. */
export const stagedChunkBytesMax = 32 * 1024 * 1024;
/** Bytes of a staged file that were taken and not yet written. Past it the sender waits for the disk. */
export const stagedBehindBytesMax = 2 * 1024 * 1024;
/** Bytes that a staged file is read in while it is installed: four chunks of the common size with their heads. */
export const stagedReadBytes = 1024 * 1024 + 4 * 1024;

/** Requests passed to other hosts and not answered. Past it forward() rejects. */
export const forwardsOutstandingMax = 16_384;
/** Requests of other hosts that are being served. Past it they are dropped; their senders time out. */
export const forwardsServingMax = 16_384;

/** Leaderships that a host with a stalled disk offers per tick: each costs a look at the group's members. */
export const handoversPerTickMax = 256;
/** Early campaigns per tick after a host was lost, so that its thousands of groups do not all elect in one turn. */
export const earlyCampaignsPerTickMax = 512;

/** Groups that are woken per tick after a host was lost: each then ticks, sends heartbeats or campaigns. The rest follows. */
export const wakesPerTickMax = 512;

/** Groups that one compaction slice looks at before it yields to the event loop. */
export const compactionSliceGroupsMax = 256;

assert(commandBytesMax <= groupProposalBytesMax, 'the largest command fits an idle group');
assert(groupProposalBytesMax <= hostProposalBytesMax, 'one group cannot take more than all');
assert(commandBytesMax <= logWriteBytesMax, 'the largest entry fits a write of the log');
assert(
  (hostProposalBytesMax + unsyncedBytesMax) * 1.5 <= logBytesHardMaxDefault * (1 - nearlyFullShare),
  'what is under way when the log begins to refuse has room in it',
);
assert(logWriteBytesMax * 4 <= logBytesHardMaxDefault, 'a write that waited for room gets it');
assert(entryBytesMax <= applyBatchBytesMax, 'a common entry fits an engine batch');
