import { assert } from '../base/assert.js';
import { commandBytesMax } from '../base/limits.js';

const KiB = 1024;
const MiB = 1024 * KiB;

/** A segment: large enough that rolling (four syncs) is rare, small enough to be recycled soon. */
export const segmentBytesDefault = 64 * MiB;
/** The smallest segment that makes sense; tests use it. */
export const segmentBytesMin = 4 * KiB;
/** Recently written log bytes kept in memory for followers and the apply loop. */
export const cacheBytesMaxDefault = 64 * MiB;
/** Memory is taken for the log in pieces of this size. */
export const arenaBytesMax = 1 * MiB;
/** Entries read back from disk, waiting to be asked for again; the oldest are forgotten first. */
export const loadedBytesMax = 32 * MiB;
/** A batch past this is not added to: one sync must not take so long that the next batch waits for it. */
export const batchBytesMax = 8 * MiB;
/** One write() call. Offsets within a segment are 32-bit on disk; a batch never comes near it. */
export const writeBytesMax = 1024 * MiB;
/** One read when entries are loaded or moved; bounds what is held per load. */
export const readBytesMax = 4 * MiB;
/** Entries that one load brings in: small entries cost by number, not by bytes. */
export const loadEntriesMax = 16_384;
/** Bytes between two wanted entries that are cheaper to read than to skip. */
export const readGapBytesMax = 16 * KiB;
/** Recycled segments kept ready; more than this are given back to the file system. */
export const spareSegmentsMax = 2;
/** The log may hold this much before garbage collection stops waiting for half of it to be garbage. */
export const logBytesMaxDefault = 1024 * MiB;
/**
 * The log's files never take more than this. Before that, entries are refused (RaftLogError `full`); what frees
 * space (compactions, drops, garbage collection) has `reserveSegments` for itself. Twice what the host lets groups keep.
 */
export const logBytesHardMaxDefault = 8 * 1024 * MiB;
/** Segments of the hard bound that entries may not take: two spares, one made ahead, three for what frees space. */
export const reserveSegments = 6;
/** Share of the hard bound from which the log says that it is under pressure: its owner must refuse and compact. */
export const pressureShare = 0.75;
/** Share of the hard bound from which nobody should make or take entries: what is under way has room in the rest. */
export const nearlyFullShare = 0.875;
/** Groups looked at by garbage collection before it lets the event loop turn. */
export const collectorGroupsPerTurn = 1024;
/** Index slots looked at by garbage collection before it lets the event loop turn: about a millisecond. */
export const collectorSlotsPerTurn = 131_072;
/** Garbage collection moves this much of a segment at a time: some thousand entries, a few milliseconds. */
export const collectorWindowBytes = 256 * KiB;
/** What garbage collection counts for a group's newest record when it moves it. */
export const restingRecordBytes = 40;
/** A new segment is synced each time that this much of it was filled: one long sync would hold up those of batches. */
export const fillSyncBytes = 4 * MiB;
/** Entries of one page of an inspection. */
export const inspectEntriesMax = 4096;
/** Damaged stretches that opening and inspecting describe one by one; the rest is only counted. */
export const lossesToldMax = 256;
/** Sync durations kept for the percentiles. */
export const syncSamplesMax = 512;
/** Bounds between which all syncs are counted by their duration: from a fast disk's to a stall's. */
export const syncSecondsBounds: readonly number[] = [
  0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
/** The same of batches, by their bytes on disk. */
export const batchBytesBounds: readonly number[] = [
  KiB,
  4 * KiB,
  16 * KiB,
  64 * KiB,
  256 * KiB,
  MiB,
  4 * MiB,
  16 * MiB,
];

assert(commandBytesMax * 2 <= segmentBytesDefault, 'the largest command fits a segment twice');
assert(spareSegmentsMax + 4 <= reserveSegments, 'the reserve holds the spares, the segment made ahead, and three more');
assert(
  logBytesMaxDefault < logBytesHardMaxDefault * pressureShare,
  'garbage collection works before anything is refused',
);
assert(
  logBytesHardMaxDefault * pressureShare < logBytesHardMaxDefault * nearlyFullShare,
  'compaction is pressed before entries are refused',
);
assert(arenaBytesMax * 4 <= cacheBytesMaxDefault, 'the cache can forget in small steps');
assert(batchBytesMax < (batchBytesBounds.at(-1) ?? 0), 'batches lie between bounds');
assert(commandBytesMax <= loadedBytesMax, 'the largest entry can be loaded');
