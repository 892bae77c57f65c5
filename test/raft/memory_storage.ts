import { assert, must } from '../../src/base/assert.js';
import type { ConfState, Entry, HardState, SnapshotMeta } from '../../src/raft/message.js';
import type { EntriesUnavailable, RaftStorage } from '../../src/raft/storage.js';

/** A RaftStorage in memory, as a host would keep it: what was given to it is what survives a restart. */
export class MemoryRaftStorage implements RaftStorage {
  hardState: HardState | null = null;
  /** Configuration at `appliedConf.index`, kept by the state machine. */
  confState: ConfState;
  /** What snapshot() answers; null: none ready. */
  snapshotMeta: SnapshotMeta | null = null;
  /** Entries below this index answer `pending`. */
  pendingBelow = 0;
  private baseIndex: number;
  private baseTerm: number;
  private log: Entry[] = [];

  constructor(confState: ConfState, baseIndex = 0, baseTerm = 0) {
    this.confState = confState;
    this.baseIndex = baseIndex;
    this.baseTerm = baseTerm;
  }

  initialState(): { hardState: HardState | null; confState: ConfState } {
    return { hardState: this.hardState, confState: this.confState };
  }

  firstIndex(): number {
    return this.baseIndex + 1;
  }

  lastIndex(): number {
    return this.baseIndex + this.log.length;
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    if (index < this.baseIndex) return 'compacted';
    if (index === this.baseIndex) return this.baseTerm;
    return this.log[index - this.baseIndex - 1]?.term ?? 'unavailable';
  }

  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable {
    if (lo <= this.baseIndex) return 'compacted';
    if (hi > this.lastIndex() + 1) return 'unavailable';
    if (lo < this.pendingBelow) return 'pending';
    const found = this.log.slice(lo - this.baseIndex - 1, hi - this.baseIndex - 1);
    let bytes = 0;
    const fit = found.findIndex((entry, i) => (bytes += entry.data.length) > maxBytes && i > 0);
    return fit === -1 ? found : found.slice(0, fit);
  }

  snapshot(): SnapshotMeta | null {
    return this.snapshotMeta;
  }

  append(entries: readonly Entry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    assert(first.index > this.baseIndex && first.index <= this.lastIndex() + 1, 'storage: no gap');
    this.log.length = first.index - this.baseIndex - 1;
    this.log.push(...entries);
  }

  compact(index: number): void {
    const term = this.term(index);
    assert(typeof term === 'number', 'storage: compacts what it has');
    this.log.splice(0, index - this.baseIndex);
    this.baseIndex = index;
    this.baseTerm = term;
  }

  reset(snapshot: SnapshotMeta): void {
    this.baseIndex = snapshot.index;
    this.baseTerm = snapshot.term;
    this.log = [];
    this.confState = snapshot.confState;
  }

  entry(index: number): Entry {
    return must(this.log[index - this.baseIndex - 1], `entry ${String(index)}`);
  }

  all(): readonly Entry[] {
    return this.log;
  }

  /** A copy, as found after a crash. */
  clone(): MemoryRaftStorage {
    const copy = new MemoryRaftStorage(this.confState, this.baseIndex, this.baseTerm);
    copy.log = [...this.log];
    copy.hardState = this.hardState;
    copy.snapshotMeta = this.snapshotMeta;
    return copy;
  }
}
