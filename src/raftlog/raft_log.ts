import type { BucketCounts } from '../base/bucket_counts.js';
import type { Entry, HardState } from '../raft/message.js';
import type { EntriesUnavailable } from '../raft/storage.js';

/** What one batch does to one group. */
export type LogRecord =
  /** Entries replace everything from entries[0].index on; no gap. A null hardState leaves it as it was. */
  | {
      readonly kind: 'append';
      readonly groupId: number;
      readonly hardState: HardState | null;
      readonly entries: readonly Entry[];
    }
  /** Entries up to and including index are no longer needed. term is that of index. */
  | { readonly kind: 'compact'; readonly groupId: number; readonly index: number; readonly term: number }
  /** Makes the group, or drops all of its entries: the log now begins after index. */
  | {
      readonly kind: 'reset';
      readonly groupId: number;
      readonly index: number;
      readonly term: number;
      readonly hardState: HardState | null;
    }
  /** Forgets the group. */
  | { readonly kind: 'drop'; readonly groupId: number };

/** A store's one Raft log, shared by all of its groups. */
export interface RaftLog {
  /**
   * Takes records in order. The groups' in-memory state changes at once; the promise resolves when
   * this batch and all earlier ones are synced to disk. Batches given while a sync is running go out together
   * in the next one (group commit). Rejects with RaftLogError `failed` when the log has failed for good; then every later
   * call rejects too. Rejects with `full`, having taken nothing, when there are entries among the records and the log's files have
   * reached their bound: the log goes on, and takes entries again when compactions or drops have made room.
   */
  write(records: readonly LogRecord[]): Promise<void>;
  /** False: a write() of these records now would be refused as `full`. */
  takes(records: readonly LogRecord[]): boolean;
  /** So near the bound that proposals and other leaders' entries should be refused. Cheap: looked at for each of them. */
  readonly nearlyFull: boolean;
  /** A group's view, or undefined if the log does not know the group. */
  group(groupId: number): GroupLog | undefined;
  groupIds(): IterableIterator<number>;
  /**
   * Groups that lost entries or hard state to damage on disk. Such a group has no entries, its hard state may be
   * old: it must neither vote nor lead until a `reset` (or `drop`) record, which clears the mark. Survives reopening.
   */
  readonly damaged: ReadonlySet<number>;
  /** Monotonic time since which something waits for its sync, Runtime.nowMs; null: nothing waits. Cheap: looked at every tick. */
  readonly pendingSinceMs: number | null;
  stats(): RaftLogStats;
  /** Waits for what was written, then closes. */
  close(): Promise<void>;
}

/** A group's part of the log, as of the last write() call. */
export interface GroupLog {
  readonly groupId: number;
  readonly hardState: HardState | null;
  /** Index of the first entry kept; firstIndex - 1 is the compacted or reset index, its term is known. */
  firstIndex(): number;
  lastIndex(): number;
  term(index: number): number | 'compacted' | 'unavailable';
  /** From memory only; `pending` when some of the first entries asked for are on disk alone: call load(). */
  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable;
  /** Brings entries [lo, hi) (as many as fit maxBytes, at least one) into memory, off the event loop. */
  load(lo: number, hi: number, maxBytes: number): Promise<void>;
  /** Bytes of entry data kept for this group. */
  bytes(): number;
}

export interface RaftLogStats {
  readonly groups: number;
  readonly segments: number;
  readonly diskBytes: number;
  /** What diskBytes never exceeds. */
  readonly diskBytesMax: number;
  /**
   * The segments hold so much that entries will soon be refused: the owner should take no new proposals and compact,
   * forcing out what followers still need. Clears by itself.
   */
  readonly underPressure: boolean;
  /** Bytes of the entries that groups keep. Garbage collection cannot get the log below it; compaction can. */
  readonly liveBytes: number;
  readonly cacheBytes: number;
  /** Since open. */
  readonly syncs: number;
  readonly batches: number;
  readonly entries: number;
  readonly bytesWritten: number;
  /** Duration of all syncs since open, and bytes of the batches that they wrote. */
  readonly syncSeconds: BucketCounts;
  readonly batchBytes: BucketCounts;
  /** Duration of recent syncs, milliseconds. */
  readonly syncMsP50: number;
  readonly syncMsP99: number;
  /** Monotonic time of the last sync that succeeded, Runtime.nowMs. */
  readonly lastSyncAtMs: number;
}
