import { assert } from '../../src/base/assert.js';
import type { ConfState, Entry, HardState, SnapshotMeta } from '../../src/raft/message.js';
import type { EntriesUnavailable, RaftStorage } from '../../src/raft/storage.js';

/** Entries kept behind the last one; what is older is compacted. All of a benchmark's followers stay far closer. */
const keptEntries = 8192;

/** A Raft log in memory that forgets old entries, so that a run's length does not change its cost. */
export class MemoryRaftLog implements RaftStorage {
  private readonly confState: ConfState;
  private readonly log: Entry[] = [];
  private baseIndex = 0;
  private baseTerm = 0;

  constructor(confState: ConfState) {
    this.confState = confState;
  }

  initialState(): { hardState: HardState | null; confState: ConfState } {
    return { hardState: null, confState: this.confState };
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
    const from = lo - this.baseIndex - 1;
    let bytes = 0;
    let to = from;
    for (const end = hi - this.baseIndex - 1; to < end; to++) {
      bytes += this.log[to]?.data.length ?? 0;
      if (bytes > maxBytes && to > from) break;
    }
    return this.log.slice(from, to);
  }

  snapshot(): SnapshotMeta | null {
    return null;
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index === this.lastIndex() + 1, 'a benchmark has one leader');
    for (const entry of entries) this.log.push(entry);
    if (this.log.length > keptEntries * 2) this.compact(this.log.length - keptEntries);
  }

  private compact(count: number): void {
    this.baseTerm = this.log[count - 1]?.term ?? 0;
    this.baseIndex += count;
    this.log.splice(0, count);
  }
}
