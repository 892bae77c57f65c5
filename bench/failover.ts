import { AdminClient, SkerryError } from '../src/client/index.js';
import type { SkerryClient } from '../src/client/index.js';
import type { ShardRoute } from '../src/gen/skerry/v1/meta.js';
import { BenchCluster, keyspace, pause } from './support/bench_cluster.js';
import { retryMs, signalMs, writableMsMax } from './support/limits.js';
import type { ServerProcess } from '../src/cli/playground/server_process.js';
import type { OptionsOf } from './support/options.js';
import { readOptions, UsageError } from './support/options.js';
import { Report } from './support/report.js';
import { scrape } from './support/prometheus_text.js';
import { keyPerShard } from './support/shard_keys.js';

/**
 * `npm run bench -- failover --shards 10000`: kill -9 of a store that leads a third of the shards, all of them idle, and then one
 * write to every shard at once. How long until 99% and all of them have been written, counted from the kill. In place of the kill
 * `--stall 10` stops the store (SIGSTOP) for so many seconds, and `--held-disk 10` has its disk write and sync nothing for as long.
 */
const specs = {
  shards: { kind: 'integer', about: 'shards', default: 10_000, min: 3, max: 16_384 },
  runs: { kind: 'integer', about: 'kills, one store after the other', default: 3, min: 1, max: 1_000 },
  stall: { kind: 'number', about: 'seconds of SIGSTOP in place of a kill', default: 0, min: 0, max: 600 },
  'held-disk': {
    kind: 'number',
    about: 'seconds without a write or sync on its disk in place of a kill',
    default: 0,
    min: 0,
    max: 600,
  },
  json: { kind: 'text', about: 'file for the report', default: 'bench-results/failover.json' },
} as const;

/** What happens to a store, and how it ends. */
interface Fault {
  /** Of the stores that it is to happen to. */
  readonly nodeOptions: string;
  begin(store: ServerProcess): Promise<void>;
  /** `begunMs`: by performance.now(). */
  end(store: ServerProcess, begunMs: number): Promise<void>;
}

const killed: Fault = { nodeOptions: '', begin: (store) => store.kill(), end: (store) => store.start() };

/** For a time, from a signal to another. */
function lasting(seconds: number, begin: NodeJS.Signals, end: NodeJS.Signals, nodeOptions = ''): Fault {
  return {
    nodeOptions,
    begin: async (store) => {
      process.kill(store.pid, begin);
      await pause(signalMs);
    },
    end: async (store, begunMs) => {
      await pause(Math.max(0, begunMs + seconds * 1_000 - performance.now()));
      process.kill(store.pid, end);
    },
  };
}

function faultOf(options: OptionsOf<typeof specs>): Fault {
  const { stall, 'held-disk': heldDisk } = options;
  if (stall > 0 && heldDisk > 0) throw new UsageError('--stall and --held-disk exclude each other');
  if (stall > 0) return lasting(stall, 'SIGSTOP', 'SIGCONT');
  if (heldDisk === 0) return killed;
  const module = new URL('./support/held_disk.js', import.meta.url).href;
  return lasting(heldDisk, 'SIGUSR2', 'SIGUSR2', `--import=${module}`);
}

