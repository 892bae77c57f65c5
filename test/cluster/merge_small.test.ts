import t from 'tap';
import { type AdminClient, SkerryClient } from '../../src/client/index.js';
import { RegisterLoad } from './register_load.js';
import { clusterFor, eventually, shardsOf, storesOf } from './support.js';

// A guard against hanging, not a measurement: a busy machine starts five servers in here.
t.setTimeout(600_000);

const keyspace = 'default';
const rows = 600;

/**
 * Sizes of a test: a shard of more than 100 rows is split, two with less than 50 rows together are merged. Nothing rests, so that
 * what splits and merges would undo each other shows.
 */
const placementFlags = [
  ...['--shards-split-keys', '100', '--shards-merge-keys', '25', '--shards-rest-ms', '0'],
  ...['--shards-split-bytes', '0', '--shards-split-work', '0'],
];

/** What holds placement back, for when it does not do what is waited for. */
async function reasonsOf(admin: AdminClient): Promise<string> {
  const shards = await shardsOf(admin, keyspace);
  const whys = await Promise.all(
    shards.map(async (shard) => ({ shard, why: await admin.whyShard(shard.route?.shard?.shardId ?? 0) })),
  );
  return JSON.stringify(whys, null, 1);
}

t.test('a keyspace grows by its rows and shrinks when they are deleted, and no client notices', async (t) => {
  const cluster = await clusterFor(t, { stores: 4, placementFlags });
  await cluster.createKeyspace(keyspace, { shards: 2 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'small', 12, { pauseMs: 10 });
  load.start();
  await load.ackedMore(50);
  const names = Array.from({ length: rows }, (_, at) => `row/${at}`);
  await Promise.all(names.map((name) => client.set(name, name)));
  await cluster.withAdmin(async (admin) => {
    const most = await eventually(
      'the keyspace has split',
      async () => {
        const { length } = await shardsOf(admin, keyspace);
        return length >= 6 ? length : null;
      },
      240_000,
    );
    const places = new Set((await shardsOf(admin, keyspace)).map((shard) => storesOf(shard).join()));
    t.comment(`${most} shards on ${places.size} sets of stores`);
    await Promise.all(names.map((name) => client.delete(name)));
    await eventually(
      'the keyspace has as many shards as it began with',
      async () => ((await shardsOf(admin, keyspace)).length === 2 ? true : null),
      240_000,
    ).catch(async (error: unknown) => {
      t.comment(await reasonsOf(admin));
      throw error;
    });
    await load.ackedMore(100);
    t.equal((await shardsOf(admin, keyspace)).length, 2, 'and stays there');
  });
  const report = await load.stop();
  t.same(report.violations, [], 'no read was stale and no acknowledged write is missing');
  t.same([...report.failures], [], 'no operation failed');
  t.comment(`${report.writes} writes, ${report.reads} reads, longest gap ${Math.round(report.longestGapMs)} ms`);
});
