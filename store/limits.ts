import { assert } from '../src/base/assert.js';
import {
  commandBytesMax,
  commandOpsMax,
  frameBytesMax,
  keyBytesMax,
  scanBytesMax,
  valueBytesMax,
} from '../src/base/limits.js';
import { getManyKeysMax, openViewsMax, writeBacklogBytesMax } from '../src/engine/limits.js';

/** Limits of the store server. What happens past each is in the tests named store/limits and beside its part. */

/** Client sessions that one shard remembers; the least recently used goes first. A session takes about 200 bytes. */
export const shardSessionsMax = 4_096;
/** Applied sequences kept per session; past it the floor rises. A client has far fewer writes to one shard in flight. */
export const sessionSequencesMax = 4_096;

/** Clients connected for frames of operations; more are refused. */
export const clientStreamsMax = 10_000;
/** Operations in flight per batch stream. Several full frames of a busy client. */
export const streamOpsMax = 8_192;
/** Bytes of operations in flight per batch stream. Two of the largest commands, so that one never waits for itself. */
export const streamBytesMax = 2 * frameBytesMax;
/** What each result counts for beside its bytes: those without any take memory, too. */
export const resultOverheadBytes = 128;
/** Bytes of replies that wait for a slow reader; past it the stream is not read from. */
export const streamReplyBytesMax = 16 * 1024 * 1024;
/** Operations in flight per shard. A hot shard is refused before it fills the store. */
export const shardOpsMax = 16_384;
/** Bytes of operations in flight per shard. Several of the largest commands. */
export const shardBytesMax = 64 * 1024 * 1024;
/** Operations in flight per store: about one second of full load. */
export const storeOpsMax = 131_072;
/** Bytes of operations in flight per store. With the shards' logs and caches it fits a small machine. */
export const storeBytesMax = 256 * 1024 * 1024;
/** Bytes on their way to the engine past which writes are refused: it is stalled, and fails for good at a larger backlog. */
export const engineBacklogBytesMax = 256 * 1024 * 1024;
/** What an operation counts for beyond its own bytes: its bookkeeping. */
export const opOverheadBytes = 256;
/** How long writes may all take from proposal to outcome before new ones are refused, milliseconds: a queue of this length still leaves callers time. */
export const writeDelayTargetMs: number = 500;
/** How often that is looked at, milliseconds: several rounds of a busy store. */
export const writeDelayIntervalMs = 100;
/** Writes that a store always takes: a few rounds' worth, which are no queue even on a slow disk. */
export const writeWindowOpsMin: number = 256;
/** What the bound of writes under way grows by in such an interval while the target is kept. */
export const writeWindowGrowthOps = 64;
/** The longest that a refused client is told to wait, milliseconds. */
export const busyRetryAfterMsMax = 1_000;
/** How long a client should wait after a refusal, at least. About what it takes to work a full queue off. */
export const busyRetryAfterMs: number = 50;

/** Results per reply frame. Larger frames run in lock-step with the reader. */
export const replyResultsMax = 512;
/** Bytes per reply frame before another frame is begun; one result may pass it. */
export const replyBytesMax = 1024 * 1024;

/** Time that an operation may take when the caller names none, milliseconds. */
export const opTimeoutDefaultMs = 10_000;
/** The longest time that a caller may ask for, milliseconds. Bounds what a dead quorum can pile up. */
export const opTimeoutMaxMs = 60_000;
/** Grain of deadlines, milliseconds. */
export const deadlineGrainMs = 10;

/** Shards that an EpochNotMatch names besides the one asked: as many as several splits in a row make. */
export const epochShardsMax = 16;
/** Rows that one Scan may look at for a prefix in a hash keyspace before it ends its page. */
export const scanVisitedRowsMax = 20_000;

/** Bytes of one snapshot chunk. Small enough to interleave with other work, large enough to be worth a frame. */
export const snapshotChunkBytesMax = 256 * 1024;
/** Bytes of chunks on their way into the engine while a snapshot is installed: requests of other shards wait behind half of them. */
export const snapshotLoadBytesMax = 2 * 1024 * 1024;
/** Rows of one page while a snapshot is read: some milliseconds of the storage thread. */
export const snapshotPageRowsMax = 4_096;
/** Bytes of one such page (the last row may pass it). Two of them are in memory: one is sent while the next is read. */
export const snapshotPageBytesMax = 1024 * 1024;
/** How long an accepted snapshot offer keeps its range for itself before the snapshot is there, milliseconds. */
export const snapshotClaimMs = 30_000;

