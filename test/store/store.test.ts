import t from 'tap';
import { partitioningHash } from '../../src/base/encoded_key.js';
import { keyBytesMax, valueBytesMax } from '../../src/base/limits.js';
import { Consistency } from '../../src/gen/skerry/v1/kv.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { encodeKeyList, encodeScanOp, OpKind } from '../../src/wire/kv_codec.js';
import { shardBytesMax } from '../../store/limits.js';
import { del, set, swap } from './machine_driver.js';
import type { OpResult } from './store_world.js';
import { StoreWorld } from './store_world.js';

const applied = { applied: true, current: null };

/** Three stores with one range shard over everything, led by store 1. */
async function oneShard(): Promise<StoreWorld> {
  const world = await StoreWorld.start();
  await world.create(world.shard(1, [1, 2, 3]));
  return world;
}

const scan = (change: Partial<Parameters<typeof encodeScanOp>[0]> = {}): Buffer =>
  encodeScanOp({
    startKey: Buffer.alloc(0),
    endKey: Buffer.alloc(0),
    limit: 0,
    reverse: false,
    keysOnly: false,
    prefix: Buffer.alloc(0),
    ...change,
  });

t.test('a write on the leader is read back by every kind of read', async (t) => {
  const world = await oneShard();
  t.equal(await world.leaderOf(1), 1, 'the replica that placement chose leads first');
  t.same(await world.write(1, [set('a', '1'), set('b', '2')]), applied);
  t.same(await world.get(1, 'a'), { value: '1' });
  t.same(await world.get(1, 'none'), { value: null });
  t.same(await world.op(1, OpKind.exists, Buffer.from('b')), { exists: true });
  t.match(await world.op(1, OpKind.batchGet, encodeKeyList([Buffer.from('b'), Buffer.from('x'), Buffer.from('a')])), {
    rows: [
      ['b', '2'],
      ['a', '1'],
    ],
  });
  t.match(await world.op(1, OpKind.scan, scan()), {
    rows: [
      ['a', '1'],
      ['b', '2'],
    ],
    more: false,
  });
  t.same(await world.write(1, [swap('a', '1', '3')]), applied);
  t.same(await world.write(1, [swap('a', '1', '4')]), { applied: false, current: '3' });
  t.same(await world.write(1, [del('a')]), applied);
  t.same(await world.get(1, 'a'), { value: null });
  await world.close();
});

t.test('a follower names the leader, or passes the operation on once if it may', async (t) => {
  const world = await oneShard();
  t.same(await world.write(2, [set('a', '1')]), { error: 'notLeader 1' });
  t.same(await world.get(2, 'a'), { error: 'notLeader 1' });
  t.same(await world.write(2, [set('a', '1')], {}, { allowForward: true }), applied);
  t.same(await world.get(3, 'a', { allowForward: true }), { value: '1' });
  t.equal(world.store(2).store.kv.counters.forwards, 1);
  await world.close();
});

t.test('a follower read sees every acknowledged write, a stale one what is there', async (t) => {
  const world = await oneShard();
  await world.write(1, [set('a', '1')]);
  t.same(await world.get(3, 'a', { consistency: Consistency.FOLLOWER }), { value: '1' });
  world.network.partition(1, 3);
  world.network.partition(2, 3);
  await world.write(1, [set('a', '2')]);
  t.same(await world.get(3, 'a', { consistency: Consistency.STALE }), { value: '1' });
  t.match(await world.get(3, 'a', { consistency: Consistency.FOLLOWER, timeoutMs: 1_000 }), {
    error: /notLeader|deadlineExceeded/,
  });
  world.network.healAll();
  await world.clock.advance(5_000);
  t.same(await world.get(3, 'a', { consistency: Consistency.FOLLOWER }), { value: '2' });
  await world.close();
});

