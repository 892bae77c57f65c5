import t from 'tap';
import { slotOf } from '../../src/base/slot.js';
import { SkerryClient } from '../../src/client/index.js';
import { batchOpsMax } from '../../src/client/limits.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import { clusterId, FakeCluster, type Trick } from './support/fake_cluster.js';
import { errorOf, setUp } from './support/set_up.js';

for (const storeProtocol of ['tcp', 'grpc'] as const) {
  t.test(`a value that was set is read back, byte for byte, over ${storeProtocol}`, async (t) => {
    const { client } = await setUp(t, {}, { storeProtocol });
    const key = Buffer.from([0, 255, 1, 128]);
    const value = Buffer.from([0, 0, 255, 254]);
    await client.set(key, value);
    t.equal(client.clusterId, clusterId);
    t.same(await client.get(key), value);
    t.same(await client.get(new Uint8Array(key)), value);
    t.equal(await client.exists(key), true);
    await client.set('text', '');
    t.same(await client.get('text'), Buffer.alloc(0), 'an empty value is a value');
    await client.delete(key);
    t.equal(await client.get(key), null);
    t.equal(await client.exists(key), false);
  });

  t.test(`a broken stream is made again and what it carried is repeated, over ${storeProtocol}`, async (t) => {
    const { cluster, client } = await setUp(t, {}, { storeProtocol });
    const tricks: Trick[] = [() => 'breakAfter', () => 'breakBefore'];
    cluster.trick = (op, storeId) => tricks.pop()?.(op, storeId) ?? null;
    await client.set('k', 'v');
    t.equal(tricks.length, 0);
    t.same(await client.get('k'), Buffer.from('v'));
    t.same([...cluster.applied.values()], [1], 'it took effect once');
  });
}

t.test('compareAndSwap replaces what is expected and tells what is there otherwise', async (t) => {
  const { client } = await setUp(t);
  t.same(await client.compareAndSwap('k', null, 'one'), { swapped: true, current: null });
  t.same(await client.compareAndSwap('k', null, 'two'), { swapped: false, current: Buffer.from('one') });
  t.same(await client.compareAndSwap('k', 'one', 'two'), { swapped: true, current: null });
  t.same(await client.compareAndSwap('k', 'two', null), { swapped: true, current: null });
  t.same(await client.compareAndSwap('k', 'two', 'three'), { swapped: false, current: null });
  t.equal(await client.get('k'), null);
});

t.test('operations of one turn travel in few frames of bounded size', async (t) => {
  const { cluster, client } = await setUp(t, { stores: 1, shards: 1 });
  await client.set('first', 'opens the connection and the session');
  const before = client.stats().stores[0]?.frames ?? 0;
  await Promise.all(Array.from({ length: batchOpsMax * 3 }, (_, i) => client.set(`k${i}`, `${i}`)));
  t.equal((client.stats().stores[0]?.frames ?? 0) - before, 3);
  t.equal(cluster.values.size, batchOpsMax * 3 + 1);
});

t.test('batchGet answers in the order of its keys, over all shards, with null for what is not there', async (t) => {
  const { client } = await setUp(t);
  const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
  await Promise.all(keys.map((key, i) => (i % 3 === 0 ? Promise.resolve() : client.set(key, `v${i}`))));
  const values = await client.batchGet([...keys, 'k1', 'k0']);
  t.same(
    values.map((v) => v?.toString() ?? null),
    [...keys.map((_, i) => (i % 3 === 0 ? null : `v${i}`)), 'v1', null],
  );
  t.same(await client.batchGet([]), []);
});

t.test('batchWrite writes over all shards, and of two writes to one key the last counts', async (t) => {
  const { client } = await setUp(t);
  await client.set('gone', 'x');
  const sets = Array.from({ length: 50 }, (_, i) => ({ type: 'set', key: `k${i}`, value: `v${i}` }) as const);
  t.same(
    await client.batchWrite([...sets, { type: 'delete', key: 'gone' }, { type: 'set', key: 'k7', value: 'again' }]),
    { applied: true },
  );
  t.equal((await client.get('k7'))?.toString(), 'again');
  t.equal((await client.get('k49'))?.toString(), 'v49');
  t.equal(await client.exists('gone'), false);
  t.same(await client.batchWrite([]), { applied: true });
});