export async function run(args: string[]): Promise<void> {
  const options = readOptions(args, specs);
  const fault = faultOf(options);
  const report = new Report('failover', options);
  const cluster = await BenchCluster.start({ nodeOptions: fault.nodeOptions });
  try {
    const startMs = performance.now();
    await cluster.createKeyspace({ shards: options.shards });
    console.log(`${options.shards} shards: created in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    const client = await cluster.connect({ timeoutMs: writableMsMax, inFlightOps: 65_536 });
    try {
      for (let run = 0; run < options.runs; run++) {
        report.add(
          `${options.shards} shards`,
          await once(cluster, client, keyPerShard(options.shards), run % 3, fault),
        );
      }
    } finally {
      client.close();
    }
  } finally {
    await cluster.stop();
  }
  report.finish(options.json);
}

async function once(
  cluster: BenchCluster,
  client: SkerryClient,
  keys: readonly string[],
  victim: number,
  fault: Fault,
): Promise<Record<string, number>> {
  // Every route is known and every shard has been used, then all rest.
  await writeAll(client, keys, performance.now());
  await cluster.untilIdle();
  const leaders = await leaderStores(cluster);
  const store = cluster.local.stores[victim];
  if (store === undefined) throw new Error('there are three stores');
  const others = cluster.local.stores.filter((other) => other !== store);
  const beforeWithout = Math.max(...(await writeAll(client, keys, performance.now())));
  await cluster.untilIdle();
  const [before, electionsBefore] = [await cluster.counters(), await electionsOf(others)];
  const begunMs = performance.now();
  await fault.begin(store);
  const times = await writeAll(client, keys, begunMs);
  const [after, electionsAfter] = [await cluster.counters(), await electionsOf(others)];
  await fault.end(store, begunMs);
  await pause(1_000);
  const wasLed = (at: number): boolean => leaders[at] === store.ready.storeId;
  const led = times.filter((_, at) => wasLed(at));
  const notLed = times.filter((_, at) => !wasLed(at));
  const cpu = [1, 2, 3].filter((n) => n !== victim + 1).map((n) => `CPU store ${n}`);
  return {
    '99% of shards writable s': secondsAt(times, 0.99),
    'all shards writable s': secondsAt(times, 1),
    'half of the shards writable s': secondsAt(times, 0.5),
    'shards that the store led': led.length,
    'half of those writable s': secondsAt(led, 0.5),
    '99% of those writable s': secondsAt(led, 0.99),
    '99% of the others writable s': secondsAt(notLed, 0.99),
    'the same writes without a fault, all s': beforeWithout / 1_000,
    'elections started': electionsAfter - electionsBefore,
    'CPU of the other stores s': cpu.reduce((sum, name) => sum + ((after.get(name) ?? 0) - (before.get(name) ?? 0)), 0),
    'CPU client s': (after.get('CPU client') ?? 0) - (before.get('CPU client') ?? 0),
  };
}

/** Seconds after which that share of the times, in milliseconds, was over. */
function secondsAt(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return (sorted[Math.ceil(sorted.length * share) - 1] ?? NaN) / 1_000;
}

/** One write per key, all at once. When each was acknowledged, milliseconds since `sinceMs`. */
function writeAll(client: SkerryClient, keys: readonly string[], sinceMs: number): Promise<number[]> {
  return Promise.all(
    keys.map(async (key) => {
      await setPatiently(client, key);
      return performance.now() - sinceMs;
    }),
  );
}

/** As a caller that is told to come back later: the time until then counts. */
async function setPatiently(client: SkerryClient, key: string): Promise<void> {
  for (;;) {
    try {
      await client.set(key, 'x');
      return;
    } catch (error) {
      if (!(error instanceof SkerryError) || !error.retryable) throw error;
      const hintMs = error.details['retryAfterMs'];
      await pause(typeof hintMs === 'number' ? hintMs : retryMs);
    }
  }
}

/** The leader's store of each shard, in the order of their keys. */
async function leaderStores(cluster: BenchCluster): Promise<number[]> {
  const admin = await AdminClient.connect({ placement: cluster.local.placement });
  try {
    const routes: ShardRoute[] = [];
    for await (const { route } of admin.listShards(keyspace)) if (route !== undefined) routes.push(route);
    const startOf = ({ shard }: ShardRoute): Uint8Array => shard?.startKey ?? Buffer.alloc(0);
    routes.sort((a, b) => Buffer.compare(startOf(a), startOf(b)));
    return routes.map(({ leaderStoreId }) => leaderStoreId);
  } finally {
    admin.close();
  }
}

async function electionsOf(stores: readonly ServerProcess[]): Promise<number> {
  const pages = await Promise.all(stores.map((store) => scrape(store.ready.metrics ?? '')));
  return pages.reduce((sum, page) => sum + (page.get('skerry_elections_started_total') ?? 0), 0);
}