t.test('every bad request gets its own typed error', async (t) => {
  const world = await StoreWorld.start();
  await world.create(world.shard(1, [1, 2, 3], { startKey: Buffer.from('b'), endKey: Buffer.from('m') }));
  const longKey = 'b'.repeat(keyBytesMax + 1);
  const table: [string, Promise<OpResult> | (() => Promise<OpResult>), string][] = [
    ['unknown shard', () => world.get(1, 'c', { shardId: 99 }), 'shardNotFound'],
    ['old epoch', () => world.get(1, 'c', { confVer: 1, version: 9 }), 'epochNotMatch 1'],
    ['old members', () => world.get(1, 'c', { confVer: 0, version: 1 }), 'epochNotMatch 1'],
    ['key outside', () => world.get(1, 'z'), 'keyNotInShard'],
    ['write outside', () => world.write(1, [set('c', '1'), set('m', '1')]), 'keyNotInShard'],
    ['long key', () => world.get(1, longKey), 'invalidArgument KEY_TOO_LARGE'],
    ['long key written', () => world.write(1, [set(longKey, '1')]), 'invalidArgument KEY_TOO_LARGE'],
    ['long value', () => world.write(1, [set('c', 'x'.repeat(valueBytesMax + 1))]), 'invalidArgument VALUE_TOO_LARGE'],
    ['no mutation', () => world.write(1, []), 'invalidArgument BATCH_EMPTY'],
    ['malformed', () => world.op(1, OpKind.write, Buffer.from([0xff])), 'invalidArgument MALFORMED'],
    ['no kind', () => world.op(1, OpKind.unknown, Buffer.alloc(0)), 'invalidArgument MALFORMED'],
    ['administrative bytes', () => world.op(1, OpKind.write, Buffer.from([0x0a, 0x00])), 'invalidArgument BATCH_EMPTY'],
  ];
  for (const [what, run, expected] of table) {
    t.same(await (typeof run === 'function' ? run() : run), { error: expected }, what);
  }
  await world.close();
});

t.test('an empty key is refused in a keyspace that could hold it', async (t) => {
  const world = await oneShard();
  t.same(await world.get(1, ''), { error: 'invalidArgument KEY_EMPTY' });
  t.same(await world.write(1, [set('', '1')]), { error: 'invalidArgument KEY_EMPTY' });
  await world.close();
});

t.test('scans are paged, clipped to the shard, in both directions, by prefix, and without values', async (t) => {
  const world = await StoreWorld.start();
  await world.create(
    world.shard(1, [1, 2, 3], { endKey: Buffer.from('m') }),
    world.shard(2, [1, 2, 3], { startKey: Buffer.from('m') }),
  );
  await world.write(
    1,
    ['a', 'b1', 'b2', 'b3', 'c'].map((key) => set(key, key.toUpperCase())),
  );
  await world.write(1, [set('x', 'X')], {}, { shardId: 2 });
  const page = (change: Parameters<typeof scan>[0]): Promise<OpResult> => world.op(1, OpKind.scan, scan(change));
  const keys = (result: OpResult): string[] =>
    'rows' in result ? result.rows.map(([key]) => key) : [JSON.stringify(result)];
  t.same(keys(await page({})), ['a', 'b1', 'b2', 'b3', 'c']);
  t.same(keys(await page({ startKey: Buffer.from('b'), endKey: Buffer.from('c') })), ['b1', 'b2', 'b3']);
  t.same(keys(await page({ prefix: Buffer.from('b') })), ['b1', 'b2', 'b3']);
  t.same(keys(await page({ reverse: true, endKey: Buffer.from('b3') })), ['b2', 'b1', 'a']);
  t.match(await page({ keysOnly: true, limit: 1 }), { rows: [['a', '']], more: true, nextKey: Buffer.from('a\0') });
  const first = await page({ limit: 2 });
  t.match(first, { more: true });
  const next = 'rows' in first ? first.nextKey : Buffer.alloc(0);
  t.same(keys(await page({ startKey: next })), ['b2', 'b3', 'c']);
  const back = await page({ limit: 2, reverse: true });
  t.same(keys(back), ['c', 'b3']);
  t.same(keys(await page({ reverse: true, endKey: 'rows' in back ? back.nextKey : Buffer.alloc(0) })), [
    'b2',
    'b1',
    'a',
  ]);
  t.match(await page({ limit: 5 }), { more: false }, 'a full page at the end of the shard has nothing after it');
  t.same(keys(await page({ startKey: Buffer.from('p') })), []);
  await world.close();
});

