import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startLocalCluster, type LocalCluster } from '../src/cli/playground/local_cluster.js';
import { AdminClient, SkerryClient } from '../src/client/index.js';
import { Histogram } from './support/histogram.js';
import { cpuSeconds, machineShape } from './support/process_cpu.js';
import { scrape } from './support/prometheus_text.js';
import { rawSyncsPerSecond } from './support/raw_sync.js';
import { showSpread, spreadOf } from './support/spread.js';

/**
 * Durable puts: `npm run bench -- put --clients 256 --shards 64 --value 256`. Three stores, one placement member and
 * this client share the machine. `clients` puts are outstanding at any time; each is acknowledged once it is synced on a majority.
 */

interface Options {
  readonly clients: number;
  readonly shards: number;
  readonly valueBytes: number;
  readonly seconds: number;
  readonly runs: number;
  readonly dataDirectory: string | undefined;
}

/** What one run measured. */
interface Run {
  readonly opsPerSecond: number;
  readonly latency: Histogram;
  readonly errors: number;
  /** Per store, over the run. */
  readonly stores: readonly StoreRun[];
  /** CPU seconds per second of the run, by process. */
  readonly cpu: ReadonlyMap<string, number>;
}

interface StoreRun {
  readonly syncsPerSecond: number;
  readonly framesPerSecond: number;
}

const keyCount = 100_000;

function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      clients: { type: 'string', default: '256' },
      shards: { type: 'string', default: '64' },
      value: { type: 'string', default: '256' },
      seconds: { type: 'string', default: '10' },
      runs: { type: 'string', default: '3' },
      'data-dir': { type: 'string' },
    },
  });
  return {
    clients: Number(values.clients),
    shards: Number(values.shards),
    valueBytes: Number(values.value),
    seconds: Number(values.seconds),
    runs: Number(values.runs),
    dataDirectory: values['data-dir'],
  };
}

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args);
  console.log(`machine: ${machineShape()}`);
  console.log(
    `put: ${options.clients} outstanding, ${options.shards} shards, ${options.valueBytes}-byte values, 3 replicas, fdatasync on a majority before each answer`,
  );
  const cluster = await startLocalCluster({ stores: 3, placements: 1, dataDir: options.dataDirectory });
  try {
    const admin = await AdminClient.connect({ placement: cluster.placement });
    await admin.createKeyspace('bench', { shards: options.shards, wait: true });
    admin.close();
    const client = await SkerryClient.connect({ placement: cluster.placement, keyspace: 'bench' });
    await load(client, options, 3, new Histogram()); // warms up code, caches and routes
    const runs: Run[] = [];
    for (let i = 0; i < options.runs; i++) {
      runs.push(await measure(cluster, client, options));
      console.log(`run ${i + 1}: ${Math.round(runs[i]?.opsPerSecond ?? 0).toLocaleString('en-US')} puts/s`);
    }
    client.close();
    const raw = await rawSyncsPerSecond(cluster.dataDir, 2000);
    report(options, runs, raw);
  } finally {
    await cluster.stop();
  }
}

/** Keeps `clients` puts outstanding for some seconds. Returns puts acknowledged and failed. */
async function load(
  client: SkerryClient,
  options: Options,
  seconds: number,
  latency: Histogram,
): Promise<{ done: number; errors: number }> {
  const value = randomBytes(options.valueBytes);
  const end = performance.now() + seconds * 1000;
  let done = 0;
  let errors = 0;
  const worker = async (seed: number): Promise<void> => {
    for (let i = seed; performance.now() < end; i = (i * 48271 + 11) % 2147483647) {
      const start = performance.now();
      try {
        await client.set(`user${i % keyCount}`, value);
        done++;
        latency.record((performance.now() - start) * 1000);
      } catch {
        errors++;
      }
    }
  };
  await Promise.all(Array.from({ length: options.clients }, (_, i) => worker(i * 7919 + 1)));
  return { done, errors };
}

async function measure(cluster: LocalCluster, client: SkerryClient, options: Options): Promise<Run> {
  const latency = new Histogram();
  const before = await counters(cluster);
  const start = performance.now();
  const { done, errors } = await load(client, options, options.seconds, latency);
  const seconds = (performance.now() - start) / 1000;
  const after = await counters(cluster);
  const stores = after.metrics.map((metrics, i) => {
    const delta = (name: string): number => (metrics.get(name) ?? 0) - (before.metrics[i]?.get(name) ?? 0);
    return {
      syncsPerSecond: delta('skerry_raftlog_syncs_total') / seconds,
      framesPerSecond: delta('skerry_transport_frames_sent_total') / seconds,
    };
  });
  const cpu = new Map([...after.cpu].map(([name, value]) => [name, (value - (before.cpu.get(name) ?? 0)) / seconds]));
  return { opsPerSecond: done / seconds, latency, errors, stores, cpu };
}

