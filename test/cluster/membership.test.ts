import t from 'tap';
import { SkerryClient, SkerryError } from '../../src/client/index.js';
import type { ShardStatus } from '../../src/gen/skerry/v1/admin.js';
import { RegisterLoad } from './register_load.js';
import { clusterFor, eventually, shardId, shardsOf, storesOf } from './support.js';

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000);

/** What an operator is refused with when the balancer is at work on its shard, or has changed it since it was looked at. */
const overtaken = ['OPERATOR_RUNNING', 'JOINT', 'NO_REPLICA', 'NOT_A_VOTER', 'HOST_TAKEN'];

/**
 * The balancer goes on until stores are as even as they get, so it may be at work on the very shard that is looked at: then
 * the operator is asked for again, of a shard as it is by then. Any other refusal is a failure, and so is one that does not end.
 */
function insist<T>(what: string, attempt: () => Promise<T | null>): Promise<T> {
  return eventually(what, async () => {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof SkerryError)) throw error;
      const { code, details } = error;
      if (code === 'ALREADY_EXISTS' || overtaken.includes(String(details['reason']))) return null;
      throw error;
    }
  });
}

/** A shard that has just its three replicas: a fourth one is on its way to another store. */
function wholeOne(shards: readonly ShardStatus[]): ShardStatus | undefined {
  return shards.find((shard) => storesOf(shard).length === 3);
}

