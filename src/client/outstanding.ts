import { assert } from '../base/assert.js';
import { outstandingSlotsMax } from './limits.js';
import type { Operation } from './operation.js';

/**
 * The operations of one stream that wait for their answers, by id. An id is a slot and how often the slot was used, so
 * that a late answer never meets the slot's next operation. Not a Map: a Map that is filled and emptied all the
 * time keeps its former tables linked, which drags every operation into the old generation.
 */
export class OutstandingOperations {
  readonly #operations: (Operation | null)[] = [];
  readonly #uses: number[] = [];
  readonly #free: number[] = [];

  /** The id that the next put() gives. */
  get nextId(): number {
    const slot = this.#free.at(-1) ?? this.#operations.length;
    return ((this.#uses[slot] ?? 0) + 1) * outstandingSlotsMax + slot;
  }

  put(operation: Operation): void {
    const slot = this.#free.pop() ?? this.#operations.length;
    assert(slot < outstandingSlotsMax, 'admission bounds what is outstanding');
    this.#operations[slot] = operation;
    this.#uses[slot] = (this.#uses[slot] ?? 0) + 1;
  }

  /** Takes out the operation with an id; null: none waits under it any more. */
  take(id: number): Operation | null {
    const slot = id % outstandingSlotsMax;
    const operation = this.#operations[slot] ?? null;
    if (operation === null || this.#uses[slot] !== Math.floor(id / outstandingSlotsMax)) return null;
    this.#operations[slot] = null;
    this.#free.push(slot);
    return operation;
  }

  /** Takes out everything. */
  clear(): Operation[] {
    const all: Operation[] = [];
    for (const [slot, operation] of this.#operations.entries()) {
      if (operation === null) continue;
      all.push(operation);
      this.#operations[slot] = null;
      this.#free.push(slot);
    }
    return all;
  }
}
