import { randomBytes } from 'node:crypto';
import { Prng } from '../src/base/prng.js';
import type { SkerryClient } from '../src/client/index.js';
import { BenchCluster, cpuFigures } from './support/bench_cluster.js';
import type { Driven } from './support/drive.js';
import { figuresOf, keepOutstanding, keepRate } from './support/drive.js';
import { openLoopOutstandingMax } from './support/limits.js';
import { readOptions } from './support/options.js';
import { Report } from './support/report.js';

/**
 * `npm run bench -- overload`: what puts a cluster sustains in a closed loop, then an open loop at --factor times that, from several
 * clients, as callers behave that do not wait for each other. Throughput must not collapse, the latency of what is
 * answered must stay bounded, and the rest must be refused instead of queued. Latency counts from when an operation was due.
 */
const specs = {
  factor: { kind: 'number', about: 'times the sustained rate', default: 3, min: 0.1, max: 100 },
  clients: {
    kind: 'integer',
    about: 'outstanding while the sustained rate is measured',
    default: 4_096,
    min: 1,
    max: 65_536,
  },
  drivers: { kind: 'integer', about: 'clients (sessions) that overload', default: 4, min: 1, max: 64 },
  timeout: { kind: 'integer', about: 'milliseconds that an operation may take', default: 2_000, min: 1, max: 60_000 },
  shards: { kind: 'integer', about: 'shards', default: 64, min: 1, max: 16_384 },
  value: { kind: 'integer', about: 'bytes of a value', default: 256, min: 0, max: 1_048_576 },
  seconds: { kind: 'number', about: 'seconds of a run', default: 10, min: 0.1, max: 3_600 },
  runs: { kind: 'integer', about: 'runs of each', default: 3, min: 1, max: 1_000 },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/overload.json' },
} as const;

const busy = 'skerry_busy_rejections_total';
const expired = 'skerry_deadlines_expired_total';
const keyCount = 100_000;

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const report = new Report('overload', options);
  const cluster = await BenchCluster.start();
  const clients: SkerryClient[] = [];
  try {
    await cluster.createKeyspace({ shards: options.shards });
    for (let i = 0; i < options.drivers; i++) clients.push(await cluster.connect({ timeoutMs: options.timeout }));
    const prng = new Prng(1);
    const value = randomBytes(options.value);
    const put = (worker: number): Promise<void> => {
      const client = clients[worker % clients.length];
      if (client === undefined) throw new Error('there is a client');
      return client.set(`user${prng.int(0, keyCount - 1)}`, value);
    };
    const measure = async (group: string, load: () => Promise<Driven>): Promise<void> => {
      const before = await cluster.counters(busy, expired);
      const driven = await load();
      const after = await cluster.counters(busy, expired);
      const delta = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
      const failures = [...driven.errors].map(([code, count]): [string, number] => [`failed ${code}`, count]);
      report.add(group, {
        ...figuresOf(driven, 'puts'),
        'max ms': driven.latency.maxUs / 1000,
        'busy answers of stores': delta(busy),
        'deadlines expired at stores': delta(expired),
        'not begun by the load generator': driven.skipped,
        ...Object.fromEntries(failures),
        'largest store resident MiB': Math.max(...Object.values(cluster.memory())) / 2 ** 20,
        ...cpuFigures(before, after, driven.seconds, driven.done, 'put'),
      });
    };
    await keepOutstanding(options.clients, 3, put);
    const { clients: outstanding, seconds, runs } = options;
    for (let i = 0; i < runs; i++) await measure('sustained', () => keepOutstanding(outstanding, seconds, put));
    const sustained = report.median('sustained', 'puts/s');
    const rate = sustained * options.factor;
    const group = `${options.factor} times that`;
    for (let i = 0; i < runs; i++) {
      await measure(group, () => keepRate(rate, seconds, openLoopOutstandingMax * clients.length, put));
    }
    await measure('sustained, afterwards', () => keepOutstanding(outstanding, seconds, put));
    const ratio = (name: string): string => (report.median(name, 'puts/s') / sustained).toFixed(2);
    report.note(`asked for ${Math.round(rate)} puts/s; answered, of the sustained rate: ${ratio(group)}`);
    report.note(`afterwards, of the sustained rate: ${ratio('sustained, afterwards')}`);
  } finally {
    for (const client of clients) client.close();
    await cluster.stop();
  }
  report.finish(options.json);
}
