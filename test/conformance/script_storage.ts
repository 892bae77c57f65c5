import { assert } from '../../src/base/assert.js';
import { emptyConfState } from '../../src/raft/conf_state.js';
import type { ConfState, Entry, HardState, SnapshotMeta } from '../../src/raft/message.js';
import type { EntriesUnavailable, RaftStorage } from '../../src/raft/storage.js';

export class ScriptStorageError extends Error {}

/** The storage model of the conformance files (FORMAT.md section 8). */
export class ScriptStorage implements RaftStorage {
  /** What the state machine could be restored from; the last one is what followers are given. */
  readonly history: SnapshotMeta[];
  private hardState: HardState | null = null;
  private stored: SnapshotMeta;
  private dummyIndex = 0;
  private dummyTerm = 0;
  private log: Entry[] = [];

  constructor(bootstrap: SnapshotMeta | null) {
    this.stored = { index: 0, term: 0, confState: emptyConfState };
    if (bootstrap !== null) this.applySnapshot(bootstrap);
    this.history = [this.stored];
  }

  initialState(): { hardState: HardState | null; confState: ConfState } {
    return { hardState: this.hardState, confState: this.stored.confState };
  }

  firstIndex(): number {
    return this.dummyIndex + 1;
  }

  lastIndex(): number {
    return this.dummyIndex + this.log.length;
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    if (index < this.dummyIndex) return 'compacted';
    if (index === this.dummyIndex) return this.dummyTerm;
    return this.log[index - this.dummyIndex - 1]?.term ?? 'unavailable';
  }

  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable {
    if (lo <= this.dummyIndex) return 'compacted';
    if (hi > this.lastIndex() + 1) return 'unavailable';
    const found = this.log.slice(lo - this.dummyIndex - 1, hi - this.dummyIndex - 1);
    let bytes = 0;
    const fit = found.findIndex((entry, i) => (bytes += entry.data.length) > maxBytes && i > 0);
    return fit === -1 ? found : found.slice(0, fit);
  }

  snapshot(): SnapshotMeta | null {
    return this.history[this.history.length - 1] ?? null;
  }

  setHardState(hardState: HardState): void {
    this.hardState = hardState;
  }

  getHardState(): HardState | null {
    return this.hardState;
  }

  applySnapshot(snapshot: SnapshotMeta): void {
    if (snapshot.index <= this.stored.index) {
      throw new ScriptStorageError('requested index is older than the existing snapshot');
    }
    this.stored = snapshot;
    this.dummyIndex = snapshot.index;
    this.dummyTerm = snapshot.term;
    this.log = [];
  }

  append(entries: readonly Entry[]): void {
    const fresh = entries.filter((entry) => entry.index > this.dummyIndex);
    const [first] = fresh;
    if (first === undefined) return;
    assert(first.index <= this.lastIndex() + 1, 'storage: no gap in the log');
    this.log.length = first.index - this.dummyIndex - 1;
    this.log.push(...fresh);
  }

  compact(index: number): void {
    if (index <= this.dummyIndex) throw new ScriptStorageError('requested index is unavailable due to compaction');
    assert(index <= this.lastIndex(), 'storage: only what is there is compacted');
    const term = this.term(index);
    assert(typeof term === 'number', 'storage: the term of a stored entry is known');
    this.log.splice(0, index - this.dummyIndex);
    this.dummyIndex = index;
    this.dummyTerm = term;
  }

  all(): readonly Entry[] {
    return this.log;
  }
}
