import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { AdminClient } from '../../client/index.js';
import { freePorts } from './free_ports.js';
import { keyspaceReadyMsMax, portAttemptsMax } from './limits.js';
import { ServerProcess } from './server_process.js';

/**
 * A whole cluster of real server processes on this machine's loopback, with real data directories. The playground, the tests
 * with real processes and the benchmarks use it.
 *
 *     const cluster = await startLocalCluster({ stores: 3 });
 *     await cluster.createKeyspace('default', { shards: 16 });
 *     ... SkerryClient.connect({ placement: cluster.placementAddresses }) ...
 *     await cluster.stores[0].kill();          // SIGKILL
 *     await cluster.stores[0].start();         // same address, same data
 *     await cluster.stop();                    // everything ends; a temporary data directory is removed
 */
export interface LocalClusterOptions {
  /** Default 3. */
  readonly stores?: number | undefined;
  /** Default 1. */
  readonly placements?: number | undefined;
  /** Kept at the end. Default: a temporary one, removed by stop(). */
  readonly dataDir?: string | undefined;
  /** Further flags for every server of a kind. */
  readonly storeFlags?: readonly string[] | undefined;
  readonly placementFlags?: readonly string[] | undefined;
  /** Environment of every store beyond this process's own. */
  readonly storeEnvironment?: Readonly<Record<string, string>> | undefined;
  /** Told of each step, in words. */
  readonly onProgress?: ((message: string) => void) | undefined;
  /** Gives the start up: what was started is stopped again. */
  readonly signal?: AbortSignal | undefined;
}

/** What a kept data directory must remember: placement members keep their addresses. */
const layout = z.object({ placementPorts: z.array(z.number()), stores: z.number() });
type Layout = z.infer<typeof layout>;

export async function startLocalCluster(options: LocalClusterOptions = {}): Promise<LocalCluster> {
  const temporary = options.dataDir === undefined;
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'skerry-')));
  await mkdir(dataDir, { recursive: true });
  const cluster = new LocalCluster(dataDir, temporary, options);
  const giveUp = (): void => cluster.killNow();
  options.signal?.addEventListener('abort', giveUp, { once: true });
  try {
    await cluster.start();
    options.signal?.throwIfAborted();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
  }
}

export class LocalCluster {
  readonly dataDir: string;
  readonly placements: ServerProcess[] = [];
  readonly stores: ServerProcess[] = [];
  readonly #temporary: boolean;
  readonly #options: LocalClusterOptions;
  #placementPorts: readonly number[] = [];
  readonly #onExit = (): void => this.killNow();

  /** Use startLocalCluster(). */
  constructor(dataDir: string, temporary: boolean, options: LocalClusterOptions) {
    this.dataDir = dataDir;
    this.#temporary = temporary;
    this.#options = options;
    process.once('exit', this.#onExit);
  }

  /** SIGKILL for every server, without waiting. */
  killNow(): void {
    for (const server of [...this.stores, ...this.placements]) server.killNow();
  }

  get placementAddresses(): string[] {
    return this.#placementPorts.map((port) => `127.0.0.1:${port}`);
  }

  /** As SKERRY_PLACEMENT has it. */
  get placement(): string {
    return this.placementAddresses.join(',');
  }

  #say(message: string): void {
    this.#options.onProgress?.(message);
  }

