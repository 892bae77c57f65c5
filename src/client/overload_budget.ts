import { assert } from '../base/assert.js';
import { overloadTriesMax, overloadTriesPerSecond } from './limits.js';

/** What a store said when it refused an operation. */
export interface Refusal {
  readonly limit: string;
  readonly retryAfterMs: number;
}

/**
 * What may be asked of a store that refuses operations because it has too many: about as many refusals as it serves, so that
 * what it spends on refusing stays in proportion to its work, whatever is asked of this client.
 *
 * A refusal takes a try, an answer gives one back, and a few come with time, so that the store is asked again when it has
 * answered nothing. Retries stop at half of all tries: what is left is for operations that were not tried yet. Then an
 * operation is refused with the store's own words.
 */
export class OverloadBudget {
  #tries: number = overloadTriesMax;
  #refilledMs: number;
  #last: Refusal;

  constructor(first: Refusal, nowMs: number) {
    this.#last = first;
    this.#refilledMs = nowMs;
  }

  /** The last refusal. */
  get last(): Refusal {
    return this.#last;
  }

  served(): void {
    if (this.#tries < overloadTriesMax) this.#tries++;
  }

  refused(refusal: Refusal): void {
    this.#last = refusal;
    this.#tries = Math.max(0, this.#tries - 1);
  }

  mayTry(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tries >= 1;
  }

  mayRetry(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tries * 2 >= overloadTriesMax;
  }

  #refill(nowMs: number): void {
    assert(nowMs >= this.#refilledMs, 'time does not go back');
    const tries = ((nowMs - this.#refilledMs) * overloadTriesPerSecond) / 1000;
    this.#tries = Math.min(overloadTriesMax, this.#tries + tries);
    this.#refilledMs = nowMs;
  }
}

/** The budgets of the stores that have refused something; reads and writes apart, because a store refuses them apart. */
export class OverloadBudgets {
  readonly #reads = new Map<number, OverloadBudget>();
  readonly #writes = new Map<number, OverloadBudget>();

  find(storeId: number, isWrite: boolean): OverloadBudget | undefined {
    return (isWrite ? this.#writes : this.#reads).get(storeId);
  }

  refused(storeId: number, isWrite: boolean, refusal: Refusal, nowMs: number): OverloadBudget {
    let budget = this.find(storeId, isWrite);
    if (budget === undefined) {
      budget = new OverloadBudget(refusal, nowMs);
      (isWrite ? this.#writes : this.#reads).set(storeId, budget);
    }
    budget.refused(refusal);
    return budget;
  }
}
