/** A figure over time: does it stay, or does it grow? */
export class Trend {
  readonly #samples: { readonly minute: number; readonly value: number }[] = [];

  add(minute: number, value: number): void {
    this.#samples.push({ minute, value });
  }

  /**
   * Growth per minute from some minute on: the slope of the line with the least squares, so that a saw tooth counts for what it
   * rises by from tooth to tooth. NaN with fewer than two samples.
   */
  slopePerMinute(fromMinute: number): number {
    const samples = this.#samples.filter(({ minute }) => minute >= fromMinute);
    const mean = (of: (sample: { minute: number; value: number }) => number): number =>
      samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
    const meanMinute = mean(({ minute }) => minute);
    const meanValue = mean(({ value }) => value);
    const covariance = mean(({ minute, value }) => (minute - meanMinute) * (value - meanValue));
    return covariance / mean(({ minute }) => (minute - meanMinute) ** 2);
  }

  /** The mean from some minute on. */
  mean(fromMinute: number): number {
    const samples = this.#samples.filter(({ minute }) => minute >= fromMinute);
    return samples.reduce((sum, { value }) => sum + value, 0) / samples.length;
  }

  /** The largest value of all. */
  get max(): number {
    return this.#samples.reduce((max, { value }) => Math.max(max, value), -Infinity);
  }
}