t.test('a hash keyspace finds keys by token and filters a prefix', async (t) => {
  const world = await StoreWorld.start();
  await world.create(...world.hashShards(4, [1, 2, 3], partitioningHash));
  const { kv } = world.store(1).store;
  const keys = Array.from({ length: 40 }, (_, at) => `key-${at}`).concat('other');
  for (const key of keys)
    t.same(await world.write(1, [set(key, key)], {}, { shardId: kv.findShard(1, Buffer.from(key)) }), applied);
  const found: string[] = [];
  for (const shardId of [1, 2, 3, 4]) {
    const result = await world.op(1, OpKind.scan, scan({ prefix: Buffer.from('key-') }), { shardId });
    if ('rows' in result) found.push(...result.rows.map(([key]) => key));
  }
  t.same(found.sort(), keys.filter((key) => key !== 'other').sort());
  t.equal(kv.findShard(9, Buffer.from('a')), 0, 'no shard of an unknown keyspace');
  await world.close();
});

t.test('a retried write takes effect once, also across a split and a change of leader', async (t) => {
  const world = await oneShard();
  const once = { sessionId: 5, sequence: 1 };
  t.same(await world.write(1, [set('x', '1')], once), applied);
  await world.write(1, [set('x', '2')]);
  t.same(await world.write(1, [set('x', '1')], { ...once, retry: true }), applied);
  t.same(await world.get(1, 'x'), { value: '2' });
  await split(world, 'm');
  const leader = await world.leaderOf(2);
  t.same(await world.write(leader, [set('x', '1')], { ...once, retry: true }, { shardId: 2 }), applied);
  t.same(await world.get(leader, 'x', { shardId: 2 }), { value: '2' });
  await world.crashStore(leader);
  const later = await world.leaderOf(2);
  t.same(await world.write(later, [set('x', '1')], { ...once, retry: true }, { shardId: 2 }), applied);
  t.same(await world.get(later, 'x', { shardId: 2 }), { value: '2' });
  await world.close();
});

/** Splits shard 1 into itself and shard 2. */
async function split(world: StoreWorld, key: string): Promise<number> {
  const leader = await world.leaderOf(1);
  const epoch = world.store(leader).store.replicas.machine(1)?.shard.epoch;
  const into = { shardId: 2, replicaIds: [21, 22, 23] };
  const value = { shardId: 1, epoch, splitKey: Buffer.from(key), into };
  const commandId = world.placement.command(leader, { $case: 'splitShard', value });
  await world.clock.advance(1_000);
  return commandId;
}

t.test(
  'a split makes a second shard that is led at once from the same store, and routes learn of it by error',
  async (t) => {
    const world = await oneShard();
    await world.write(1, [set('a', '1'), set('x', '2')]);
    await split(world, 'm');
    t.equal(await world.leaderOf(2), 1);
    t.same(await world.get(1, 'x', { shardId: 2 }), { value: '2' });
    t.same(await world.get(1, 'x'), { error: 'keyNotInShard' });
    t.same(await world.get(1, 'x', { confVer: 1, version: 1 }), { error: 'epochNotMatch 1,2' });
    t.match(world.placement.reports.get(2)?.shard, { startKey: Buffer.from('m'), epoch: { version: 2 } });
    t.match(world.placement.reports.get(1)?.shard, { endKey: Buffer.from('m'), epoch: { version: 2 } });
    await world.close();
  },
);

