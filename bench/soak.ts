import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Prng } from '../src/base/prng.js';
import { BenchCluster, pause } from './support/bench_cluster.js';
import { figuresOf, keepOutstanding, keepRate } from './support/drive.js';
import { openLoopOutstandingMax } from './support/limits.js';
import { readOptions } from './support/options.js';
import { rssBytes } from './support/process_cpu.js';
import { scrape } from './support/prometheus_text.js';
import { Report } from './support/report.js';
import { Trend } from './support/trend.js';

/**
 * `npm run bench -- soak --minutes 15`: half puts, half gets at a share of what the cluster sustains. The report has latency and memory per
 * window, and for each process what resident memory, heap and disk grow by per minute, from the end of the first third on:
 * before that caches and logs fill.
 */
const specs = {
  minutes: { kind: 'number', about: 'how long', default: 15, min: 0.1, max: 10_000 },
  share: { kind: 'number', about: 'of the measured load', default: 0.7, min: 0.01, max: 1 },
  rate: { kind: 'number', about: 'operations/s instead of a share; 0: none named', default: 0, min: 0, max: 1_000_000 },
  window: { kind: 'number', about: 'seconds of a window', default: 60, min: 1, max: 3_600 },
  sample: { kind: 'number', about: 'seconds between two looks at memory and disk', default: 2, min: 0.1, max: 600 },
  clients: { kind: 'integer', about: 'outstanding while the load is measured', default: 256, min: 1, max: 65_536 },
  shards: { kind: 'integer', about: 'shards', default: 64, min: 1, max: 16_384 },
  keys: { kind: 'integer', about: 'distinct keys', default: 20_000, min: 1, max: 100_000_000 },
  value: { kind: 'integer', about: 'bytes of a value', default: 256, min: 0, max: 1_048_576 },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/soak.json' },
} as const;

const mib = 2 ** 20;

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const report = new Report('soak', options);
  const cluster = await BenchCluster.start();
  try {
    await cluster.createKeyspace({ shards: options.shards });
    const client = await cluster.connect();
    try {
      const prng = new Prng(1);
      const value = randomBytes(options.value);
      const operate = (): Promise<unknown> => {
        const key = `user${prng.int(0, options.keys - 1)}`;
        return prng.chance(0.5) ? client.set(key, value) : client.get(key);
      };
      await keepOutstanding(options.clients, 3, operate);
      const peak = await keepOutstanding(options.clients, 10, operate);
      const rate = options.rate > 0 ? options.rate : (peak.done / peak.seconds) * options.share;
      console.log(`${Math.round(peak.done / peak.seconds)} operations/s sustained; going on with ${Math.round(rate)}`);
      const windows = Math.max(3, Math.round((options.minutes * 60) / options.window));
      const growth = new Growth(cluster);
      const watch = growth.watch(options.sample * 1_000);
      for (let i = 0; i < windows; i++) {
        const driven = await keepRate(rate, options.window, openLoopOutstandingMax, operate);
        if (driven.firstError !== null) console.log(`an operation failed: ${driven.firstError}`);
        const figures = figuresOf(driven, 'operations');
        report.add(`windows of ${options.window} s`, { ...figures, ...growth.latest });
        const shown = ['p50 ms', 'p99 ms', 'p99.9 ms'].map((name) => `${name} ${figures[name]?.toFixed(1)}`);
        report.note(`window ${i + 1}: ${shown.join(', ')}, failed operations ${figures['failed operations']}`);
      }
      growth.stop();
      await watch;
      growth.tell(report);
    } finally {
      client.close();
    }
  } finally {
    await cluster.stop();
  }
  report.finish(options.json);
}

/** What is watched of each server's metrics, and its name in the report. */
const watched: readonly (readonly [metric: string, what: string])[] = [
  ['nodejs_heap_size_used_bytes', 'heap'],
  ['nodejs_external_memory_bytes', 'outside heap'],
  ['skerry_raftlog_cache_bytes', 'Raft log cache'],
  ['skerry_value_cache_bytes', 'value cache'],
];

/** Memory of each process and disk of all servers while a load runs. */
class Growth {
  /** The last look, MiB by name. */
  latest: Record<string, number> = {};
  readonly #cluster: BenchCluster;
  readonly #startMs = performance.now();
  readonly #trends = new Map<string, Trend>();
  #stopped = false;

  constructor(cluster: BenchCluster) {
    this.#cluster = cluster;
  }

  /** Looks again and again until stop(). */
  async watch(everyMs: number): Promise<void> {
    while (!this.#stopped) {
      this.latest = await this.#look();
      for (const [name, value] of Object.entries(this.latest)) this.#trend(name).add(this.#minute, value);
      await pause(everyMs);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** One line for each figure. */
  tell(report: Report): void {
    const fromMinute = this.#minute / 3;
    for (const [name, trend] of this.#trends) {
      const slope = trend.slopePerMinute(fromMinute);
      const mean = trend.mean(fromMinute);
      report.note(
        `${name}: mean ${mean.toFixed(1)}, most ${trend.max.toFixed(1)}, ` +
          `grows by ${slope.toFixed(3)} a minute (${((slope / mean) * 100).toFixed(2)}%) after minute ${fromMinute.toFixed(1)}`,
      );
    }
  }

  get #minute(): number {
    return (performance.now() - this.#startMs) / 60_000;
  }

  async #look(): Promise<Record<string, number>> {
    const own = process.memoryUsage();
    const figures: Record<string, number> = {
      'resident client MiB': own.rss / mib,
      'heap client MiB': own.heapUsed / mib,
    };
    for (const [name, server] of this.#cluster.servers()) {
      const metrics = await scrape(server.ready.metrics ?? '');
      figures[`resident ${name} MiB`] = rssBytes(server.pid) / mib;
      for (const [metric, what] of watched) {
        const bytes = metrics.get(metric);
        if (bytes !== undefined) figures[`${what} ${name} MiB`] = bytes / mib;
      }
    }
    figures['disk of all servers MiB'] = treeBytes(this.#cluster.local.dataDir) / mib;
    return figures;
  }

  #trend(name: string): Trend {
    let trend = this.#trends.get(name);
    if (trend === undefined) {
      trend = new Trend();
      this.#trends.set(name, trend);
    }
    return trend;
  }
}

/** Bytes of all files below a directory. */
function treeBytes(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    // A file may be deleted between the listing and this.
    bytes += entry.isDirectory() ? treeBytes(path) : (statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  }
  return bytes;
}
