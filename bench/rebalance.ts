import { AdminClient } from '../src/client/index.js';
import { BenchCluster, cpuFigures } from './support/bench_cluster.js';
import { figuresOf, keepRate } from './support/drive.js';
import { keyspaceWaitMs, writableMsMax } from './support/limits.js';
import { untilPlacementRests } from './support/placement_rest.js';
import type { OptionsOf } from './support/options.js';
import { readOptions } from './support/options.js';
import { ReplicaMap } from './support/replica_map.js';
import { Report } from './support/report.js';
import { keyPerShard } from './support/shard_keys.js';

/**
 * `npm run bench -- rebalance --shards 3000`: three stores and their shards take writes at a low rate; a fourth store comes, and
 * when nothing moves any more the first is drained. How long each takes, how even replicas and leaders are then, how many replicas
 * were made beside the fewest that lead to the same end, and what the writers saw.
 */
const specs = {
  shards: { kind: 'integer', about: 'shards', default: 3_000, min: 3, max: 16_384 },
  rate: { kind: 'integer', about: 'puts per second meanwhile', default: 100, min: 1, max: 100_000 },
  keys: { kind: 'integer', about: 'shards that they go to, in turn', default: 64, min: 1, max: 16_384 },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/rebalance.json' },
} as const;

type Options = OptionsOf<typeof specs>;

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const report = new Report('rebalance', options);
  const cluster = await BenchCluster.start();
  try {
    const startMs = performance.now();
    await cluster.createKeyspace({ shards: options.shards });
    console.log(`${options.shards} shards: created in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    const admin = await AdminClient.connect({ placement: cluster.local.placement, timeoutMs: keyspaceWaitMs });
    try {
      await untilPlacementRests(cluster.local);
      report.add('a fourth store', await change(cluster, admin, options, () => cluster.local.addStore()));
      const first = cluster.local.stores[0]?.ready.storeId ?? 0;
      report.add('a drain', await change(cluster, admin, options, () => admin.drainStore(first)));
    } finally {
      admin.close();
    }
  } finally {
    await cluster.stop();
  }
  report.finish(options.json);
}

/** Puts go on from before the change until nothing moves any more. */
async function change(
  cluster: BenchCluster,
  admin: AdminClient,
  options: Options,
  make: () => Promise<unknown>,
): Promise<Record<string, number>> {
  const client = await cluster.connect({ timeoutMs: writableMsMax });
  try {
    const all = keyPerShard(options.shards);
    const stride = Math.max(1, Math.floor(all.length / options.keys));
    const keys = all.filter((_, i) => i % stride === 0);
    let next = 0;
    const before = await ReplicaMap.read(admin);
    const cpuBefore = await cluster.counters();
    const startMs = performance.now();
    const over = new AbortController();
    const load = keepRate(
      options.rate,
      Infinity,
      4_096,
      () => client.set(keys[next++ % keys.length] ?? '', 'x'),
      over.signal,
    );
    await make();
    const restedMs = await untilPlacementRests(cluster.local);
    over.abort();
    const driven = await load;
    const cpuAfter = await cluster.counters();
    const after = await ReplicaMap.read(admin);
    return {
      'until nothing moves s': (restedMs - startMs) / 1_000,
      ...after.changesSince(before),
      ...figuresOf(driven, 'puts'),
      ...cpuFigures(cpuBefore, cpuAfter, driven.seconds, driven.done, 'put'),
    };
  } finally {
    client.close();
  }
}
