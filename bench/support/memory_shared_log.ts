import { BucketCounts } from '../../src/base/bucket_counts.js';
import type { Runtime } from '../../src/base/runtime.js';
import { must } from '../../src/base/assert.js';
import type { Entry, HardState } from '../../src/raft/message.js';
import type { EntriesUnavailable } from '../../src/raft/storage.js';
import type { GroupLog, LogRecord, RaftLog, RaftLogStats } from '../../src/raftlog/raft_log.js';

/** A host's Raft log without a disk: whatever is written counts as synced in the next turn. For the cost of what is above it. */
export class MemorySharedLog implements RaftLog {
  /** Nothing here is written to a disk. */
  readonly pendingSinceMs = null;
  /** It has no bound. */
  readonly nearlyFull = false;
  readonly damaged: ReadonlySet<number> = new Set();
  private readonly runtime: Runtime;
  private readonly groups = new Map<number, MemoryGroupLog>();
  private waiting: (() => void)[] = [];
  private batches = 0;
  private entries = 0;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  write(records: readonly LogRecord[]): Promise<void> {
    this.batches++;
    for (const record of records) this.take(record);
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      if (this.waiting.length === 1) this.runtime.nextTurn(() => this.synced());
    });
  }

  takes(): boolean {
    return true;
  }

  private take(record: LogRecord): void {
    switch (record.kind) {
      case 'append':
        this.entries += record.entries.length;
        must(this.groups.get(record.groupId), 'group').append(record.entries, record.hardState);
        return;
      case 'compact':
        must(this.groups.get(record.groupId), 'group').compact(record.index, record.term);
        return;
      case 'reset':
        this.groups.set(
          record.groupId,
          new MemoryGroupLog(record.groupId, record.index, record.term, record.hardState),
        );
        return;
      case 'drop':
        this.groups.delete(record.groupId);
    }
  }

  private synced(): void {
    const due = this.waiting;
    this.waiting = [];
    for (const resolve of due) resolve();
  }

  group(groupId: number): GroupLog | undefined {
    return this.groups.get(groupId);
  }

  groupIds(): IterableIterator<number> {
    return this.groups.keys();
  }

  stats(): RaftLogStats {
    return {
      groups: this.groups.size,
      segments: 0,
      diskBytes: 0,
      diskBytesMax: Number.MAX_SAFE_INTEGER,
      underPressure: false,
      liveBytes: 0,
      cacheBytes: 0,
      syncs: this.batches,
      batches: this.batches,
      entries: this.entries,
      bytesWritten: 0,
      syncSeconds: new BucketCounts([1]),
      batchBytes: new BucketCounts([1]),
      syncMsP50: 0,
      syncMsP99: 0,
      lastSyncAtMs: this.runtime.nowMs(),
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class MemoryGroupLog implements GroupLog {
  readonly groupId: number;
  hardState: HardState | null;
  private base: number;
  private baseTerm: number;
  private readonly list: Entry[] = [];

  constructor(groupId: number, index: number, term: number, hardState: HardState | null) {
    this.groupId = groupId;
    this.base = index;
    this.baseTerm = term;
    this.hardState = hardState;
  }

  append(entries: readonly Entry[], hardState: HardState | null): void {
    if (hardState !== null) this.hardState = hardState;
    const first = entries[0];
    if (first === undefined) return;
    if (first.index <= this.lastIndex()) this.list.length = first.index - this.base - 1;
    for (const entry of entries) this.list.push(entry);
  }

  compact(index: number, term: number): void {
    this.list.splice(0, index - this.base);
    this.base = index;
    this.baseTerm = term;
  }

  firstIndex(): number {
    return this.base + 1;
  }

  lastIndex(): number {
    return this.base + this.list.length;
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    if (index < this.base) return 'compacted';
    if (index === this.base) return this.baseTerm;
    return this.list[index - this.base - 1]?.term ?? 'unavailable';
  }

  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable {
    if (lo <= this.base) return 'compacted';
    const from = lo - this.base - 1;
    const end = Math.min(hi - this.base - 1, this.list.length);
    let bytes = 0;
    let to = from;
    for (; to < end; to++) {
      bytes += this.list[to]?.data.length ?? 0;
      if (bytes > maxBytes && to > from) break;
    }
    return this.list.slice(from, to);
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  bytes(): number {
    let bytes = 0;
    for (const entry of this.list) bytes += entry.data.length;
    return bytes;
  }
}
