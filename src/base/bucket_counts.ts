import { assert } from './assert.js';

/** How often values fell below each of some bounds, and their sum: what a histogram of Prometheus holds. */
export class BucketCounts {
  /** Upper bounds, each a part of its bucket, in ascending order. */
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    assert(
      bounds.length > 0 && bounds.every((bound, i) => i === 0 || bound > (bounds[i - 1] ?? Infinity)),
      'bounds ascend',
    );
    this.bounds = bounds;
    // One more than bounds, for what is above them all.
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  add(value: number): void {
    let bucket = 0;
    while (bucket < this.bounds.length && value > (this.bounds[bucket] ?? Infinity)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += value;
  }

  /** Values up to each bound, and at the end all values. */
  get cumulative(): number[] {
    let total = 0;
    return this.#counts.map((count) => (total += count));
  }

  get sum(): number {
    return this.#sum;
  }
}
