import t from 'tap';
import { SkerryClient } from '../../src/client/index.js';
import { RegisterLoad } from './register_load.js';
import { clusterFor, eventually, shardsOf, storesOf } from './support.js';

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000);

t.test('kill -9 of a store under load loses nothing, and the store comes back and catches up', async (t) => {
  const cluster = await clusterFor(t);
  await cluster.createKeyspace('default', { shards: 16 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'kill', 40);
  load.start();
  await load.ackedMore(500);

  for (const victim of cluster.stores.slice(0, 2)) {
    await victim.kill('SIGKILL');
    // Two of three are a majority: writes go on on every register.
    await load.ackedMore(500);
    await victim.start();
    await cluster.withAdmin((admin) =>
      eventually('every replica of every shard has caught up', async () => {
        const shards = await shardsOf(admin, 'default');
        const sound = shards.every(
          (shard) =>
            shard.route?.leaderStoreId !== 0 &&
            storesOf(shard).length === 3 &&
            shard.progress.length === 3 &&
            shard.progress.every((replica) => !replica.down && !replica.pending),
        );
        return sound ? true : null;
      }),
    );
    await load.ackedMore(200);
  }

  const report = await load.stop();
  t.same(report.violations, [], 'no read was stale and no acknowledged write is missing');
  t.same([...report.failures], [], 'no operation failed');
  t.comment(`${report.writes} writes, ${report.reads} reads, longest gap ${Math.round(report.longestGapMs)} ms`);

  // What every replica holds, asked at each store in turn as followers.
  const fresh = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => fresh.close());
  await load.verify(fresh);
  t.same(load.report().violations, []);
});