t.test('replicas are added, moved and removed under load, and a fourth store takes its share', async (t) => {
  const cluster = await clusterFor(t);
  await cluster.createKeyspace('default', { shards: 16 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'move', 40);
  load.start();
  await load.ackedMore(300);

  const fourth = await cluster.addStore();
  const fourthId = fourth.ready.storeId ?? 0;
  await cluster.withAdmin(async (admin) => {
    await t.test('the balancer moves replicas to the new store until all hold about as many', async (t) => {
      const counts = await eventually(
        'replicas are even',
        async () => {
          const held = new Map<number, number>();
          const shards = await shardsOf(admin, 'default');
          for (const shard of shards) for (const id of storesOf(shard)) held.set(id, (held.get(id) ?? 0) + 1);
          const whole = shards.every((shard) => storesOf(shard).length === 3);
          const spread = Math.max(...held.values()) - Math.min(...held.values());
          return whole && held.size === 4 && spread <= 3 ? held : null;
        },
        120_000,
      );
      t.ok((counts.get(fourthId) ?? 0) >= 10, `the fourth store holds ${counts.get(fourthId) ?? 0} of 48 replicas`);
    });

    await t.test('move-replica ends on the store asked for, and the epoch shows it', async (t) => {
      const all = cluster.stores.map((store) => store.ready.storeId ?? 0);
      const { before, from, to } = await insist('a replica is moved', async () => {
        const before = wholeOne(await shardsOf(admin, 'default'));
        if (before === undefined) return null;
        const to = all.find((id) => !storesOf(before).includes(id)) ?? 0;
        // The hardest one to move: the leader's.
        const from = before.route?.leaderStoreId ?? 0;
        await admin.moveReplica({ shardId: shardId(before), fromStoreId: from, toStoreId: to, wait: true });
        return { before, from, to };
      });
      const after = await admin.getShard(shardId(before));
      t.ok(storesOf(after).includes(to));
      t.notOk(storesOf(after).includes(from));
      t.ok((after.route?.shard?.epoch?.confVer ?? 0) > (before.route?.shard?.epoch?.confVer ?? 0));
    });

    await t.test('add-replica makes a fourth voter and remove-replica takes it away', async (t) => {
      const all = cluster.stores.map((store) => store.ready.storeId ?? 0);
      const { shard, extra } = await insist('a replica is added', async () => {
        const shard = wholeOne(await shardsOf(admin, 'default'));
        if (shard === undefined) return null;
        const extra = all.find((id) => !storesOf(shard).includes(id)) ?? 0;
        await admin.addReplica({ shardId: shardId(shard), storeId: extra, learner: false, wait: true });
        return { shard, extra };
      });
      t.same(storesOf(await admin.getShard(shardId(shard))), all);
      await insist('it is removed', () => admin.removeReplica({ shardId: shardId(shard), storeId: extra, wait: true }));
      t.same(
        storesOf(await admin.getShard(shardId(shard))),
        all.filter((id) => id !== extra),
      );
    });

    await t.test('transfer-leader hands leadership to the store asked for', async (t) => {
      const { id, to } = await insist('a leader is handed over', async () => {
        const shard = wholeOne(await shardsOf(admin, 'default'));
        if (shard === undefined) return null;
        const id = shardId(shard);
        const to = storesOf(shard).find((store) => store !== shard.route?.leaderStoreId) ?? 0;
        await admin.transferLeader({ shardId: id, storeId: to, wait: true });
        return { id, to };
      });
      t.equal((await admin.getShard(id)).route?.leaderStoreId, to);
    });

    await t.test('a split makes two shards that clients follow', async (t) => {
      const keys = Array.from({ length: 500 }, (_, i) => `split/${i}`);
      await client.batchWrite(keys.map((key) => ({ type: 'set', key, value: key })));
      await insist('a shard is split', async () => {
        const shard = wholeOne(await shardsOf(admin, 'default'));
        if (shard === undefined) return null;
        return admin.splitShard({ shardId: shardId(shard), splitKey: Buffer.alloc(0), wait: true });
      });
      await eventually('17 shards, each with a leader', async () => {
        const shards = await shardsOf(admin, 'default');
        return shards.length === 17 && shards.every((s) => s.route?.leaderStoreId !== 0) ? true : null;
      });
      t.same((await client.batchGet(keys)).map(String), keys, 'no key was lost or misplaced');
      let rows = 0;
      for await (const row of client.scan({ prefix: 'split/' })) rows += row.value.length > 0 ? 1 : 0;
      t.equal(rows, keys.length, 'a scan sees each key once');
    });

    await t.test('a drained store ends up empty', async (t) => {
      await load.ackedMore(200);
      await admin.drainStore(fourthId);
      await eventually(
        'the drained store holds nothing',
        async () => {
          const shards = await shardsOf(admin, 'default');
          return shards.every((shard) => !storesOf(shard).includes(fourthId) && storesOf(shard).length === 3)
            ? true
            : null;
        },
        120_000,
      );
      t.pass('every replica moved away');
    });
  });

  await load.ackedMore(200);
  const report = await load.stop();
  t.same(report.violations, [], 'no read was stale and no acknowledged write is missing');
  t.same([...report.failures], [], 'no operation failed');
  t.comment(`${report.writes} writes, ${report.reads} reads, longest gap ${Math.round(report.longestGapMs)} ms`);
});

t.test('the replicas of a store that stays away are rebuilt elsewhere', async (t) => {
  const cluster = await clusterFor(t, {
    stores: 4,
    placementFlags: ['--store-disconnect-ms', '1500', '--store-down-ms', '3000'],
  });
  await cluster.createKeyspace('default', { shards: 8 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());
  const load = new RegisterLoad(client, 'dead', 20);
  load.start();
  await load.ackedMore(200);
  const victim = cluster.stores[0];
  const victimId = victim?.ready.storeId ?? 0;
  await victim?.kill('SIGKILL');
  await cluster.withAdmin((admin) =>
    eventually(
      'no shard counts on the dead store and all have three replicas',
      async () => {
        const shards = await shardsOf(admin, 'default');
        return shards.every((s) => !storesOf(s).includes(victimId) && storesOf(s).length === 3) ? true : null;
      },
      120_000,
    ),
  );
  const report = await load.stop();
  t.same(report.violations, []);
  t.same([...report.failures], []);
});