async function counters(cluster: LocalCluster): Promise<{ metrics: Map<string, number>[]; cpu: Map<string, number> }> {
  const metrics = await Promise.all(cluster.stores.map((store) => scrape(store.ready.metrics ?? '')));
  const cpu = new Map<string, number>([['client', process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6]]);
  cluster.stores.forEach((store, i) => cpu.set(`store ${i + 1}`, cpuSeconds(store.pid) ?? NaN));
  cluster.placements.forEach((member, i) => cpu.set(`placement ${i + 1}`, cpuSeconds(member.pid) ?? NaN));
  return { metrics, cpu };
}

function report(options: Options, runs: readonly Run[], rawSyncs: number): void {
  const over = (pick: (run: Run) => number): ReturnType<typeof spreadOf> => spreadOf(runs.map(pick));
  const line = (name: string, text: string): void => console.log(`${name.padEnd(26)} ${text}`);
  const ops = over((run) => run.opsPerSecond);
  console.log(`\nmedian (min to max) over ${runs.length} runs of ${options.seconds} s`);
  line('puts/s', showSpread(ops));
  for (const [name, share] of [
    ['p50', 0.5],
    ['p95', 0.95],
    ['p99', 0.99],
    ['p99.9', 0.999],
  ] as const) {
    line(
      `${name} ms`,
      showSpread(
        over((run) => run.latency.quantileUs(share) / 1000),
        2,
      ),
    );
  }
  line('failed puts', showSpread(over((run) => run.errors)));
  const sum = (run: Run, pick: (store: StoreRun) => number): number => run.stores.reduce((n, s) => n + pick(s), 0);
  const syncs = over((run) => sum(run, (s) => s.syncsPerSecond) / 3);
  line('syncs/s per store', showSpread(syncs));
  line('frames/s per store', showSpread(over((run) => sum(run, (s) => s.framesPerSecond) / 3)));
  line(
    'puts per sync',
    showSpread(
      over((run) => (run.opsPerSecond * 3) / sum(run, (s) => s.syncsPerSecond)),
      1,
    ),
  );
  const names = [...(runs[0]?.cpu.keys() ?? [])];
  for (const name of names)
    line(
      `CPU ${name}, s/s`,
      showSpread(
        over((run) => run.cpu.get(name) ?? NaN),
        2,
      ),
    );
  const total = over((run) => [...run.cpu.values()].reduce((a, b) => a + b, 0));
  line(
    'CPU us per put, all',
    showSpread(
      over((run) => ([...run.cpu.values()].reduce((a, b) => a + b, 0) * 1e6) / run.opsPerSecond),
      1,
    ),
  );
  line(
    'raw fdatasync/s beside it',
    `${Math.round(rawSyncs).toLocaleString('en-US')} (4 KiB, one file, nothing else running)`,
  );
  line('puts per raw sync', (ops.median / rawSyncs).toFixed(2));
  const busiest = names.reduce((a, b) => ((runs[0]?.cpu.get(a) ?? 0) > (runs[0]?.cpu.get(b) ?? 0) ? a : b), 'client');
  console.log(
    total.median > 1.7
      ? `limit: CPU (${total.median.toFixed(2)} of 2 cores in use; busiest process: ${busiest})`
      : `limit: waiting (${total.median.toFixed(2)} of 2 cores in use; ${showSpread(syncs)} syncs/s per store)`,
  );
  mkdirSync('bench-results', { recursive: true });
  const file = `bench-results/put-${options.clients}x${options.shards}.json`;
  const json = runs.map((run) => ({
    opsPerSecond: run.opsPerSecond,
    p50Us: run.latency.quantileUs(0.5),
    p99Us: run.latency.quantileUs(0.99),
    errors: run.errors,
    stores: run.stores,
    cpu: Object.fromEntries(run.cpu),
  }));
  writeFileSync(file, JSON.stringify({ machine: machineShape(), options, rawSyncs, runs: json }, null, 2));
  console.log(`report: ${file}`);
}
