import { assert } from '../base/assert.js';
import { frameBytesMax, keyBytesMax, scanBytesMax, valueBytesMax } from '../base/limits.js';

/** An engine key. A user key with its prefix fits with room for the store's own rows. */
export const engineKeyBytesMax = 8 * 1024;
/** An engine value. The largest user value with its framing fits; larger rows belong in more rows. */
export const engineValueBytesMax = 64 * 1024 * 1024;
/** Keys of one getMany. Larger sets are several calls; the reply of one call is one buffer. */
export const getManyKeysMax = 16_384;
/** Bytes of the values of one getMany. Past it the call fails with `tooLarge`: the reply would not fit memory. */
export const getManyBytesMax = 128 * 1024 * 1024;
/** Open views. Each pins obsolete files and memory until it is closed; snapshots in flight are far fewer. */
export const openViewsMax = 64;
/** Loaders that are open. Each holds a row at most; snapshots that are being installed are far fewer. */
export const openLoadersMax = 64;
/** Bytes of one packed row. The largest value with its key fits; a longer one is damage. */
export const packedRowBytesMax = 16 * 1024 * 1024;

/**
 * Messages that the storage thread may have at once. One keeps it busy while the next gathers; more would only
 * move the queue to where requests cannot be merged any more.
 */
export const messagesInFlightMax = 2;
/** Bytes of one message to the storage thread; what exceeds it goes with the next one. Bounds the wait of a reply. */
export const messageBytesMax = 8 * 1024 * 1024;
/** Bytes of writes that have not been answered. Past it the engine is stalled for good and says so (fatal). */
export const writeBacklogBytesMax = 1024 * 1024 * 1024;
/** Reads that have not been answered. Past it a read fails with `busy`; the caller sheds load. */
export const readBacklogMax = 100_000;
/** The smallest buffer that requests or replies are packed into. */
export const arenaBytesMin = 8 * 1024;
/** A packing buffer is not made larger than this by guessing; one large item still gets a buffer of its own size. */
export const arenaBytesGuessMax = 1024 * 1024;

/** Neighbouring write() calls are merged into one RocksDB batch up to this size: one WAL record, one memtable pass. */
export const mergedBatchBytesMax = 4 * 1024 * 1024;
/**
 * A range of at most this many keys is deleted key by key. A range tombstone is cheaper for more keys,
 * but costs every later read of the range until it is compacted away.
 */
export const deleteRangePointsMax = 1_000;
/** A view reads in slices of about this size, and holds at most one of them beyond the page that it returned. */
export const viewSliceBytes = 512 * 1024;
/** Rows of one such slice. */
export const viewSliceRows = 4_096;

/** Rows that one question for a size counts at most: about a millisecond of the storage thread. */
export const sizeSliceRows = 2_000;
/** Bytes that one question for a size counts at most. */
export const sizeSliceBytes = 512 * 1024;
/** Buckets of at most so many keys that one question counts beside that slice, and how many of them. */
export const sizeSmallKeys = 64;
export const sizeSmallBucketsMax = 16;
/**
 * Buckets of at most so many keys are counted again although few or none of the writes to them were noted: so few notes say little. At
 * first with the next question after any write, then, while nothing is found that was not expected, after ever more up to this number.
 */
export const sizeRecheckKeys = 512;
export const sizeRecheckQuestionsMax = 32;
/** One in this many writes, on average, is noted in the map of sizes. */
export const sizeNoteStride = 16;
/** Buckets of the map of sizes, about 200 bytes each. Past it neighbours are joined and sizes get coarser. */
export const sizeBucketsMax = 131_072;

/** The least that a cache of values works with: a table and a few slabs. */
export const cacheBytesMin = 32 * 1024;
/** Default of the memory for values on the event loop's side; about two hundred thousand values of 256 bytes. */
export const cacheBytesDefault = 64 * 1024 * 1024;
/** One slot of the cache's table for this many bytes of it: rows smaller than that on average fill the table first. */
export const cacheBytesPerSlot = 64;
/** Cached values are evicted in units of this size: about a thousand rows, well under a millisecond. */
export const cacheSlabBytesMax = 256 * 1024;
/** With fewer slabs eviction would be too coarse. */
export const cacheSlabsMin = 4;
/** Hashes for which the cache remembers the last write, 8 bytes each. Reads that raced with a write of another key of the same one are not kept. */
export const cacheGuardsMax = 65_536;
/** Deleted ranges that the cache remembers, so as not to look for their keys. Past it the entries older than the oldest go. */
export const cachedRangesMax = 64;

/**
 * Batches that the memory engine keeps for crash(). Past it the oldest counts as on disk, as RocksDB's would be after a
 * flush of its own; only a simulation that never syncs gets here.
 */
export const unsyncedBatchesMax = 10_000;

assert(keyBytesMax + 64 <= engineKeyBytesMax, 'a user key with its prefix fits an engine key');
assert(valueBytesMax + 1024 <= engineValueBytesMax, 'a user value with its framing fits an engine value');
assert(scanBytesMax + valueBytesMax <= getManyBytesMax, 'what one scan returns may be asked for by key, too');
assert(frameBytesMax <= writeBacklogBytesMax / 8, 'several of the largest frames fit the write backlog');
assert(valueBytesMax + 2 * keyBytesMax <= packedRowBytesMax, 'the largest row of a user can be packed');
assert(cacheBytesMin <= cacheBytesDefault, 'the default cache is large enough');
assert(arenaBytesMin <= arenaBytesGuessMax && arenaBytesGuessMax <= messageBytesMax, 'arenas fit a message');
