import { must } from '../base/assert.js';
import type { ConfState, Entry, HardState, SnapshotMeta } from '../raft/message.js';
import type { EntriesUnavailable, RaftStorage } from '../raft/storage.js';
import { RaftLogError } from '../raftlog/log_error.js';
import type { GroupLog } from '../raftlog/raft_log.js';
import { groupLogLoadsMax } from './limits.js';

/** What the adapter asks of the peer around it. */
export interface StorageOwner {
  /** Entries came into memory: the core should ask again. */
  entriesLoaded(): void;
  /** What a snapshot taken now would stand for; null: none can be sent now. */
  snapshotMeta(): SnapshotMeta | null;
  /** Entries on disk are damaged: the group cannot go on. */
  damaged(): void;
  fail(error: unknown): void;
}

/**
 * A group's part of the shared log as the core wants to see it. Entries that are on disk alone are
 * loaded once per range, a few ranges at a time; whenever one has come the core asks again for all it wants.
 */
export class StorageAdapter implements RaftStorage {
  private readonly log: GroupLog;
  private readonly owner: StorageOwner;
  /** Handed out once. */
  private initial: { hardState: HardState | null; confState: ConfState } | null;
  private loading: Set<number> | null = null;

  /** applied raises the commit index: it is not synced with every advance, and what is applied was committed. */
  constructor(log: GroupLog, owner: StorageOwner, applied: number, confState: ConfState) {
    this.log = log;
    this.owner = owner;
    const stored = log.hardState;
    const hardState = stored === null ? null : { ...stored, commit: Math.max(stored.commit, applied) };
    this.initial = { hardState, confState };
  }

  initialState(): { hardState: HardState | null; confState: ConfState } {
    const initial = must(this.initial, 'the initial state, which is asked for once');
    this.initial = null;
    return initial;
  }

  firstIndex(): number {
    return this.log.firstIndex();
  }

  lastIndex(): number {
    return this.log.lastIndex();
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    return this.log.term(index);
  }

  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable {
    const found = this.log.entries(lo, hi, maxBytes);
    if (found === 'pending') this.load(lo, hi, maxBytes);
    return found;
  }

  snapshot(): SnapshotMeta | null {
    return this.owner.snapshotMeta();
  }

  private load(lo: number, hi: number, maxBytes: number): void {
    this.loading ??= new Set();
    if (this.loading.has(lo) || this.loading.size >= groupLogLoadsMax) return;
    this.loading.add(lo);
    this.log.load(lo, hi, maxBytes).then(
      () => {
        this.loading?.delete(lo);
        this.owner.entriesLoaded();
      },
      (error: unknown) => this.loadFailed(lo, error),
    );
  }

  private loadFailed(lo: number, error: unknown): void {
    this.loading?.delete(lo);
    const code = error instanceof RaftLogError ? error.code : null;
    // Compacted or replaced while they were being read: the core asks again and is told so.
    if (code === 'entriesGone') this.owner.entriesLoaded();
    else if (code === 'entryDamaged') this.owner.damaged();
    else this.owner.fail(error);
  }
}