t.test('an atomic batch takes effect as a whole or not at all', async (t) => {
  const { client } = await setUp(t);
  const batch = (expected: string | null) =>
    client.batchWrite(
      [
        { type: 'compareAndSwap', key: '{tag}a', expected, value: 'one' },
        { type: 'set', key: '{tag}b', value: 'two' },
      ],
      { atomic: true },
    );
  t.same(await batch('wrong'), { applied: false });
  t.equal(await client.get('{tag}b'), null);
  t.same(await batch(null), { applied: true });
  t.equal((await client.get('{tag}b'))?.toString(), 'two');
});

t.test('an atomic batch over several shards is refused, and says how to make it one', async (t) => {
  const { cluster, client } = await setUp(t);
  const sets = Array.from({ length: 20 }, (_, i) => ({ type: 'set', key: `k${i}`, value: '' }) as const);
  const error = await errorOf(client.batchWrite(sets, { atomic: true }));
  t.equal(error.code, 'INVALID_ARGUMENT');
  t.equal(error.details['reason'], 'KEYS_IN_SEVERAL_SHARDS');
  t.match(error.message, /hash tag/);
  t.equal(cluster.values.size, 0);
});

t.test('scan walks the shards of a hash keyspace in slot order, page by page', async (t) => {
  const { client } = await setUp(t, { pageRows: 3 });
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
  await Promise.all(keys.map((key) => client.set(key, `value of ${key}`)));
  const rows = [];
  for await (const row of client.scan()) rows.push(row);
  t.same(new Set(rows.map((r) => r.key.toString())), new Set(keys));
  t.equal(rows.length, keys.length);
  const slots = rows.map((r) => slotOf(r.key));
  t.same(
    slots,
    [...slots].sort((a, b) => a - b),
  );
  t.ok(rows.every((r) => r.value.toString() === `value of ${r.key.toString()}`));
  const backwards = [];
  for await (const row of client.scan({ reverse: true })) backwards.push(row);
  t.same(backwards, [...rows].reverse());
  const limited = [];
  for await (const row of client.scan({ limit: 7 })) limited.push(row);
  t.same(limited, rows.slice(0, 7));
});

t.test('scan by prefix finds the keys with it in every shard, and one hash tag in one', async (t) => {
  const { cluster, client } = await setUp(t);
  for (const key of ['a/1', 'a/2', 'b/1', '{a}1', '{a}2', '{b}1']) await client.set(key, '');
  const found = async (prefix: string): Promise<string[]> => {
    const keys = [];
    for await (const { key } of client.scan({ prefix })) keys.push(key.toString());
    return keys.sort();
  };
  t.same(await found('a/'), ['a/1', 'a/2']);
  cluster.operations.length = 0;
  t.same(await found('{a}'), ['{a}1', '{a}2']);
  t.equal(cluster.operations.length, 1, 'one shard was asked');
});

t.test('scan of a range keyspace keeps the order of keys and its bounds', async (t) => {
  const { client } = await setUp(t, { partitioning: Partitioning.RANGE, splitKeys: ['g', 'p'], pageRows: 2 });
  const keys = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
  await Promise.all(keys.map((key) => client.set(key, key)));
  const found = async (options: Parameters<SkerryClient['scan']>[0]): Promise<string> => {
    let text = '';
    for await (const { key } of client.scan(options)) text += key.toString();
    return text;
  };
  t.equal(await found({}), keys.join(''));
  t.equal(await found({ reverse: true }), [...keys].reverse().join(''));
  t.equal(await found({ start: 'e', end: 'i' }), 'efgh');
  t.equal(await found({ start: 'e', end: 'i', reverse: true }), 'hgfe');
  t.equal(await found({ start: 'g', end: 'g' }), '');
  t.equal(await found({ prefix: 'm' }), 'm');
  t.equal(await found({ start: 'y', limit: 5 }), 'yz');
});

