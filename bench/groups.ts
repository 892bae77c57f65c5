import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { BenchCluster, cpuFigures, pause } from './support/bench_cluster.js';
import { figuresOf, keepOutstanding } from './support/drive.js';
import type { OptionsOf } from './support/options.js';
import { readOptions } from './support/options.js';
import { Report } from './support/report.js';
import { keyPerShard } from './support/shard_keys.js';

/**
 * What shards cost: `npm run bench -- groups --active 16,256,4096 --idle 16,10000`. For each number of shards a fresh cluster of
 * three stores. Active: puts in all shards in turn, as many outstanding as ever. Idle: after all replicas hibernate, CPU of
 * each store, frames per peer, and heap per hibernating replica.
 */
const specs = {
  active: { kind: 'integers', about: 'numbers of shards under load', default: '16,256,4096', max: 16_384 },
  idle: { kind: 'integers', about: 'numbers of shards at rest', default: '16,10000', max: 16_384 },
  clients: { kind: 'integer', about: 'puts outstanding', default: 256, min: 1, max: 65_536 },
  value: { kind: 'integer', about: 'bytes of a value', default: 256, min: 0, max: 1_048_576 },
  seconds: { kind: 'number', about: 'seconds of a run', default: 10, min: 0.1, max: 3_600 },
  warmup: { kind: 'number', about: 'seconds of load before the first run', default: 5, min: 0, max: 3_600 },
  runs: { kind: 'integer', about: 'runs of each', default: 3, min: 1, max: 1_000 },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/groups.json' },
} as const;

type Options = OptionsOf<typeof specs>;

const heapFigure = 'heap of store 1 MiB';
const frames = 'skerry_transport_frames_sent_total';
const bytes = 'skerry_transport_sent_bytes_total';

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const report = new Report('groups', options);
  for (const shards of options.active) await withCluster(shards, (cluster) => active(cluster, shards, options, report));
  for (const shards of options.idle) await withCluster(shards, (cluster) => idle(cluster, shards, options, report));
  conclude(report, options);
  report.finish(options.json);
}

/** Stores that can be told to collect garbage: a heap snapshot does, and it goes to a directory of its own. */
async function withCluster(shards: number, use: (cluster: BenchCluster) => Promise<void>): Promise<void> {
  const snapshots = mkdtempSync(join(tmpdir(), 'skerry-heap-'));
  try {
    const nodeOptions = `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${snapshots}`;
    const cluster = await BenchCluster.start({ nodeOptions });
    try {
      const startMs = performance.now();
      await cluster.createKeyspace({ shards });
      console.log(`${shards} shards: created in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
      await use(cluster);
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(snapshots, { recursive: true, force: true });
  }
}

async function active(cluster: BenchCluster, shards: number, options: Options, report: Report): Promise<void> {
  const client = await cluster.connect({ inFlightOps: Math.max(4_096, options.clients) });
  try {
    const keys = keyPerShard(shards);
    const value = randomBytes(options.value);
    let next = 0;
    const put = (): Promise<void> => client.set(keys[next++ % keys.length] ?? '', value);
    // Every shard awake, every route known.
    await keepOutstanding(options.clients, options.warmup, put);
    for (let run = 0; run < options.runs; run++) {
      const before = await cluster.counters(frames);
      const driven = await keepOutstanding(options.clients, options.seconds, put);
      const after = await cluster.counters(frames);
      report.add(`${shards} active shards`, {
        ...figuresOf(driven, 'puts'),
        ...cpuFigures(before, after, driven.seconds, driven.done, 'put'),
        'frames/s per peer': ((after.get(frames) ?? 0) - (before.get(frames) ?? 0)) / driven.seconds / 6,
      });
    }
  } finally {
    client.close();
  }
}

async function idle(cluster: BenchCluster, shards: number, options: Options, report: Report): Promise<void> {
  const settledMs = await cluster.untilIdle();
  console.log(`${shards} shards: all hibernate after ${(settledMs / 1000).toFixed(1)} s`);
  // Reports to placement of what was created, and compactions, follow it.
  await pause(options.warmup * 1000);
  for (let run = 0; run < options.runs; run++) {
    const before = await cluster.counters(frames, bytes);
    const startMs = performance.now();
    await pause(options.seconds * 1000);
    const seconds = (performance.now() - startMs) / 1000;
    const after = await cluster.counters(frames, bytes);
    const delta = (name: string): number => ((after.get(name) ?? 0) - (before.get(name) ?? 0)) / seconds;
    const stores = cluster.local.stores.map((_, i) => delta(`CPU store ${i + 1}`));
    report.add(`${shards} idle shards`, {
      'CPU per store % of a core': (stores.reduce((a, b) => a + b, 0) / stores.length) * 100,
      'CPU placement % of a core': delta('CPU placement 1') * 100,
      'frames/s per peer': delta(frames) / 6,
      'bytes/s per peer': delta(bytes) / 6,
    });
  }
  report.add(`${shards} idle shards, memory`, await memory(cluster, shards));
}

/**
 * Heap after a full collection, which a heap snapshot begins with. Of one store only: writing the snapshot stops it for seconds, the others
 * take its leaderships, and a store that leads more has more on its heap.
 */
async function memory(cluster: BenchCluster, shards: number): Promise<Record<string, number>> {
  const resident = cluster.memory();
  const [store] = cluster.local.stores;
  if (store === undefined) throw new Error('there are three stores');
  process.kill(store.pid, 'SIGUSR2');
  // The page is answered once the snapshot is written.
  await pause(1_000);
  const heap = (await cluster.storeMetrics())[0]?.get('nodejs_heap_size_used_bytes') ?? NaN;
  return {
    [heapFigure]: heap / 2 ** 20,
    'heap of store 1 per shard KiB': heap / 1024 / shards,
    'resident store 1 MiB': (resident['store 1'] ?? NaN) / 2 ** 20,
  };
}

function conclude(report: Report, options: Options): void {
  const [fewest, most] = [Math.min(...options.idle), Math.max(...options.idle)];
  if (most > fewest) {
    const heap = (shards: number): number => report.median(`${shards} idle shards, memory`, heapFigure) * 1024;
    const cpu = (shards: number): number => report.median(`${shards} idle shards`, 'CPU per store % of a core');
    const perReplica = (heap(most) - heap(fewest)) / (most - fewest);
    report.note(`heap per hibernating replica: ${perReplica.toFixed(2)} KiB (${most} beside ${fewest} shards)`);
    report.note(`idle CPU per store above ${fewest} shards: ${(cpu(most) - cpu(fewest)).toFixed(2)}% of a core`);
  }
  const first = options.active[0] ?? 0;
  for (const shards of options.active.slice(1)) {
    const rate = (count: number): number => report.median(`${count} active shards`, 'puts/s');
    const cost = (count: number): number => report.median(`${count} active shards`, 'CPU all us/put');
    report.note(
      `${shards} active shards beside ${first}: puts/s ${(rate(shards) / rate(first)).toFixed(2)}, CPU per put ${(cost(shards) / cost(first)).toFixed(2)}`,
    );
  }
}
