import { assert } from '../src/base/assert.js';
import { commandBytesMax, frameBytesMax, keyBytesMax, scanBytesMax, valueBytesMax } from '../src/base/limits.js';

/** Limits of the store server. What happens past each is in the tests named store/limits and beside its part. */

/** Client sessions that one shard remembers; the least recently used goes first. A session takes about 200 bytes. */
export const shardSessionsMax = 4_096;
/** Applied sequences kept per session; past it the floor rises. A client has far fewer writes to one shard in flight. */
export const sessionSequencesMax = 4_096;

/** Operations in flight per batch stream. Several full frames of a busy client. */
export const streamOpsMax = 8_192;
/** Bytes of operations in flight per batch stream. Two of the largest commands, so that one never waits for itself. */
export const streamBytesMax = 2 * frameBytesMax;
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
/** What an operation counts for beyond its own bytes: its bookkeeping. */
export const opOverheadBytes = 256;
/** How long a client should wait after a refusal. About what it takes to work a full queue off. */
export const busyRetryAfterMs = 50;

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
/** Bytes of one engine batch while a snapshot is installed. */
export const snapshotBatchBytesMax = 1024 * 1024;
/** Rows of one page while a snapshot is read. */
export const snapshotPageRowsMax = 1_024;
/** How long an accepted snapshot offer keeps its range for itself before the snapshot is there, milliseconds. */
export const snapshotClaimMs = 30_000;

/** Shard reports of one frame to the placement service. */
export const sessionFrameShardsMax = 512;
/** Shards that one turn of the size refresher looks at. */
export const sizeRefreshShardsMax = 32;
/** Rows that a split in the middle samples to find its key. */
export const splitSamplePagesMax = 64;

assert(commandBytesMax + opOverheadBytes <= shardBytesMax, 'the largest command fits the bounds of a shard');
assert(shardBytesMax <= storeBytesMax, 'one shard fits the bounds of the store');
assert(streamBytesMax >= commandBytesMax, 'the largest command fits the bounds of a stream');
assert(valueBytesMax + keyBytesMax < replyBytesMax + frameBytesMax, 'one result always fits a reply frame');
assert(scanBytesMax < streamReplyBytesMax, 'one scan page does not stop a stream by itself');
