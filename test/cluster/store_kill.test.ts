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

t.test('all stores killed at once come back with every acknowledged write', async (t) => {
  const cluster = await clusterFor(t);
  await cluster.createKeyspace('default', { shards: 8 });
  const rounds = 3;
  for (let round = 0; round < rounds; round++) {
    const client = await SkerryClient.connect({ placement: cluster.placement });
    const acked = new Map<string, string>();
    let stop = false;
    const writers = Array.from({ length: 32 }, async (_, writer) => {
      for (let i = 0; !stop; i++) {
        const key = `all/${round}/${writer}/${i}`;
        try {
          await client.set(key, `value of ${key}`, { timeoutMs: 1500 });
          acked.set(key, `value of ${key}`);
        } catch {
          // Killed under it: its fate is open, and nothing was promised.
          stop = true;
        }
      }
    });
    await eventually('there are acknowledged writes', () => (acked.size > 2000 ? true : null));
    await Promise.all(cluster.stores.map((store) => store.kill('SIGKILL')));
    stop = true;
    await Promise.all(writers);
    client.close();
    await Promise.all(cluster.stores.map((store) => store.start()));
    const after = await SkerryClient.connect({ placement: cluster.placement });
    const keys = [...acked.keys()];
    const missing: string[] = [];
    for (let at = 0; at < keys.length; at += 4000) {
      const page = keys.slice(at, at + 4000);
      const values = await after.batchGet(page, { timeoutMs: 30_000 });
      missing.push(...page.filter((key, n) => values[n]?.toString() !== acked.get(key)));
    }
    t.same(missing, [], `round ${round}: ${keys.length} acknowledged writes`);
    after.close();
  }
});