t.test('a scan that is left early leaves nothing behind', async (t) => {
  const { client } = await setUp(t, { pageRows: 1 });
  await Promise.all(Array.from({ length: 20 }, (_, i) => client.set(`k${i}`, '')));
  for await (const row of client.scan()) {
    t.ok(row.key);
    break;
  }
  await client.set('after', 'x');
  t.equal(client.stats().waiting, 0);
});

t.test('what can never work is refused before anything is sent', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.operations.length = 0;
  const big = Buffer.alloc(8 * 1024 * 1024 + 1);
  const cases: [string, () => Promise<unknown>][] = [
    ['KEY_EMPTY', () => client.set('', 'x')],
    ['KEY_EMPTY', () => client.batchGet(['a', ''])],
    ['KEY_TOO_LARGE', () => client.get('k'.repeat(4097))],
    ['VALUE_TOO_LARGE', () => client.set('k', big)],
    ['VALUE_TOO_LARGE', () => client.compareAndSwap('k', null, big)],
    ['WRONG_TYPE', () => client.set('k', 5 as unknown as string)],
    ['UNKNOWN_OPTION', () => client.get('k', { timeout: 5 } as object)],
    ['UNKNOWN_VALUE', () => client.get('k', { consistency: 'strong' as 'stale' })],
    ['OUT_OF_RANGE', () => client.get('k', { timeoutMs: 0 })],
    ['OUT_OF_RANGE', () => client.get('k', { deadline: new Date(Number.NaN) })],
    ['OUT_OF_RANGE', () => client.scan({ limit: 0 }).next()],
    ['NEEDS_RANGE_KEYSPACE', () => client.scan({ start: 'a' }).next()],
    ['NEEDS_ATOMIC', () => client.batchWrite([{ type: 'compareAndSwap', key: 'k', expected: null, value: 'x' }])],
    ['BATCH_TOO_LARGE', () => client.batchGet(Array.from({ length: 65_537 }, (_, i) => `${i}`))],
    [
      'BATCH_TOO_LARGE',
      () =>
        client.batchWrite(
          [1, 2, 3].map((i) => ({ type: 'set', key: `{t}${i}`, value: big.subarray(0, 8_000_000) }) as const),
          { atomic: true },
        ),
    ],
  ];
  for (const [reason, attempt] of cases) {
    const error = await errorOf((async () => attempt())());
    t.equal(error.code, 'INVALID_ARGUMENT', reason);
    t.equal(error.details['reason'], reason, error.message);
  }
  t.same(cluster.operations, []);
});

t.test('connect names what is wrong with where it was pointed', async (t) => {
  const cluster = await FakeCluster.start();
  t.teardown(() => cluster.stop());
  const connect = (options: object): Promise<unknown> =>
    SkerryClient.connect({ placement: cluster.placement, connectTimeoutMs: 20_000, ...options });
  const unknown = await errorOf(connect({ keyspace: 'nowhere' }));
  t.equal(unknown.code, 'KEYSPACE_NOT_FOUND');
  t.match(unknown.message, /nowhere/);
  const absent = await errorOf(connect({ placement: '127.0.0.1:1', connectTimeoutMs: 300 }));
  t.equal(absent.code, 'PLACEMENT_UNAVAILABLE');
  t.match(absent.message, /127\.0\.0\.1:1/);
  for (const placement of ['nonsense', 'host:0', 'host:99999', '', 'a:1,b']) {
    t.equal((await errorOf(connect({ placement }))).code, 'INVALID_ARGUMENT', placement);
  }
  t.equal((await errorOf(connect({ keySpace: 'x' }))).details['reason'], 'UNKNOWN_OPTION');
  t.equal((await errorOf(connect({ storeProtocol: 'udp' }))).details['field'], 'storeProtocol');
});
