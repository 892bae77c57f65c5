import { BenchCluster, pause } from './support/bench_cluster.js';
import { cpuSeconds, rssBytes } from './support/process_cpu.js';
import { readOptions } from './support/options.js';
import { Report } from './support/report.js';
import { keyPerShard } from './support/shard_keys.js';

/**
 * `npm run bench -- restart --shards 10000`: kill -9 of a store with so many shards, and its start. How long until it says that it
 * serves, and until its replicas have caught up and hibernate.
 */
const specs = {
  shards: { kind: 'integer', about: 'shards', default: 10_000, min: 1, max: 16_384 },
  runs: { kind: 'integer', about: 'restarts', default: 3, min: 1, max: 1_000 },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/restart.json' },
} as const;

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const report = new Report('restart', options);
  const cluster = await BenchCluster.start();
  try {
    const createMs = performance.now();
    await cluster.createKeyspace({ shards: options.shards });
    console.log(`${options.shards} shards: created in ${((performance.now() - createMs) / 1000).toFixed(1)} s`);
    const client = await cluster.connect({ timeoutMs: 60_000, inFlightOps: 65_536 });
    await Promise.all(keyPerShard(options.shards).map((key) => client.set(key, 'x')));
    client.close();
    for (let run = 0; run < options.runs; run++) report.add(`${options.shards} shards`, await once(cluster, run % 3));
  } finally {
    await cluster.stop();
  }
  report.finish(options.json);
}

async function once(cluster: BenchCluster, victim: number): Promise<Record<string, number>> {
  await cluster.untilIdle();
  const store = cluster.local.stores[victim];
  if (store === undefined) throw new Error('there are three stores');
  await store.kill();
  await pause(2_000);
  const startMs = performance.now();
  await store.start();
  const servingMs = performance.now() - startMs;
  const cpuServing = cpuSeconds(store.pid) ?? NaN;
  const settledMs = await cluster.untilIdle();
  return {
    'serving s': servingMs / 1000,
    'CPU until it serves s': cpuServing,
    'all replicas rest again s': (servingMs + settledMs) / 1000,
    'CPU until then s': cpuSeconds(store.pid) ?? NaN,
    'resident MiB': rssBytes(store.pid) / 2 ** 20,
  };
}
