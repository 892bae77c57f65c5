import { assert } from '../../base/assert.js';
import { noEntries } from '../message.js';
import type { Entry, SnapshotMeta } from '../message.js';
import type { RaftStorage } from '../storage.js';
import { countThatFit, entriesBytes } from './entry_bytes.js';
import { Unstable } from './unstable.js';

/**
 * The log as the core sees it: storage up to unstable.offset, unstable entries from there on.
 *
 *     firstIndex ... applied <= applying <= commit <= lastIndex
 *
 * applying: handed out to the state machine. commit never moves back.
 */
export class RaftLog {
  readonly unstable: Unstable;
  private readonly storage: RaftStorage;
  private readonly applyingBytesMax: number;
  private commitIndex: number;
  private applyingIndex: number;
  private appliedIndex: number;
  /** Bytes handed out to the state machine and not applied yet. */
  private applyingBytes = 0;
  /** Nothing more is handed out until something is applied. */
  private applyingPaused = false;
  /** The next committed entries are being loaded from disk. */
  private committedLoading = false;

  constructor(storage: RaftStorage, applyingBytesMax: number) {
    this.storage = storage;
    this.applyingBytesMax = applyingBytesMax;
    this.unstable = new Unstable(storage.lastIndex() + 1);
    // What storage no longer has was compacted, thus applied, thus committed.
    this.commitIndex = storage.firstIndex() - 1;
    this.applyingIndex = this.commitIndex;
    this.appliedIndex = this.commitIndex;
  }

  get commit(): number {
    return this.commitIndex;
  }

  get applying(): number {
    return this.applyingIndex;
  }

  get applied(): number {
    return this.appliedIndex;
  }

  /** Entries up to here are durable. */
  get stableIndex(): number {
    return this.unstable.offset - 1;
  }

  firstIndex(): number {
    const snapshot = this.unstable.snapshot;
    return snapshot === null ? this.storage.firstIndex() : snapshot.index + 1;
  }

  lastIndex(): number {
    return this.unstable.lastIndex;
  }

  /** Null: compacted, or not there yet. */
  term(index: number): number | null {
    const unstableTerm = this.unstable.term(index);
    if (unstableTerm !== null) return unstableTerm;
    if (index + 1 < this.firstIndex() || index > this.lastIndex()) return null;
    const term = this.storage.term(index);
    return typeof term === 'number' ? term : null;
  }

  lastTerm(): number {
    const term = this.term(this.lastIndex());
    assert(term !== null, 'raft: the term of the last entry is known');
    return term;
  }

