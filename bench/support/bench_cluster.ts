import type { LocalCluster } from '../../src/cli/playground/local_cluster.js';
import { startLocalCluster } from '../../src/cli/playground/local_cluster.js';
import type { ServerProcess } from '../../src/cli/playground/server_process.js';
import { AdminClient, SkerryClient } from '../../src/client/index.js';
import { keyspaceWaitMs, settleMsMax } from './limits.js';
import { cpuSeconds, rssBytes } from './process_cpu.js';
import { scrape } from './prometheus_text.js';

/** The keyspace that benchmarks work in. */
export const keyspace = 'bench';

/** Numbers that only grow, by name: CPU seconds per process and sums of the stores' counters. */
export type Counters = ReadonlyMap<string, number>;

/** Three stores and a placement member in processes of their own on this machine, with what a benchmark asks of them. */
export class BenchCluster {
  readonly local: LocalCluster;

  private constructor(local: LocalCluster) {
    this.local = local;
  }

  /** `nodeOptions`: of the stores, beyond NODE_OPTIONS. */
  static async start(
    options: { readonly dataDir?: string; readonly nodeOptions?: string } = {},
  ): Promise<BenchCluster> {
    const dataDir = options.dataDir === '' ? undefined : options.dataDir;
    const nodeOptions = `${process.env['NODE_OPTIONS'] ?? ''} ${options.nodeOptions ?? ''}`;
    const storeEnvironment = { NODE_OPTIONS: nodeOptions };
    return new BenchCluster(await startLocalCluster({ stores: 3, placements: 1, dataDir, storeEnvironment }));
  }

  /** Creates the keyspace and waits until every shard has had a leader. `splitKeys` make a range keyspace. */
  async createKeyspace(options: { readonly shards?: number; readonly splitKeys?: string[] }): Promise<void> {
    const admin = await AdminClient.connect({ placement: this.local.placement, timeoutMs: keyspaceWaitMs });
    try {
      const exists = async (): Promise<boolean> => (await admin.listKeyspaces()).some(({ name }) => name === keyspace);
      if (!(await exists())) {
        await admin.createKeyspace(keyspace, { ...options, wait: true });
        return;
      }
      await untilLed(admin, options.shards ?? (options.splitKeys?.length ?? 0) + 1);
    } finally {
      admin.close();
    }
  }

  connect(options: { readonly timeoutMs?: number; readonly inFlightOps?: number } = {}): Promise<SkerryClient> {
    return SkerryClient.connect({ placement: this.local.placement, keyspace, ...options });
  }

  /** Each server with the name that reports give it. */
  servers(): [string, ServerProcess][] {
    const stores = this.local.stores.map((s, i): [string, ServerProcess] => [`store ${i + 1}`, s]);
    return [...stores, ...this.local.placements.map((s, i): [string, ServerProcess] => [`placement ${i + 1}`, s])];
  }

  /** The metrics pages of the stores that run. */
  storeMetrics(): Promise<Map<string, number>[]> {
    const running = this.local.stores.filter((store) => store.running);
    return Promise.all(running.map((store) => scrape(store.ready.metrics ?? '')));
  }

  /** CPU seconds of every process, this one too as "client", and the named counters summed over stores. */
  async counters(...names: string[]): Promise<Counters> {
    const own = process.cpuUsage();
    const counters = new Map([['CPU client', (own.user + own.system) / 1e6]]);
    for (const [name, server] of this.servers()) {
      if (server.running) counters.set(`CPU ${name}`, cpuSeconds(server.pid) ?? NaN);
    }
    if (names.length === 0) return counters;
    for (const metrics of await this.storeMetrics()) {
      for (const name of names) counters.set(name, (counters.get(name) ?? 0) + (metrics.get(name) ?? 0));
    }
    return counters;
  }

  /** Resident bytes of each process that runs. */
  memory(): Record<string, number> {
    const running = this.servers().filter(([, server]) => server.running);
    return Object.fromEntries(running.map(([name, server]) => [name, rssBytes(server.pid)]));
  }

  /** Waits until nearly all replicas hibernate. Returns how long it took, milliseconds. @throws Error when they do not */
  async untilIdle(): Promise<number> {
    const startMs = performance.now();
    for (;;) {
      const stores = await this.storeMetrics();
      const awake = stores.map((m) => (m.get('skerry_groups') ?? 0) - (m.get('skerry_shards_hibernating') ?? 0));
      const tookMs = performance.now() - startMs;
      if (awake.every((count) => count === 0)) return tookMs;
      if (tookMs > settleMsMax) throw new Error(`replicas still awake after ${settleMsMax} ms: ${awake.join(', ')}`);
      await pause(250);
    }
  }

  stop(): Promise<void> {
    return this.local.stop();
  }
}

/** Asks until the keyspace has so many shards and each has a leader. @throws Error when this does not come */
async function untilLed(admin: AdminClient, shards: number): Promise<void> {
  const deadline = performance.now() + keyspaceWaitMs;
  for (let led = -1; led < shards;) {
    await pause(1_000);
    if (performance.now() > deadline) throw new Error(`${led} of ${shards} shards have a leader; no more came`);
    led = 0;
    for await (const { route } of admin.listShards(keyspace)) if ((route?.leaderStoreId ?? 0) !== 0) led++;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** CPU of a stretch of time as figures: per process in cores, and of all of them per operation. */
export function cpuFigures(
  before: Counters,
  after: Counters,
  seconds: number,
  done: number,
  what: string,
): Record<string, number> {
  const figures: Record<string, number> = {};
  let all = 0;
  for (const [name, value] of after) {
    if (!name.startsWith('CPU ')) continue;
    const used = value - (before.get(name) ?? 0);
    all += used;
    figures[`${name} cores`] = used / seconds;
  }
  return { ...figures, 'CPU all cores': all / seconds, [`CPU all us/${what}`]: (all * 1e6) / done };
}
