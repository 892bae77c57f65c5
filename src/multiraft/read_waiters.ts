import type { ReadFailure } from './host.js';

export type ReadDone = (failure: ReadFailure | null) => void;

interface ReadGroup {
  readonly dones: readonly ReadDone[];
  readonly deadlineTick: number;
}

interface IndexedReads extends ReadGroup {
  readonly index: number;
}

/**
 * The linearizable reads of one group, in three stages:
 *
 *     request ─▶ gathering ─▶ asked (a round with a fresh context) ─▶ indexed (waits for applied) ─▶ done
 *
 * A read joins a round only before the round starts, so its read point is never older than its request.
 */
export class ReadWaiters {
  private gathering: ReadDone[] = [];
  private readonly asked = new Map<number, ReadGroup>();
  private indexed: IndexedReads[] = [];
  private total = 0;

  /** Reads that are not answered. */
  get count(): number {
    return this.total;
  }

  get rounds(): number {
    return this.asked.size;
  }

  get gathered(): boolean {
    return this.gathering.length > 0;
  }

  add(done: ReadDone): void {
    this.gathering.push(done);
    this.total++;
  }

  /** Moves what gathered into a round of this context, and says how many reads that are. */
  startRound(context: number, deadlineTick: number): number {
    const dones = this.gathering;
    this.asked.set(context, { dones, deadlineTick });
    this.gathering = [];
    return dones.length;
  }

  /** The round's read index is known: its reads go on once that is applied. False: there is no such round (any more). */
  roundAnswered(context: number, index: number, applied: number): boolean {
    const round = this.asked.get(context);
    if (round === undefined) return false;
    this.asked.delete(context);
    if (index <= applied) this.settle(round.dones, null);
    else this.indexed.push({ dones: round.dones, deadlineTick: round.deadlineTick, index });
    return true;
  }

  roundFailed(context: number, failure: ReadFailure): void {
    const round = this.asked.get(context);
    if (round === undefined) return;
    this.asked.delete(context);
    this.settle(round.dones, failure);
  }

  appliedTo(applied: number): void {
    if (this.indexed.length === 0) return;
    const before = this.indexed;
    this.indexed = [];
    const due: IndexedReads[] = [];
    for (const reads of before) (reads.index <= applied ? due : this.indexed).push(reads);
    for (const reads of due) this.settle(reads.dones, null);
  }

  /** Fails the rounds on their way; reads whose index is known stay good whoever leads. */
  failAsked(failure: ReadFailure): void {
    const rounds = [...this.asked.values()];
    this.asked.clear();
    for (const round of rounds) this.settle(round.dones, failure);
  }

  failAll(failure: ReadFailure): void {
    const indexed = this.indexed;
    this.indexed = [];
    const gathering = this.gathering;
    this.gathering = [];
    this.failAsked(failure);
    this.settle(gathering, failure);
    for (const reads of indexed) this.settle(reads.dones, failure);
  }

  expire(tick: number, failure: ReadFailure): void {
    if (this.asked.size === 0 && this.indexed.length === 0) return;
    for (const [context, round] of this.asked) {
      if (round.deadlineTick <= tick) this.roundFailed(context, failure);
    }
    if (!this.indexed.some((reads) => reads.deadlineTick <= tick)) return;
    const before = this.indexed;
    this.indexed = before.filter((reads) => reads.deadlineTick > tick);
    for (const reads of before) if (reads.deadlineTick <= tick) this.settle(reads.dones, failure);
  }

  private settle(dones: readonly ReadDone[], failure: ReadFailure | null): void {
    this.total -= dones.length;
    for (const done of dones) done(failure);
  }
}
