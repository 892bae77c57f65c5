import { assert } from '../../base/assert.js';
import { noEntries } from '../message.js';
import type { Entry, SnapshotMeta } from '../message.js';

/**
 * The part of the log that is not known to be durable: entries from `offset` on, and possibly a
 * snapshot that replaces the whole log before `offset`. What lies before `inProgress` was handed out to be written.
 *
 *      stable (storage)   │ handed out │ not handed out yet
 *     ────────────────────┼────────────┼───────────────────
 *                       offset     inProgress            end
 */
export class Unstable {
  private list: Entry[] = [];
  private first: number;
  private handedOut: number;
  private pendingSnapshot: SnapshotMeta | null = null;
  private snapshotHandedOut = false;

  constructor(offset: number) {
    this.first = offset;
    this.handedOut = offset;
  }

  /** Index of the first entry here, or of the next one to come. */
  get offset(): number {
    return this.first;
  }

  /** The snapshot that is not yet durable, handed out or not. */
  get snapshot(): SnapshotMeta | null {
    return this.pendingSnapshot;
  }

  get entries(): readonly Entry[] {
    return this.list;
  }

  get isEmpty(): boolean {
    return this.list.length === 0;
  }

  get lastIndex(): number {
    return this.first + this.list.length - 1;
  }

  /** Term of an entry here or of the snapshot; null if it is neither. */
  term(index: number): number | null {
    if (index >= this.first) return this.list[index - this.first]?.term ?? null;
    return this.pendingSnapshot?.index === index ? this.pendingSnapshot.term : null;
  }

  hasNextEntries(): boolean {
    return this.handedOut <= this.lastIndex;
  }

  /** Entries that were not handed out yet. */
  nextEntries(): readonly Entry[] {
    return this.hasNextEntries() ? this.list.slice(this.handedOut - this.first) : noEntries;
  }

  /** The snapshot, if it was not handed out yet. */
  nextSnapshot(): SnapshotMeta | null {
    return this.snapshotHandedOut ? null : this.pendingSnapshot;
  }

  /** Everything here was handed out to be written. */
  acceptInProgress(): void {
    this.handedOut = this.lastIndex + 1;
    if (this.pendingSnapshot !== null) this.snapshotHandedOut = true;
  }

  /**
   * Entries up to index, the last of this term, are durable. Ignored if the entry there is another one by now,
   * or is known to be durable already: the write that this reports was overtaken.
   */
  stableTo(index: number, term: number): void {
    if (index < this.first || this.term(index) !== term) return;
    assert(index < this.handedOut, 'raft: only entries that were handed out become durable');
    this.list = index === this.lastIndex ? [] : this.list.slice(index + 1 - this.first);
    this.first = index + 1;
  }

  /** The snapshot is durable. */
  stableSnapshotTo(index: number): void {
    if (this.pendingSnapshot?.index !== index) return;
    this.pendingSnapshot = null;
    this.snapshotHandedOut = false;
  }

  /** The log begins anew after the snapshot. */
  restore(snapshot: SnapshotMeta): void {
    this.list = [];
    this.first = snapshot.index + 1;
    this.handedOut = this.first;
    this.pendingSnapshot = snapshot;
    this.snapshotHandedOut = false;
  }

  append(entry: Entry): void {
    this.list.push(entry);
  }

  /** Puts entries[from..] in place of everything from their first index on. No gap. */
  replaceFrom(entries: readonly Entry[], from: number): void {
    const start = entries[from]?.index ?? this.lastIndex + 1;
    assert(start <= this.lastIndex + 1, 'raft: no gap in the log');
    if (start < this.first) {
      // Entries that are durable are replaced; these here with them.
      this.list = [];
      this.first = start;
    } else if (start <= this.lastIndex) {
      this.list.length = start - this.first;
    }
    this.handedOut = Math.min(this.handedOut, start);
    for (let i = from; i < entries.length; i++) {
      const entry = entries[i];
      if (entry !== undefined) this.list.push(entry);
    }
  }
}
