import { assert } from '../base/assert.js';
import type { Operation } from './operation.js';

const noKey: Buffer = Buffer.alloc(0);
const justAfter: Buffer = Buffer.from([0]);

/**
 * Operations that wait for routes, and the one look-up that is under way for them. However many wait, there is one
 * request; those that come while it is under way share the next one.
 */
export class LookUps {
  readonly #ask: (startKey: Buffer, endKey: Buffer) => void;
  #next = new Set<Operation>();
  #now = new Set<Operation>();
  #underWay = false;
  #count = 0;

  constructor(ask: (startKey: Buffer, endKey: Buffer) => void) {
    this.#ask = ask;
  }

  /** Look-ups begun so far. */
  get count(): number {
    return this.#count;
  }

  want(operation: Operation): void {
    this.#next.add(operation);
    this.goOn();
  }

  forget(operation: Operation): void {
    this.#next.delete(operation);
    this.#now.delete(operation);
  }

  /** The look-up under way is over. @returns the operations that it was for. goOn() must follow. */
  done(): Operation[] {
    assert(this.#underWay, 'a look-up is under way');
    this.#underWay = false;
    return [...this.#now];
  }

  /** Begins the next look-up if operations wait and none is under way. */
  goOn(): void {
    if (this.#underWay || this.#next.size === 0) return;
    this.#underWay = true;
    this.#now = this.#next;
    this.#next = new Set();
    this.#count++;
    const { startKey, endKey } = rangeOf(this.#now);
    this.#ask(startKey, endKey);
  }
}

/** The range from the lowest key to the highest. */
function rangeOf(operations: Iterable<Operation>): { startKey: Buffer; endKey: Buffer } {
  let low: Buffer | null = null;
  let high = noKey;
  for (const { key, moreKeys } of operations) {
    for (const k of moreKeys.length === 0 ? [key] : [key, ...moreKeys]) {
      if (low === null || k.compare(low) < 0) low = k;
      if (k.compare(high) > 0) high = k;
    }
  }
  // A reverse scan is routed by the bound above it, where empty means the end: everything may be wanted.
  if (low === null || low.length === 0) return { startKey: noKey, endKey: noKey };
  return { startKey: low, endKey: Buffer.concat([high, justAfter]) };
}
