import { Histogram, type Registry } from 'prom-client';
import type { BucketCounts } from '../src/base/bucket_counts.js';

type Values = Awaited<ReturnType<Histogram['get']>>;

/** A histogram of Prometheus whose counts are kept elsewhere and read when they are asked for. */
export class ReadHistogram extends Histogram {
  /** An empty one, for all that is not values. */
  readonly #description: Histogram;
  readonly #name: string;
  readonly #read: () => BucketCounts;

  constructor(registry: Registry, name: string, help: string, read: () => BucketCounts) {
    super({ name, help, registers: [registry] });
    this.#description = new Histogram({ name, help, registers: [] });
    this.#name = name;
    this.#read = read;
  }

  /** What the registry asks for when it has it; without this it would take the counts of the class above. */
  getForPromString(): Promise<Values> {
    return this.get();
  }

  override async get(): Promise<Values> {
    return { ...(await this.#description.get()), values: this.#values() };
  }

  #values(): Values['values'] {
    const { bounds, cumulative, sum } = this.#read();
    const buckets = cumulative.map((value, i) => ({
      metricName: `${this.#name}_bucket`,
      labels: { le: bounds[i] ?? '+Inf' },
      value,
    }));
    return [
      ...buckets,
      { metricName: `${this.#name}_sum`, labels: {}, value: sum },
      { metricName: `${this.#name}_count`, labels: {}, value: cumulative.at(-1) ?? 0 },
    ];
  }
}