t.test('a split in the middle finds a key by itself, and one of another epoch is refused', async (t) => {
  const world = await oneShard();
  t.equal(world.placement.failures.get(await split(world, '')), 'failedPrecondition', 'an empty shard has no middle');
  await world.write(
    1,
    Array.from({ length: 100 }, (_, at) => set(`k${String(at).padStart(3, '0')}`, 'v')),
  );
  await split(world, '');
  t.equal(Buffer.from(world.store(1).store.replicas.machine(2)?.shard.startKey ?? []).toString(), 'k050');
  const stale = {
    shardId: 1,
    epoch: { confVer: 1, version: 1 },
    splitKey: Buffer.from('c'),
    into: { shardId: 3, replicaIds: [31, 32, 33] },
  };
  const commandId = world.placement.command(1, { $case: 'splitShard', value: stale });
  await world.clock.advance(200);
  t.equal(world.placement.failures.get(commandId), 'epochNotMatch');
  await world.close();
});

t.test(
  'a replica is added by snapshot, takes the place of another, and the old one leaves nothing behind',
  async (t) => {
    const world = await StoreWorld.start(4);
    await world.create(world.shard(1, [1, 2, 3]));
    await world.write(
      1,
      Array.from({ length: 200 }, (_, at) => set(`k${at}`, `v${at}`)),
      { sessionId: 5, sequence: 1 },
    );
    const change = async (
      changes: { role: ReplicaRole; replicaId: number; storeId: number }[],
      joint: boolean,
    ): Promise<void> => {
      const leader = await world.leaderOf(1);
      const epoch = world.store(leader).store.replicas.machine(1)?.shard.epoch;
      world.placement.command(leader, { $case: 'changeReplicas', value: { shardId: 1, epoch, changes, joint } });
      await world.clock.advance(3_000);
    };
    await change([{ role: ReplicaRole.LEARNER, replicaId: 14, storeId: 4 }], false);
    t.equal(world.store(4).store.replicas.machine(1)?.phase, 'normal');
    await change(
      [
        { role: ReplicaRole.VOTER, replicaId: 14, storeId: 4 },
        { role: ReplicaRole.UNSPECIFIED, replicaId: 13, storeId: 3 },
      ],
      true,
    );
    await change([], false);
    t.same([...world.placement.failures], []);
    t.match(world.placement.reports.get(1)?.shard?.epoch, { confVer: 4 });
    await world.clock.until(() => world.store(3).store.replicas.machine(1) === undefined, 'the old replica is gone');
    t.same(await world.get(4, 'k7', { consistency: Consistency.FOLLOWER }), { value: 'v7' });
    const leader = await world.leaderOf(1);
    t.same(await world.write(leader, [set('k0', 'again')], { sessionId: 5, sequence: 1, retry: true }), applied);
    t.same(await world.get(leader, 'k0'), { value: 'v0' });
    t.same(await world.get(3, 'k7', { consistency: Consistency.STALE }), { error: 'shardNotFound' });
    await world.close();
  },
);

t.test('a crash of every store at once loses no acknowledged write', async (t) => {
  const world = await oneShard();
  for (let at = 0; at < 30; at++)
    t.same(await world.write(1, [set(`k${at}`, `v${at}`)], { sessionId: 5, sequence: at + 1 }), applied);
  await split(world, 'k5');
  t.same(await world.write(await world.leaderOf(2), [set('k9', 'new')], {}, { shardId: 2 }), applied);
  for (const storeId of [1, 2, 3]) await world.crashStore(storeId);
  for (const storeId of [1, 2, 3]) await world.startStore(storeId);
  const [left, right] = [await world.leaderOf(1), await world.leaderOf(2)];
  for (let at = 0; at < 30; at++) {
    const key = `k${at}`;
    const onRight = key >= 'k5';
    const expected = at === 9 ? 'new' : `v${at}`;
    t.same(await world.get(onRight ? right : left, key, { shardId: onRight ? 2 : 1 }), { value: expected });
  }
  t.same(await world.write(left, [set('k0', 'x')], { sessionId: 5, sequence: 1, retry: true }), applied);
  t.same(await world.get(left, 'k0'), { value: 'v0' });
  await world.close();
});