  async start(): Promise<void> {
    const kept = await this.#readLayout();
    await this.#startPlacements(kept);
    const stores = Math.max(this.#options.stores ?? 3, kept?.stores ?? 0);
    // One after the other, so that their ids are in the order of their names.
    while (this.stores.length < stores) await this.#startStore();
    await this.#writeLayout();
    await this.#untilRegistered();
  }

  async #startPlacements(kept: Layout | null): Promise<void> {
    const count = kept?.placementPorts.length ?? this.#options.placements ?? 1;
    for (let attempt = 1; ; attempt++) {
      this.#placementPorts = kept?.placementPorts ?? (await freePorts(count));
      const members = this.placementAddresses.map((address, i) => `${i + 1}=${address}`).join(',');
      const servers = this.placementAddresses.map((address, i) => this.#placementServer(i + 1, address, members));
      this.placements.push(...servers);
      // Together: members wait for each other.
      const outcomes = await Promise.allSettled(servers.map((server) => server.start()));
      const failed = outcomes.find((o) => o.status === 'rejected');
      if (failed === undefined) break;
      await Promise.all(servers.map((server) => server.stop()));
      this.placements.length = 0;
      const taken = String(failed.reason).includes('in use');
      if (kept !== null || !taken || attempt === portAttemptsMax) throw failed.reason;
    }
    for (const server of this.placements) this.#say(`${server.name} serves on ${server.address} (pid ${server.pid})`);
  }

  #placementServer(memberId: number, address: string, members: string): ServerProcess {
    const name = `placement-${memberId}`;
    return new ServerProcess({
      name,
      binary: 'skerry-placement',
      logFile: join(this.dataDir, `${name}.log`),
      flags: () => [
        ...['--member-id', String(memberId), '--members', members, '--address', address],
        ...['--data-dir', join(this.dataDir, name), '--metrics-address', '127.0.0.1:0'],
        ...(this.#options.placementFlags ?? []),
      ],
    });
  }

  async #startStore(): Promise<ServerProcess> {
    const number = this.stores.length + 1;
    const name = `store-${number}`;
    const server = new ServerProcess({
      name,
      binary: 'skerry-store',
      logFile: join(this.dataDir, `${name}.log`),
      environment: this.#options.storeEnvironment,
      flags: (address) => [
        ...['--address', address ?? '127.0.0.1:0', '--placement', this.placement],
        // Every store stands for a machine of its own.
        ...['--data-dir', join(this.dataDir, name), '--labels', `host=h${number}`],
        ...['--metrics-address', '127.0.0.1:0', ...(this.#options.storeFlags ?? [])],
      ],
    });
    this.stores.push(server);
    await server.start();
    this.#say(`${name} serves on ${server.address} (pid ${server.pid}, store id ${server.ready.storeId ?? 'unknown'})`);
    return server;
  }

  /** One store more, with an empty data directory; resolves when the placement service knows it. */
  async addStore(): Promise<ServerProcess> {
    const server = await this.#startStore();
    await this.#writeLayout();
    await this.#untilRegistered();
    return server;
  }

  async #untilRegistered(): Promise<void> {
    await this.withAdmin((admin) =>
      this.#until('all stores are registered', async () => {
        const known = new Set((await admin.listStores()).map((store) => store.address));
        return this.stores.every((server) => !server.running || known.has(server.address));
      }),
    );
  }

  /** Creates a keyspace and waits until each of its shards has a leader and leaders are spread over the stores. */
  async createKeyspace(
    name: string,
    options: { shards?: number; splitKeys?: string[]; replicas?: number } = {},
  ): Promise<void> {
    // With one or two stores there is no majority to be had of three.
    const replicas = options.replicas ?? (this.stores.length < 3 ? 1 : 3);
    await this.withAdmin(async (admin) => {
      const existing = (await admin.listKeyspaces()).some((keyspace) => keyspace.name === name);
      if (!existing) await admin.createKeyspace(name, { ...options, replicas, wait: true });
      await this.#until(`keyspace ${name} has leaders everywhere`, () => leadersAreSpread(admin, name));
    });
  }

  async withAdmin<T>(use: (admin: AdminClient) => Promise<T>): Promise<T> {
    const admin = await AdminClient.connect({ placement: this.placementAddresses, timeoutMs: 30_000 });
    try {
      return await use(admin);
    } finally {
      admin.close();
    }
  }

  async #readLayout(): Promise<Layout | null> {
    try {
      return layout.parse(JSON.parse(await readFile(join(this.dataDir, 'playground.json'), 'utf8')));
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw new Error(`${this.dataDir}/playground.json cannot be used`, { cause: error });
    }
  }

  async #writeLayout(): Promise<void> {
    const content: Layout = { placementPorts: [...this.#placementPorts], stores: this.stores.length };
    await writeFile(join(this.dataDir, 'playground.json'), JSON.stringify(content));
  }

  /** Asks every 100 ms until the answer is yes. */
  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + keyspaceReadyMsMax;
    while (!(await condition())) {
      this.#options.signal?.throwIfAborted();
      if (performance.now() > deadline) {
        throw new Error(`gave up waiting: ${what} did not come within ${keyspaceReadyMsMax} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Stops every server, stores first, and removes a temporary data directory. */
  async stop(): Promise<void> {
    await Promise.all(this.stores.map((server) => server.stop()));
    await Promise.all(this.placements.map((server) => server.stop()));
    process.removeListener('exit', this.#onExit);
    if (this.#temporary) await rm(this.dataDir, { recursive: true, force: true });
  }
}

/** Every shard has a leader, and no store leads a tenth more than its share (or one more, for few shards). */
async function leadersAreSpread(admin: AdminClient, keyspace: string): Promise<boolean> {
  const leaders = new Map<number, number>();
  let shards = 0;
  for await (const { route } of admin.listShards(keyspace)) {
    shards++;
    for (const { storeId } of route?.shard?.replicas ?? []) leaders.set(storeId, leaders.get(storeId) ?? 0);
    const leader = route?.leaderStoreId ?? 0;
    if (leader === 0) return false;
    leaders.set(leader, (leaders.get(leader) ?? 0) + 1);
  }
  const share = shards / leaders.size;
  return shards > 0 && [...leaders.values()].every((led) => Math.abs(led - share) <= Math.max(1, share * 0.1));
}
