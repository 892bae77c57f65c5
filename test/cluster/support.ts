import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { get } from 'node:http';
import {
  startLocalCluster,
  type LocalCluster,
  type LocalClusterOptions,
} from '../../src/cli/playground/local_cluster.js';
import type { AdminClient } from '../../src/client/index.js';
import type { ShardStatus } from '../../src/gen/skerry/v1/admin.js';

/** A test that owns things to be given back at its end. */
interface Owner {
  teardown(fn: () => Promise<void> | void): unknown;
}

/** A cluster of real processes that ends with the test. */
export async function clusterFor(t: Owner, options: LocalClusterOptions = {}): Promise<LocalCluster> {
  const cluster = await startLocalCluster(options);
  t.teardown(() => cluster.stop());
  return cluster;
}

/**
 * Waits for a state of the cluster that nothing announces, by asking until the answer is not null. Time is only a guard
 * against hanging: 60 s, far above what any of this takes on a busy machine.
 */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | null> | T | null,
  limitMs = 60_000,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (performance.now() > deadline) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function shardsOf(admin: AdminClient, keyspace: string): Promise<ShardStatus[]> {
  const shards: ShardStatus[] = [];
  for await (const shard of admin.listShards(keyspace)) shards.push(shard);
  return shards;
}

/** The ids of the stores that hold a replica of the shard, ascending. */
export function storesOf(shard: ShardStatus): number[] {
  return (shard.route?.shard?.replicas ?? []).map((replica) => replica.storeId).sort((a, b) => a - b);
}

export function shardId(shard: ShardStatus): number {
  return shard.route?.shard?.shardId ?? 0;
}

/** Samples of one metric of a server's /metrics page, by their label text. */
export function metric(address: string, name: string): Promise<Map<string, number>> {
  return new Promise((resolve, reject) => {
    get(`http://${address}/metrics`, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        const samples = new Map<string, number>();
        for (const line of text.split('\n')) {
          const match = /^([a-z_]+)(\{.*\})? (\S+)$/.exec(line);
          if (match?.[1] === name) samples.set(match[2] ?? '', Number(match[3]));
        }
        resolve(samples);
      });
    }).on('error', reject);
  });
}

/** Established TCP connections between two processes of this machine, from /proc (what `ss -tnp` prints). */
export function connectionsBetween(pidA: number, pidB: number): number {
  const a = socketsOf(pidA);
  const b = socketsOf(pidB);
  let count = 0;
  for (const [local, remote] of a)
    if (b.some(([otherLocal, otherRemote]) => otherLocal === remote && otherRemote === local)) count++;
  return count;
}

function socketsOf(pid: number): [local: string, remote: string][] {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const established = '01';
  return readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === established && inodes.has(fields[9] ?? ''))
    .map((fields): [string, string] => [fields[1] ?? '', fields[2] ?? '']);
}

/** A descriptor may close between listing and reading. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