t.test('a store that stops in order comes back with everything', async (t) => {
  const world = await oneShard();
  await world.write(1, [set('a', '1')]);
  for (const storeId of [1, 2, 3]) await world.stopStore(storeId);
  for (const storeId of [1, 2, 3]) await world.startStore(storeId);
  t.same(await world.get(await world.leaderOf(1), 'a'), { value: '1' });
  await world.close();
});

t.test('a write without a quorum is undetermined at its deadline, a read has merely missed it', async (t) => {
  const world = await oneShard();
  await world.write(1, [set('a', '1')]);
  await world.crashStore(2);
  await world.crashStore(3);
  const [write, read] = await Promise.all([
    world.write(1, [set('a', '2')], {}, { timeoutMs: 300 }),
    world.get(1, 'a', { timeoutMs: 300 }),
  ]);
  t.same(write, { error: 'undetermined' });
  t.same(read, { error: 'deadlineExceeded' });
  await world.close();
});

t.test('a session reports what is held and led, then only changes', async (t) => {
  const world = await oneShard();
  await world.clock.advance(10_000);
  const first = world.placement.frames.length;
  await world.clock.advance(5_000);
  const idle = world.placement.frames.slice(first);
  t.ok(
    idle.length >= 12 && idle.every((frame) => frame.store !== undefined && frame.shards.length === 0),
    'only store reports',
  );
  world.placement.command(1, { $case: 'transferLeader', value: { shardId: 1, toReplicaId: 12 } });
  await world.clock.advance(1_000);
  const news = world.placement.frames.slice(first + idle.length);
  t.match(
    news.filter((frame) => frame.noLongerLed.includes(1)).map((frame) => frame.storeId),
    [1],
  );
  t.match(world.placement.reports.get(1), { leaderReplicaId: 12 });
  await world.stopStore(3);
  await world.startStore(3);
  await world.clock.advance(500);
  const held = world.placement.frames.filter((frame) => frame.storeId === 3 && frame.held.length > 0).at(-1);
  t.match(held?.held, [{ shardId: 1, replicaId: 13, epoch: { confVer: 1, version: 1 } }]);
  await world.close();
});

t.test('a replica that is down is reported as such, and as up again', async (t) => {
  const world = await oneShard();
  await world.crashStore(3);
  const isDown = (): boolean | undefined =>
    world.placement.reports.get(1)?.progress.find((p) => p.replicaId === 13)?.down;
  await world.clock.until(() => isDown() === true, 'the replica is reported as down');
  await world.startStore(3);
  await world.clock.until(() => isDown() === false, 'the replica is reported as up');
  t.equal(isDown(), false);
  await world.close();
});

t.test('a replica that was removed while its store was away asks and destroys itself', async (t) => {
  const world = await oneShard();
  await world.write(1, [set('a', '1')]);
  await world.crashStore(3);
  const epoch = world.store(1).store.replicas.machine(1)?.shard.epoch;
  const changes = [{ role: ReplicaRole.UNSPECIFIED, replicaId: 13, storeId: 3 }];
  world.placement.command(1, { $case: 'changeReplicas', value: { shardId: 1, epoch, changes, joint: false } });
  await world.clock.advance(2_000);
  await world.startStore(3);
  t.not(world.store(3).store.replicas.machine(1), undefined, 'it does not know yet');
  await world.clock.until(() => world.store(3).store.replicas.machine(1) === undefined, 'it is gone');
  t.ok(world.placement.questions.includes(1));
  await world.stopStore(3);
  await world.startStore(3);
  await world.clock.advance(1_000);
  t.equal(world.store(3).store.replicas.machine(1), undefined, 'its tombstone stays');
  await world.close();
});

