import type { ConfState, Entry, HardState, SnapshotMeta } from './message.js';

/** Why entries cannot be had right now. `pending`: on disk, not in memory; the host loads them and asks again. */
export type EntriesUnavailable = 'compacted' | 'unavailable' | 'pending';

/**
 * What the core reads of its own log. Synchronous and free of I/O: an implementation that has
 * entries on disk only answers `pending`, starts loading them, and calls RawNode.entriesLoaded() later.
 */
export interface RaftStorage {
  initialState(): { hardState: HardState | null; confState: ConfState };
  /** Index of the first entry that is kept; the term of firstIndex - 1 is known. */
  firstIndex(): number;
  /** Index of the last entry in stable storage (appended and handed to the log; see RaftLog). */
  lastIndex(): number;
  /** Term of the entry at index, for firstIndex - 1 <= index <= lastIndex. Never pending. */
  term(index: number): number | 'compacted' | 'unavailable';
  /**
   * Entries [lo, hi), as many as fit maxBytes but at least one. `lo` below firstIndex: compacted.
   * Bytes of an entry are its data length.
   */
  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable;
  /** What a follower that needs a snapshot can be given; null: not ready yet, ask later. */
  snapshot(): SnapshotMeta | null;
}