/** The shortest and the longest pause between rounds over the placement members, milliseconds. */
export const placementBackoffMinMs = 100;
export const placementBackoffMaxMs = 2_000;
/** Time that a call to a placement member may take, milliseconds. A member that leads answers within an election. */
export const placementCallTimeoutMs = 3_000;
/** How long changes of shards gather before they are reported, milliseconds. */
export const reportDelayMs = 50;
/** How long a replica may be without a leader before the store asks whether it is still a member, milliseconds. */
export const staleReplicaMs = 10_000;
/** Stale replicas that are asked about at a time; the others wait for the next look. */
export const staleQuestionsMax = 32;
/** Time that a replica must have been silent before it is reported as down, milliseconds: two elections. */
export const replicaDownMs = 4_000;
/** Entries that a replica may be behind before it is reported as pending. */
export const pendingEntries = 1_024;
/** Led shards whose replicas' progress is looked at per report. */
export const progressShardsMax = 1_024;
/** How often led shards with a replica that is behind are looked at, milliseconds, since moves wait for it, and ... */
export const catchingUpLookMs = 100;
/** ... how many of them at a time. */
export const catchingUpShardsMax: number = 256;
/** Shard reports of one frame to the placement service. */
export const sessionFrameShardsMax = 512;
/** How long after a leader's last message to a destroyed replica this is reported: a few heartbeats, and reports. */
export const wantedTombstoneMs = 5_000;
/** Quarantined replicas that one store report names; the others come up as these are replaced. */
export const quarantinedReportedMax = 1_024;
/** Rows of one page while a store starts. */
export const loadPageRowsMax = 4_096;
/** Replicas that are started at a time. Their logs' records share syncs. */
export const startingGroupsMax = 512;
/** How often a free port is chosen anew when another process took it first. */
export const bindAttemptsMax = 5;
/** How often the free space is looked at, milliseconds. */
export const diskWatchMs = 1_000;
/** How long a stopping store waits for others to take its leaderships over, milliseconds. */
export const leaveTimeoutMs = 2_000;
/** How often it looks whether they have, milliseconds. */
export const leavePollMs = 20;
/** Replicas of one part of a survey: keeps a frame near 100 KiB. */
export const surveyPartMax = 512;
/** How long a replica that shall go on alone may take to apply the end of its log, and how often that is looked at. */
export const forceApplyMs = 10_000;
export const forcePollMs = 20;
/** Bytes of the log's end that are looked through at a time. */
export const suffixBytesMax = 1024 * 1024;
/** How often the sizes of led shards are refreshed, milliseconds, and ... */
export const sizeRefreshMs = 1_000;
/** ... of how many shards at a time. */
export const sizeRefreshShardsMax = 32;
/** Checksums that a store computes at once; each holds a view of the engine open. */
export const checksumsInFlightMax = 4;
/** The slowest that a checksum is read, bytes per second: a view must not stay open for days. */
export const checksumBytesPerSecondMin = 64 * 1024;
/** Rows and bytes of one page of a checksum: less than a millisecond of the event loop. */
export const checksumPageRowsMax = 1_024;
export const checksumPageBytesMax = 256 * 1024;
/** Checksums that wait for a line to placement; past it the oldest is dropped, and its check ends without it. */
export const checksumReportsMax = 256;
/**
 * Entries after a merge in which a write may have been sent before its client knew of the merge: more than a shard has on
 * their way. One that comes later fails for its client as undetermined at worst.
 */
export const sessionPartEntries = 4_096;
/** Former shards that a shard remembers to have taken in; past it the oldest are forgotten. */
export const mergedShardsMax = 16;
/** How often a store looks at the merges under way, milliseconds. */
export const mergeLookMs = 100;
/** How long a merge may wait for all replicas of the source to have its last entry before it is taken back, milliseconds. */
export const mergePatienceMs = 5_000;
/** How long a source's leader that cannot see the target waits before it hands over to another replica, milliseconds. */
export const mergeBlindMs = 2_000;
/** Keys of one page while a split looks for the middle of its shard. */
export const splitPageRowsMax = 4_096;
/** Keys kept as samples of the shard; when there are more, every other one is dropped. */
export const splitSamplesMax = 4_096;

assert(commandBytesMax + opOverheadBytes <= shardBytesMax, 'the largest command fits the bounds of a shard');
assert(shardBytesMax <= storeBytesMax, 'one shard fits the bounds of the store');
assert(streamBytesMax >= commandBytesMax, 'the largest command fits the bounds of a stream');
assert(writeWindowOpsMin < storeOpsMax, 'the window of writes has room to move in');
assert(
  busyRetryAfterMs <= writeDelayTargetMs && writeDelayTargetMs <= busyRetryAfterMsMax,
  'a hint covers the delay aimed at',
);
assert(checksumsInFlightMax <= openViewsMax / 4, 'checksums leave most views to snapshots');
assert(engineBacklogBytesMax <= writeBacklogBytesMax / 2, 'writes are refused well before the engine gives up');
assert(2 * commandOpsMax <= getManyKeysMax, 'the keys of two of the largest reads fit one call of the engine');
assert(valueBytesMax + keyBytesMax < replyBytesMax + frameBytesMax, 'one result always fits a reply frame');
assert(snapshotChunkBytesMax * 4 <= snapshotLoadBytesMax, 'the engine works on some chunks while others come');
assert(scanBytesMax < streamReplyBytesMax, 'one scan page does not stop a stream by itself');