t.test('commands may come twice, and what cannot be done is answered', async (t) => {
  const world = await oneShard();
  await world.create(world.shard(1, [1, 2, 3]));
  t.same([...world.placement.failures], [], 'creating what is there is no failure');
  const overlapping = world.shard(7, [1], { startKey: Buffer.from('q') });
  const expected: [number, string][] = [
    [
      world.placement.command(1, { $case: 'createShards', value: { shards: [overlapping], firstLeaders: [] } }),
      'failedPrecondition',
    ],
    [
      world.placement.command(1, { $case: 'createShards', value: { shards: [world.shard(8, [2])], firstLeaders: [] } }),
      'failedPrecondition',
    ],
    [world.placement.command(2, { $case: 'transferLeader', value: { shardId: 1, toReplicaId: 12 } }), 'notLeader'],
    [
      world.placement.command(1, { $case: 'transferLeader', value: { shardId: 1, toReplicaId: 99 } }),
      'failedPrecondition',
    ],
    [world.placement.command(1, { $case: 'transferLeader', value: { shardId: 5, toReplicaId: 12 } }), 'shardNotFound'],
    [
      world.placement.command(1, {
        $case: 'changeReplicas',
        value: { shardId: 1, epoch: { confVer: 9, version: 1 }, changes: [], joint: false },
      }),
      'epochNotMatch',
    ],
    [
      world.placement.command(1, {
        $case: 'changeReplicas',
        value: { shardId: 1, epoch: { confVer: 1, version: 1 }, changes: [], joint: false },
      }),
      'failedPrecondition',
    ],
  ];
  await world.clock.advance(500);
  for (const [commandId, error] of expected) t.equal(world.placement.failures.get(commandId), error);
  await world.close();
});

t.test('a store serves while placement is away, and reports everything when it is back', async (t) => {
  const world = await oneShard();
  world.placement.reachable = false;
  for (const session of [...world.placement.sessions.values()]) session.closed('gone');
  await world.clock.advance(5_000);
  t.same(await world.write(1, [set('a', '1')]), applied);
  world.placement.reports.clear();
  world.placement.reachable = true;
  await world.clock.until(() => world.placement.reports.has(1), 'the shard is reported again');
  await world.close();
});

t.test('past the bound of a shard operations are refused, and taken again when there is room', async (t) => {
  const world = await oneShard();
  const { admission } = world.store(1).store.kv;
  t.equal(admission.admit(null, 1, shardBytesMax - 1_000), null);
  t.same(await world.write(1, [set('a', 'x'.repeat(2_000))]), { error: 'serverIsBusy shard_in_flight' });
  admission.release(null, 1, shardBytesMax - 1_000);
  t.same(await world.write(1, [set('a', 'x'.repeat(2_000))]), applied);
  t.same([admission.store.ops, admission.store.bytes], [0, 0], 'nothing is left in flight');
  await world.close();
});

t.test('a store whose disk is nearly full refuses writes that need space and takes deletes', async (t) => {
  const world = await oneShard();
  await world.write(1, [set('a', '1')]);
  world.store(1).store.kv.diskFull = true;
  t.same(await world.write(1, [set('b', '2')]), { error: 'diskFull' });
  t.same(await world.write(1, [del('a')]), applied);
  t.same(await world.get(1, 'a'), { value: null });
  await world.close();
});

t.test('a store that stops refuses what is new', async (t) => {
  const world = await oneShard();
  world.store(1).store.kv.stop();
  t.same(await world.get(1, 'a'), { error: 'serverIsBusy stopping' });
  await world.close();
});

t.test('a leading store that leaves hands its shards over first', async (t) => {
  const world = await oneShard();
  await world.clock.resolve(world.store(1).store.leave());
  t.not(await world.leaderOf(1), 1);
  await world.close();
});
