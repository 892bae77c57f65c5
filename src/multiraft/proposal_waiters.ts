import type { Command, ProposalOutcome } from './host.js';

export type ProposalDone = (outcome: ProposalOutcome) => void;

/** An entry that this host proposed and whose fate is awaited. */
export interface ProposedEntry {
  readonly index: number;
  readonly term: number;
  /** The commands as they were encoded; null for a membership change. */
  readonly commands: readonly Command[] | null;
  /** One per command; one for a membership change. */
  readonly dones: readonly ProposalDone[];
  readonly bytes: number;
  /** Tick at which the wait ends as undetermined; 0 while this host leads. */
  deadlineTick: number;
  /** An entry proposed earlier for the same index in an older term, whose fate is still open. */
  older: ProposedEntry | null;
}

/** What all groups without proposals share: a map for each of ten thousand would be heap for nothing. Never written. */
const noEntries = new Map<number, ProposedEntry>();

/**
 * The entries of one group whose fate is awaited, by index.
 *
 * An index can hold several: a leader that lost its place and won it back may propose at an index at
 * which it had proposed before. The older entry is not lost by that alone (another replica that
 * holds it could still be elected), it is lost once an entry of another term was applied at its index.
 */
export class ProposalWaiters {
  private byIndex = noEntries;
  /** Earliest deadline of any entry; 0: none. */
  private earliestDeadlineTick = 0;

  get size(): number {
    return this.byIndex.size;
  }

  add(entry: ProposedEntry): void {
    entry.older = this.byIndex.get(entry.index) ?? null;
    if (this.byIndex === noEntries) this.byIndex = new Map();
    this.byIndex.set(entry.index, entry);
  }

  /** What waits for an index: the newest entry, older ones linked to it. */
  peek(index: number): ProposedEntry | null {
    return this.byIndex.get(index) ?? null;
  }

  /** Takes out what waits for an index: the newest entry, older ones linked to it. */
  take(index: number): ProposedEntry | null {
    const entry = this.byIndex.get(index);
    if (entry === undefined) return null;
    this.byIndex.delete(index);
    return entry;
  }

  /** Takes out all that waits for an index up to and including this one. */
  takeThrough(index: number): ProposedEntry[] {
    return this.takeWhere((entry) => entry.index <= index);
  }

  takeAll(): ProposedEntry[] {
    return this.takeWhere(() => true);
  }

  /** Leadership is gone: whatever has no deadline yet gets this one. */
  leadershipLost(deadlineTick: number): void {
    for (const first of this.byIndex.values()) {
      for (let entry: ProposedEntry | null = first; entry !== null; entry = entry.older) {
        if (entry.deadlineTick === 0) entry.deadlineTick = deadlineTick;
      }
    }
    if (this.byIndex.size > 0 && this.earliestDeadlineTick === 0) this.earliestDeadlineTick = deadlineTick;
  }

  /** Takes out what is past its deadline. Costs nothing while there is none. */
  takeExpired(tick: number): readonly ProposedEntry[] {
    if (this.earliestDeadlineTick === 0 || tick < this.earliestDeadlineTick) return [];
    this.earliestDeadlineTick = 0;
    const expired = this.takeWhere((entry) => entry.deadlineTick !== 0 && entry.deadlineTick <= tick);
    for (const first of this.byIndex.values()) {
      for (let entry: ProposedEntry | null = first; entry !== null; entry = entry.older) {
        const deadline = entry.deadlineTick;
        if (deadline === 0) continue;
        if (this.earliestDeadlineTick === 0 || deadline < this.earliestDeadlineTick)
          this.earliestDeadlineTick = deadline;
      }
    }
    return expired;
  }

  private takeWhere(wanted: (entry: ProposedEntry) => boolean): ProposedEntry[] {
    const taken: ProposedEntry[] = [];
    for (const [index, first] of this.byIndex) {
      let kept: ProposedEntry | null = null;
      let last: ProposedEntry | null = null;
      let next: ProposedEntry | null = first;
      while (next !== null) {
        const entry: ProposedEntry = next;
        next = entry.older;
        entry.older = null;
        if (wanted(entry)) {
          taken.push(entry);
        } else {
          if (last === null) kept = entry;
          else last.older = entry;
          last = entry;
        }
      }
      if (kept === null) this.byIndex.delete(index);
      else if (kept !== first) this.byIndex.set(index, kept);
    }
    return taken;
  }
}
