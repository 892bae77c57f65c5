/** Latencies in microseconds, in buckets 1/64 apart, so that any quantile is right to within 1.6%. */
export class Histogram {
  private readonly buckets = new Uint32Array(64 * 40);
  private total = 0;
  private largestUs = 0;

  record(us: number): void {
    const value = Math.max(1, us);
    const exponent = Math.floor(Math.log2(value));
    const index = Math.min(this.buckets.length - 1, exponent * 64 + Math.floor((value / 2 ** exponent - 1) * 64));
    this.buckets[index] = (this.buckets[index] ?? 0) + 1;
    this.total++;
    if (us > this.largestUs) this.largestUs = us;
  }

  get count(): number {
    return this.total;
  }

  get maxUs(): number {
    return this.largestUs;
  }

  /** The value in microseconds that the given share (0..1) of the records does not exceed. */
  quantileUs(share: number): number {
    let left = Math.ceil(this.total * share);
    for (let i = 0; i < this.buckets.length; i++) {
      left -= this.buckets[i] ?? 0;
      if (left <= 0) return 2 ** Math.floor(i / 64) * (1 + ((i % 64) + 1) / 64);
    }
    return this.largestUs;
  }
}
