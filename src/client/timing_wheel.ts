import { wheelSlots, wheelTickMs } from './limits.js';

/** What a wheel holds. An entry is in at most one wheel. */
export interface WheelEntry {
  /** Where it was put; the wheel's own business. */
  wheelNext: WheelEntry | null;
  wheelPrevious: WheelEntry | null;
  /** The tick at which it is due; -1: not in a wheel. */
  dueTick: number;
}

/**
 * A hashed timing wheel: add, remove and expire in constant time for any number of deadlines, without a timer or an
 * allocation for each. Entries fire on the first advance() past their time, never before it.
 */
export class TimingWheel<T extends WheelEntry> {
  readonly #heads: (WheelEntry | null)[] = new Array<WheelEntry | null>(wheelSlots).fill(null);
  #tick: number;
  #size = 0;

  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / wheelTickMs);
  }

  get size(): number {
    return this.#size;
  }

  add(entry: T, dueMs: number): void {
    // A tick that was already walked is never walked again: at the earliest the next one.
    entry.dueTick = Math.max(Math.ceil(dueMs / wheelTickMs), this.#tick + 1);
    const slot = entry.dueTick & (wheelSlots - 1);
    const head = this.#heads[slot] ?? null;
    entry.wheelPrevious = null;
    entry.wheelNext = head;
    if (head !== null) head.wheelPrevious = entry;
    this.#heads[slot] = entry;
    this.#size++;
  }

  /** Idempotent. */
  remove(entry: T): void {
    if (entry.dueTick < 0) return;
    const { wheelNext, wheelPrevious } = entry;
    if (wheelNext !== null) wheelNext.wheelPrevious = wheelPrevious;
    if (wheelPrevious !== null) wheelPrevious.wheelNext = wheelNext;
    else this.#heads[entry.dueTick & (wheelSlots - 1)] = wheelNext;
    entry.wheelNext = null;
    entry.wheelPrevious = null;
    entry.dueTick = -1;
    this.#size--;
  }

  /** Takes out what is due at `nowMs` and calls `expire` with each; expire may add and remove. */
  advance(nowMs: number, expire: (entry: T) => void): void {
    const target = Math.floor(nowMs / wheelTickMs);
    // After a long stall one walk over all slots finds everything.
    const from = Math.max(this.#tick + 1, target - wheelSlots + 1);
    if (target > this.#tick) this.#tick = target;
    const due: T[] = [];
    for (let tick = from; tick <= target; tick++) {
      let entry = this.#heads[tick & (wheelSlots - 1)] ?? null;
      while (entry !== null) {
        const next: WheelEntry | null = entry.wheelNext;
        if (entry.dueTick <= target) due.push(entry as T);
        entry = next;
      }
    }
    for (const entry of due) {
      // An earlier call to expire may have removed it.
      if (entry.dueTick < 0 || entry.dueTick > target) continue;
      this.remove(entry);
      expire(entry);
    }
  }

  /** Takes out everything. */
  clear(): T[] {
    const all: T[] = [];
    for (const head of this.#heads) {
      for (let entry = head; entry !== null; entry = entry.wheelNext) all.push(entry as T);
    }
    for (const entry of all) this.remove(entry);
    return all;
  }
}