  matchesTerm(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  /** Raft §5.4.1: the later last term, or the same and at least as long. */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    const own = this.lastTerm();
    return lastTerm > own || (lastTerm === own && lastIndex >= this.lastIndex());
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex() + 1, 'raft: a leader appends at the end');
    this.unstable.append(entry);
  }

  /**
   * Takes a leader's entries that follow (index, term), replacing what conflicts (Raft §5.3). Null when the log has
   * no such entry; otherwise the index of the last entry that is known to be the leader's.
   */
  appendFromLeader(index: number, term: number, entries: readonly Entry[]): number | null {
    if (!this.matchesTerm(index, term)) return null;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i];
      if (entry === undefined || this.matchesTerm(entry.index, entry.term)) continue;
      assert(entry.index > this.commitIndex, () => `raft: committed entry ${String(entry.index)} is never replaced`);
      this.unstable.replaceFrom(entries, i);
      break;
    }
    return index + entries.length;
  }

  /**
   * The largest index not above `index` whose term is at most `term`, with that term: where another log, in which
   * entry terms from `index` down are at most `term`, may agree with this one. Term 0: not known any more.
   */
  findConflictByTerm(index: number, term: number): { index: number; term: number } {
    for (let i = index; i > 0; i--) {
      const own = this.term(i);
      if (own === null) return { index: i, term: 0 };
      if (own <= term) return { index: i, term: own };
    }
    return { index: 0, term: 0 };
  }

  commitTo(index: number): void {
    if (index <= this.commitIndex) return;
    assert(index <= this.lastIndex(), () => `raft: commit ${String(index)} is in the log`);
    this.commitIndex = index;
  }

  /** Commits up to index if that entry is of this term (Raft §5.4.2); true if the commit index moved. */
  maybeCommit(index: number, term: number): boolean {
    if (index <= this.commitIndex || !this.matchesTerm(index, term)) return false;
    this.commitTo(index);
    return true;
  }

  restore(snapshot: SnapshotMeta): void {
    assert(snapshot.index > this.commitIndex, 'raft: a snapshot never takes the log back');
    this.commitIndex = snapshot.index;
    this.unstable.restore(snapshot);
  }

  /** Starting up: what the state machine has, and what was known to be committed. */
  startAt(commit: number, applied: number): void {
    this.commitTo(commit);
    assert(applied <= this.commitIndex, 'raft: only committed entries were applied');
    if (applied > this.appliedIndex) {
      this.appliedIndex = applied;
      this.applyingIndex = applied;
    }
  }

  private appliableIndex(allowUnstable: boolean): number {
    return allowUnstable ? this.commitIndex : Math.min(this.commitIndex, this.stableIndex);
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    if (this.applyingPaused || this.committedLoading || this.unstable.snapshot !== null) return false;
    return this.applyingIndex < this.appliableIndex(allowUnstable);
  }

  /** Committed entries to hand out. None also when they have to be loaded first. */
  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return noEntries;
    const budget = this.applyingBytesMax - this.applyingBytes;
    const found = this.slice(this.applyingIndex + 1, this.appliableIndex(allowUnstable) + 1, budget);
    assert(found !== 'compacted', 'raft: no entry is compacted before it is applied');
    if (found === 'pending') {
      this.committedLoading = true;
      return noEntries;
    }
    return found;
  }

  acceptApplying(entries: readonly Entry[], allowUnstable: boolean): void {
    const last = entries[entries.length - 1];
    if (last === undefined) return;
    assert(last.index > this.applyingIndex, 'raft: committed entries are handed out once');
    this.applyingIndex = last.index;
    this.applyingBytes += entriesBytes(entries);
    // A page that ended early did so because the budget is used up but for less than an entry.
    this.applyingPaused =
      this.applyingBytes >= this.applyingBytesMax || this.applyingIndex < this.appliableIndex(allowUnstable);
  }

  appliedTo(index: number, bytes: number): void {
    assert(index <= this.commitIndex, () => `raft: applied ${String(index)} is committed`);
    assert(index >= this.appliedIndex, () => `raft: applied ${String(index)} does not move back`);
    this.appliedIndex = index;
    this.applyingIndex = Math.max(this.applyingIndex, index);
    this.applyingBytes = Math.max(0, this.applyingBytes - bytes);
    this.applyingPaused = this.applyingBytes >= this.applyingBytesMax;
  }

  entriesLoaded(): void {
    this.committedLoading = false;
  }

  /** What a follower that needs a snapshot can be given. */
  snapshot(): SnapshotMeta | null {
    return this.unstable.snapshot ?? this.storage.snapshot();
  }

  /** Entries [lo, hi), as many as fit bytesMax but at least one. */
  slice(lo: number, hi: number, bytesMax: number): readonly Entry[] | 'compacted' | 'pending' {
    assert(hi <= this.lastIndex() + 1, 'raft: entries asked for are in the log');
    if (lo < this.firstIndex()) return 'compacted';
    if (lo >= hi) return noEntries;
    const offset = this.unstable.offset;
    if (lo >= offset) return this.unstableSlice(lo, hi, bytesMax);
    const stableHi = Math.min(hi, offset);
    const stored = this.storage.entries(lo, stableHi, bytesMax);
    assert(stored !== 'unavailable', () => `raft: entry ${String(lo)} is in storage`);
    if (typeof stored === 'string') return stored;
    const fit = countThatFit(stored, 0, stored.length, bytesMax);
    const head = fit === stored.length ? stored : stored.slice(0, fit);
    if (lo + fit < stableHi || hi <= offset) return head;
    const left = bytesMax - entriesBytes(head);
    const tail = this.unstableSlice(offset, hi, left);
    const first = tail[0];
    return first === undefined || entriesBytes([first]) > left ? head : [...head, ...tail];
  }

  private unstableSlice(lo: number, hi: number, bytesMax: number): readonly Entry[] {
    const from = lo - this.unstable.offset;
    const to = hi - this.unstable.offset;
    const entries = this.unstable.entries;
    const count = bytesMax === Infinity ? to - from : countThatFit(entries, from, to, bytesMax);
    return entries.slice(from, from + count);
  }
}
