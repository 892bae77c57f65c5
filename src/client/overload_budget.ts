import { assert } from '../base/assert.js';
import { overloadMemoryMs, overloadTriesMax, overloadTriesPerSecond } from './limits.js';

/** What a store said when it refused an operation. */
export interface Refusal {
  readonly limit: string;
  readonly retryAfterMs: number;
}

/**
 * What may be asked of a store that refuses operations because it has too many: about as many refusals as it serves, so that
 * what it spends on refusing stays in proportion to its work, whatever is asked of this client.
 *
 * Each attempt takes a try, an answer gives it back and one more, and a few come with time, so that the store is asked again when
 * it has answered nothing. Retries stop at half of all tries: what is left is for operations that were not tried yet. Then an
 * operation is refused with the store's own words.
 */
export class OverloadBudget {
  #tries: number = overloadTriesMax;
  #refilledMs: number;
  #last: Refusal;
  #refusedMs: number;

  constructor(first: Refusal, nowMs: number) {
    this.#last = first;
    this.#refilledMs = nowMs;
    this.#refusedMs = nowMs;
  }

  /** The last refusal. */
  get last(): Refusal {
    return this.#last;
  }

  /** An attempt is made. */
  tried(): void {
    this.#tries = Math.max(0, this.#tries - 1);
  }

  served(): void {
    this.#tries = Math.min(overloadTriesMax, this.#tries + 2);
  }

  refused(refusal: Refusal, nowMs: number): void {
    this.#last = refusal;
    this.#refusedMs = nowMs;
  }

  /** No refusal for so long: the store is like any other again. */
  isOver(nowMs: number): boolean {
    return nowMs - this.#refusedMs >= overloadMemoryMs;
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

/** The budgets of the stores that have refused something lately; reads and writes apart, because a store refuses them apart. */
export class OverloadBudgets {
  readonly #reads = new Map<number, OverloadBudget>();
  readonly #writes = new Map<number, OverloadBudget>();

  find(storeId: number, isWrite: boolean, nowMs: number): OverloadBudget | undefined {
    const budgets = isWrite ? this.#writes : this.#reads;
    const budget = budgets.get(storeId);
    if (budget === undefined || !budget.isOver(nowMs)) return budget;
    budgets.delete(storeId);
    return undefined;
  }

  refused(storeId: number, isWrite: boolean, refusal: Refusal, nowMs: number): OverloadBudget {
    let budget = this.find(storeId, isWrite, nowMs);
    if (budget === undefined) {
      budget = new OverloadBudget(refusal, nowMs);
      (isWrite ? this.#writes : this.#reads).set(storeId, budget);
    }
    budget.refused(refusal, nowMs);
    return budget;
  }
}
