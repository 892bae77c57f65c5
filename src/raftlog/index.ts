/**
 * A store's one append-only Raft log, shared by all of its groups.
 *
 * Why one: a store hosts thousands of groups, and a disk syncs a few thousand times a second. All groups append to one
 * log, so one write and one sync carry what every group has to say; what gathers while a sync runs goes
 * out with the next one (group commit).
 *
 *     write(records) ─▶ groups change in memory ─▶ records encoded at the end of the open batch ─▶ promise
 *                                                             │
 *         ┌───────────────────────────── one at a time ◀──────┘
 *         ▼
 *     write batch through (O_DSYNC) ─▶ resolve ─▶ next batch       (log_writer.ts)
 *
 * Where the parts are:
 *
 *   format.ts, record_codec.ts   bytes on disk
 *   log_buffer.ts                newest bytes of the log in memory: batches are built there and stay as entry cache
 *   log_writer.ts                batches, group commit, rolling to the next segment, the failure latch
 *   segment.ts, segment_files.ts segments: made whole in advance, recycled, what of them is needed
 *   group.ts, slot_pool.ts       one group's state and the place of each of its entries; the numbers of all of them
 *   loader.ts, loaded_entries.ts entries that are on disk alone
 *   collector.ts                 frees the oldest segments, moving what is still needed to the log's end
 *   log_directory.ts, log_scan.ts, segment_scan.ts, replay.ts  reading what is there, changing nothing
 *   recovery.ts                  opening: reading, then mending
 *   inspect_log.ts, inspect_entries.ts  looking into a stopped store's log (`skerry store inspect`)
 *   segmented_log.ts             the whole, behind the interface of raft_log.ts
 *
 * Addresses: a segment begins where the one before it ends, in one address space that is never used twice. An entry's
 * place is one number, and what is in memory is found by it too.
 *
 * Invariants:
 *
 *   - Only one batch is on its way to disk. So after a crash only the newest batch can be torn; a bad batch with a
 *     good one of a higher number behind it is damage, never a torn tail.
 *   - Every record carries its group's whole state. The newest record of a group and its entries' places are all there is to know.
 *   - The segments of a log are an unbroken run. Segments leave at the front, after a synced batch said that they are not
 *     needed; they join at the end, before the seal of the one before them says that they must be there.
 *   - A failed write or sync is final. Everything waiting is rejected, onFatal is called once, nothing is retried.
 *   - Opening puts on disk again what it believes: the newest batch is written once more, because after a failed sync or
 *     a killed process it may be in the page cache only.
 *
 * What opening accepts, mends and refuses:
 *
 *   torn tail         the newest batch is not whole: it is cut off. It was never acknowledged, or the disk lost it: the two
 *                     cannot be told apart for the newest batch of a process that did not close its log
 *   damaged batch     the groups that it touched (the batch's table says which) forget what they knew; those that lack
 *                     something at the end are `damaged`, durably, until they are reset or dropped. When not even the
 *                     table is whole, that is all groups
 *   lost segment      refused: RaftLogError segmentMissing, segmentForeign, segmentHeaderDamaged
 *
 * How large it gets:
 *
 *   logBytesMax       above it garbage collection moves what it can
 *   underPressure     at three quarters of the hard bound: the owner refuses proposals and compacts, whoever still needs the entries
 *   nearlyFull        at seven eighths: nobody should make or take entries; what is under way has room in the rest
 *   logBytesHardMax   never exceeded: a write() with entries is refused (`full`), one that frees space never is
 *
 * Not here: room for a full disk is kept by the store (store/disk_watch.ts), not by the log. A batch itself cannot meet a full
 * disk, its segment is there whole; making the next segment can, and that fails the log when the segment is needed.
 */
export { openRaftLog, SegmentedLog } from './segmented_log.js';
export type { RaftLogOptions } from './segmented_log.js';
export { RaftLogError } from './log_error.js';
export type { RaftLogErrorCode } from './log_error.js';
export { NodeDisk } from './node_disk.js';
