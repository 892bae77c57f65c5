import { randomBytes } from 'node:crypto';
import t from 'tap';
import { SkerryClient, SkerryError } from '../../src/client/index.js';
import { ReflectionClient } from './reflection_client.js';
import { clusterFor, connectionsBetween, eventually, shardId, shardsOf } from './support.js';

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000);

/** A real cluster of three stores and one placement member, used as a client and as a stranger would. */
t.test('a cluster of real processes serves keys and values', async (t) => {
  const cluster = await clusterFor(t);
  await cluster.createKeyspace('default', { shards: 16 });
  const client = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => client.close());

  await t.test('set, get, exists, delete, with keys and values of any bytes', async (t) => {
    const key = Buffer.from([0, 255, 10, 13, 0, 128]);
    const value = randomBytes(100_000);
    t.equal(await client.get(key), null);
    await client.set(key, value);
    t.same(await client.get(key), value);
    t.equal(await client.exists(key), true);
    await client.set(key, '');
    t.same(await client.get(key), Buffer.alloc(0), 'an empty value is a value');
    await client.delete(key);
    t.equal(await client.get(key), null);
    t.equal(await client.exists(key), false);
    await client.delete(key);
  });

  await t.test('every consistency answers', async (t) => {
    await client.set('consistency', 'x');
    t.equal(String(await client.get('consistency', { consistency: 'linearizable' })), 'x');
    t.equal(String(await client.get('consistency', { consistency: 'follower' })), 'x');
    await eventually('every replica has applied the write', async () =>
      String(await client.get('consistency', { consistency: 'stale' })) === 'x' ? true : null,
    );
  });

  await t.test('batches, scans over all shards, prefixes and limits', async (t) => {
    const keys = Array.from({ length: 1000 }, (_, i) => `scan/${String(i).padStart(4, '0')}`);
    await client.batchWrite(keys.map((key) => ({ type: 'set', key, value: `v-${key}` })));
    const values = await client.batchGet([...keys, 'scan/none']);
    t.same(
      values.slice(0, -1).map(String),
      keys.map((key) => `v-${key}`),
    );
    t.equal(values.at(-1), null);
    const seen: string[] = [];
    for await (const row of client.scan({ prefix: 'scan/', pageSize: 37 })) {
      seen.push(String(row.key));
      if (String(row.value) !== `v-${String(row.key)}`) t.fail(`wrong value at ${String(row.key)}`);
    }
    t.equal(seen.length, keys.length, 'each key once');
    t.same([...seen].sort(), keys);
    let limited = 0;
    for await (const row of client.scan({ prefix: 'scan/', limit: 10, keysOnly: true })) {
      limited++;
      t.equal(row.value.length, 0);
    }
    t.equal(limited, 10);
  });

  await t.test('compare-and-swap lets one of many contenders win', async (t) => {
    t.same(await client.compareAndSwap('lock', null, 'free'), { swapped: true, current: null });
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, i) => client.compareAndSwap('lock', 'free', `owner-${i}`)),
    );
    t.equal(outcomes.filter((outcome) => outcome.swapped).length, 1);
    const failed = await client.compareAndSwap('lock', 'free', 'late');
    t.equal(failed.swapped, false);
    t.match(String(failed.current), /^owner-\d+$/);
  });

  await t.test('an atomic batch over a hash tag takes effect as a whole or not at all', async (t) => {
    await client.batchWrite(
      [
        { type: 'set', key: '{acct}a', value: '1' },
        { type: 'set', key: '{acct}b', value: '2' },
      ],
      { atomic: true },
    );
    const refused = await client.batchWrite(
      [
        { type: 'set', key: '{acct}a', value: 'changed' },
        { type: 'compareAndSwap', key: '{acct}b', expected: 'wrong', value: 'changed' },
      ],
      { atomic: true },
    );
    t.equal(refused.applied, false);
    t.same((await client.batchGet(['{acct}a', '{acct}b'])).map(String), ['1', '2']);
  });

  await t.test('a stranger with nothing but reflection can set, get, scan and delete', async (t) => {
    const placement = await ReflectionClient.connect(cluster.placementAddresses[0] ?? '', 'skerry.v1.Placement');
    t.teardown(() => placement.close());
    const clusterId = (await placement.call('GetClusterInfo', {}))['clusterId'];
    const { keyspace } = await placement.call('GetKeyspace', { clusterId, name: 'default' });
    const keyspaceId = (keyspace as { keyspaceId: number }).keyspaceId;
    const store = await ReflectionClient.connect(cluster.stores[0]?.address ?? '', 'skerry.v1.Kv');
    t.teardown(() => store.close());
    const header = { clusterId, keyspaceId, allowForward: true, timeoutMs: 20_000 };
    // Any store takes it: one that does not lead the key's shard passes it on.
    for (let i = 0; i < 8; i++) {
      const key = Buffer.from(`stranger-${i}`);
      t.equal((await store.call('Set', { header, key, value: Buffer.from('hello') }))['error'], null);
      t.same((await store.call('Get', { header, key }))['value'], Buffer.from('hello'));
      t.equal((await store.call('Delete', { header, key }))['error'], null);
      t.equal((await store.call('Exists', { header, key }))['exists'], false);
    }
    await client.set('stranger-scan', 'row');
    const routes = await placement.call('ListRoutes', { clusterId, keyspaceId });
    const list = routes['routes'] as { shard: { shardId: number }; leaderStoreId: number }[];
    t.equal(list.length, 16);
    let rows = 0;
    for (const route of list) {
      const page = await store.call('Scan', {
        header: { ...header, shardId: route.shard.shardId },
        prefix: Buffer.from('stranger-scan'),
      });
      t.equal(page['error'], null);
      rows += (page['rows'] as unknown[]).length;
    }
    t.equal(rows, 1);
  });

  await t.test('bad requests get the typed error that names the cure', async (t) => {
    const placement = await ReflectionClient.connect(cluster.placementAddresses[0] ?? '', 'skerry.v1.Placement');
    t.teardown(() => placement.close());
    const clusterId = (await placement.call('GetClusterInfo', {}))['clusterId'] as number;
    const { keyspace } = await placement.call('GetKeyspace', { clusterId, name: 'default' });
    const keyspaceId = (keyspace as { keyspaceId: number }).keyspaceId;
    const store = await ReflectionClient.connect(cluster.stores[0]?.address ?? '', 'skerry.v1.Kv');
    t.teardown(() => store.close());
    const header = { clusterId, keyspaceId, allowForward: true, timeoutMs: 20_000 };
    const kv = { key: Buffer.from('k'), value: Buffer.from('v') };
    const detailOf = async (request: object): Promise<unknown> =>
      ((await store.call('Set', request))['error'] as { detail: string } | null)?.detail;

    t.equal(await detailOf({ ...kv, header: { ...header, clusterId: clusterId + 1 } }), 'clusterMismatch');
    t.equal(await detailOf({ ...kv, header: { ...header, clusterId: 0 } }), 'clusterMismatch');
    t.equal(await detailOf({ ...kv, header: { ...header, storeId: 999_999 } }), 'storeNotMatch');
    t.equal(await detailOf({ ...kv, header: { ...header, shardId: 999_999 } }), 'shardNotFound');
    t.equal(await detailOf({ ...kv, key: Buffer.alloc(0), header }), 'invalidArgument');
    t.equal(await detailOf({ ...kv, key: Buffer.alloc(4097), header }), 'invalidArgument');
    t.equal(await detailOf({ ...kv, value: Buffer.alloc(8 * 2 ** 20 + 1), header }), 'invalidArgument');
    const [shard] = await cluster.withAdmin((admin) => shardsOf(admin, 'default'));
    const stale = { ...header, shardId: shard ? shardId(shard) : 0, epoch: { confVer: 999, version: 999 } };
    t.equal(await detailOf({ ...kv, header: stale }), 'epochNotMatch');
    t.match(await placement.call('GetKeyspace', { clusterId, name: 'none' }), {
      error: { detail: 'keyspaceNotFound' },
    });
    t.match(await placement.call('GetKeyspace', { clusterId: clusterId + 1, name: 'default' }), {
      error: { detail: 'clusterMismatch' },
    });
  });

  await t.test('the client refuses bad arguments before it sends anything', async (t) => {
    const codes = async (promise: Promise<unknown>): Promise<string> =>
      promise.then(
        () => 'resolved',
        (error: unknown) => (error instanceof SkerryError ? error.code : String(error)),
      );
    t.equal(await codes(client.set('', 'v')), 'INVALID_ARGUMENT');
    t.equal(await codes(client.set(Buffer.alloc(4097), 'v')), 'INVALID_ARGUMENT');
    t.equal(await codes(client.set('k', Buffer.alloc(8 * 2 ** 20 + 1))), 'INVALID_ARGUMENT');
    t.equal(
      await codes(SkerryClient.connect({ placement: cluster.placement, keyspace: 'none', connectTimeoutMs: 30_000 })),
      'KEYSPACE_NOT_FOUND',
    );
    t.equal(
      await codes(SkerryClient.connect({ placement: '127.0.0.1:1', connectTimeoutMs: 1000 })),
      'PLACEMENT_UNAVAILABLE',
    );
  });

  await t.test('the largest key and value are taken', async (t) => {
    const key = Buffer.alloc(4096, 'k');
    const value = randomBytes(8 * 2 ** 20);
    await client.set(key, value, { timeoutMs: 30_000 });
    t.ok(value.equals((await client.get(key, { timeoutMs: 30_000 })) ?? Buffer.alloc(0)));
  });

  await t.test('each pair of stores has exactly one TCP connection between them', async (t) => {
    const pids = cluster.stores.map((store) => store.pid);
    for (const [i, a] of pids.entries()) {
      for (const b of pids.slice(i + 1)) {
        // One that a busy machine kept silent for too long is just being made anew.
        await eventually(`stores ${a} and ${b} have one connection`, () =>
          connectionsBetween(a, b) === 1 ? true : null,
        );
        t.equal(connectionsBetween(a, b), 1, `stores ${a} and ${b}`);
      }
    }
  });
});
