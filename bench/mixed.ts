import { randomBytes } from 'node:crypto';
import type { SkerryClient } from '../src/client/index.js';
import { BenchCluster, cpuFigures } from './support/bench_cluster.js';
import { figuresOf, keepOutstanding } from './support/drive.js';
import { Histogram } from './support/histogram.js';
import { readOptions, UsageError } from './support/options.js';
import type { OptionsOf } from './support/options.js';
import { Report } from './support/report.js';
import type { Kind, Mix } from './support/ycsb.js';
import { Chooser, kinds, mixes, recordKey, recordSplitKeys } from './support/ycsb.js';

/**
 * YCSB's core workloads: `npm run bench -- mixed --workloads ABCDEF`. A record is one value of --value bytes (YCSB's ten fields
 * of 100 bytes by default); the keyspace is partitioned by range, which scans need. Reads and scans are linearizable.
 */
const specs = {
  workloads: { kind: 'text', about: 'which of A, B, C, D, E, F, in this order', default: 'ABCDFE' },
  clients: { kind: 'integer', about: 'operations outstanding', default: 64, min: 1, max: 65_536 },
  records: { kind: 'integer', about: 'records loaded first', default: 100_000, min: 1, max: 100_000_000 },
  value: { kind: 'integer', about: 'bytes of a record', default: 1_000, min: 1, max: 1_048_576 },
  shards: { kind: 'integer', about: 'shards', default: 64, min: 1, max: 16_384 },
  seconds: { kind: 'number', about: 'seconds of a run', default: 10, min: 0.1, max: 86_400 },
  runs: { kind: 'integer', about: 'runs of each workload', default: 3, min: 1, max: 1_000 },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/mixed.json' },
} as const;

type Options = OptionsOf<typeof specs>;

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const chosen = Array.from(options.workloads.toUpperCase(), (name) => {
    const mix = mixes[name];
    if (mix === undefined) throw new UsageError(`--workloads has letters from A to F, not ${JSON.stringify(name)}`);
    return { name, mix };
  });
  const report = new Report('mixed', options);
  const cluster = await BenchCluster.start();
  try {
    await cluster.createKeyspace({ splitKeys: recordSplitKeys(options.shards) });
    const client = await cluster.connect({ inFlightOps: Math.max(4_096, options.clients) });
    try {
      await load(client, options);
      let records = options.records;
      for (const { name, mix } of chosen)
        records = await runMix(cluster, client, report, { name, mix, records }, options);
    } finally {
      client.close();
    }
  } finally {
    await cluster.stop();
  }
  report.finish(options.json);
}

async function load(client: SkerryClient, options: Options): Promise<void> {
  const value = randomBytes(options.value);
  let next = 0;
  const fill = async (): Promise<void> => {
    while (next < options.records) await client.set(recordKey(next++), value);
  };
  await Promise.all(Array.from({ length: 256 }, fill));
}

/** Returns how many records there are afterwards. */
async function runMix(
  cluster: BenchCluster,
  client: SkerryClient,
  report: Report,
  { name, mix, records }: { readonly name: string; readonly mix: Mix; readonly records: number },
  options: Options,
): Promise<number> {
  const chooser = new Chooser(mix, records, name.charCodeAt(0));
  for (let run = 0; run < options.runs; run++) {
    const latency = new Map<Kind, Histogram>();
    const before = await cluster.counters();
    const driven = await keepOutstanding(options.clients, options.seconds, async () => {
      const kind = chooser.kind();
      const startMs = performance.now();
      await operate(client, chooser, kind, options.value);
      let histogram = latency.get(kind);
      if (histogram === undefined) latency.set(kind, (histogram = new Histogram()));
      histogram.record((performance.now() - startMs) * 1000);
    });
    const after = await cluster.counters();
    if (driven.firstError !== null) console.log(`an operation failed: ${driven.firstError}`);
    report.add(`${name} (${mix.about})`, {
      ...figuresOf(driven, 'operations'),
      ...byKind(latency),
      ...cpuFigures(before, after, driven.seconds, driven.done, 'operation'),
    });
  }
  return chooser.insert();
}

function byKind(latency: ReadonlyMap<Kind, Histogram>): Record<string, number> {
  const figures: Record<string, number> = {};
  for (const kind of kinds) {
    const histogram = latency.get(kind);
    if (histogram === undefined) continue;
    figures[`${kind} p50 ms`] = histogram.quantileUs(0.5) / 1000;
    figures[`${kind} p99 ms`] = histogram.quantileUs(0.99) / 1000;
  }
  return figures;
}

async function operate(client: SkerryClient, chooser: Chooser, kind: Kind, valueBytes: number): Promise<void> {
  switch (kind) {
    case 'read':
      await client.get(recordKey(chooser.record()));
      return;
    case 'update':
      return client.set(recordKey(chooser.record()), randomBytes(valueBytes));
    case 'insert':
      return client.set(recordKey(chooser.insert()), randomBytes(valueBytes));
    case 'scan': {
      const limit = chooser.scanRows();
      const rows = client.scan({ start: recordKey(chooser.record()), limit, pageSize: limit });
      while ((await rows.next()).done !== true);
      return;
    }
    case 'readModifyWrite': {
      const key = recordKey(chooser.record());
      const value = (await client.get(key)) ?? Buffer.alloc(valueBytes);
      value[0] = ((value[0] ?? 0) + 1) & 0xff;
      return client.set(key, value);
    }
  }
}
