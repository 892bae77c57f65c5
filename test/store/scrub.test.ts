import t from 'tap';
import { must } from '../../src/base/assert.js';
import { dataKey, sessionRange } from '../../src/engine/keys.js';
import { encodeWriteCommand, OpKind } from '../../src/wire/kv_codec.js';
import type { Verdict } from '../../placement/scrub/verdict.js';
import { del, set } from './machine_driver.js';
import { PlannerDriver } from './planner_driver.js';
import type { OpResult } from './store_world.js';
import { StoreWorld } from './store_world.js';

// A guard against hanging, not a measurement.
t.setTimeout(180_000);

const shardId = 1;

async function oneShard(stores: readonly number[] = [1, 2, 3]): Promise<StoreWorld> {
  const world = await StoreWorld.start(stores.length);
  await world.create(world.shard(shardId, stores));
  return world;
}

async function write(world: StoreWorld, key: string, value: string, shard = shardId): Promise<OpResult> {
  return world.write(await world.leaderOf(shard), [set(key, value)], {}, { shardId: shard });
}

/** A row of a store's engine is changed by nobody who should: a bad disk, a bug. null deletes it. */
async function alter(world: StoreWorld, storeId: number, key: Buffer, value: string | null): Promise<void> {
  const { engine } = world.store(storeId);
  const batch = engine.newBatch();
  if (value === null) batch.delete(key);
  else batch.put(key, Buffer.from(value));
  await world.clock.resolve(engine.write(batch));
}

const rowKey = (key: string): Buffer => dataKey(1, Buffer.from(key));

const statesOf = (verdict: Verdict): string[] => verdict.replicas.map((r) => `${r.storeId} ${r.state}`);

t.test('equal replicas are found equal, at one index, with their rows counted', async (t) => {
  const world = await oneShard();
  for (let i = 0; i < 50; i++) await write(world, `k${i}`, `v${i}`);
  const placement = new PlannerDriver(world, 3);
  const verdict = await placement.verify(shardId);
  t.equal(verdict.outcome, 'consistent');
  t.same(statesOf(verdict), ['1 agrees', '2 agrees', '3 agrees']);
  t.same(
    verdict.replicas.map((r) => r.rows),
    [50, 50, 50],
  );
  t.ok(verdict.index >= 55, `at index ${verdict.index}`);
  await world.close();
});

const corruptions: readonly (readonly [string, string, string | null])[] = [
  ['a value was altered', 'k7', 'v8'],
  ['a row is missing', 'k7', null],
  ['a row came from nowhere', 'k7x', 'v'],
];
for (const [what, key, value] of corruptions) {
  t.test(`when ${what} on one store, its replica is named, and named until it is well again`, async (t) => {
    const world = await oneShard();
    for (let i = 0; i < 20; i++) await write(world, `k${i}`, `v${i}`);
    await alter(world, 2, rowKey(key), value);
    const placement = new PlannerDriver(world, 3);
    const verdict = await placement.verify(shardId);
    t.equal(verdict.outcome, 'inconsistent');
    t.same(statesOf(verdict), ['1 agrees', '2 odd', '3 agrees']);
    t.same([...placement.scrubber.inconsistent.keys()], [shardId]);
    await world.crashStore(1);
    await placement.until(() => !placement.view.isConnected(1), 'store 1 counts as gone');
    t.same(statesOf(await placement.verify(shardId)), ['1 unchecked', '2 differs', '3 differs'], 'two name nobody');
    t.same([...placement.scrubber.inconsistent.keys()], [shardId]);
    await world.startStore(1);
    await write(world, key, 'written again');
    t.equal((await placement.verify(shardId)).outcome, 'consistent');
    t.equal(placement.scrubber.inconsistent.size, 0);
    await world.close();
  });
}

t.test('a client session that is not the same everywhere is found, too', async (t) => {
  const world = await oneShard();
  const leader = await world.leaderOf(shardId);
  await world.write(leader, [set('a', '1')], { sessionId: 9, sequence: 1 });
  const { start } = sessionRange(shardId);
  const placement = new PlannerDriver(world, 3);
  t.match(await placement.verify(shardId), { outcome: 'consistent', replicas: [{ rows: 2 }] });
  const session = Buffer.concat([start, Buffer.from([0, 0, 0, 0, 0, 0, 0, 9])]);
  await alter(world, 3, session, null);
  t.same(statesOf(await placement.verify(shardId)), ['1 agrees', '2 agrees', '3 odd']);
  await world.close();
});

t.test('a replica whose store is down is unchecked, and the shard is not called consistent', async (t) => {
  const world = await oneShard();
  await write(world, 'a', '1');
  const placement = new PlannerDriver(world, 3);
  t.equal((await placement.verify(shardId)).outcome, 'consistent');
  const down = (await world.leaderOf(shardId)) === 3 ? 2 : 3;
  await world.crashStore(down);
  const verdict = await placement.verify(shardId);
  t.equal(verdict.outcome, 'unchecked');
  t.match(
    verdict.replicas.find((r) => r.storeId === down),
    { state: 'unchecked', reason: /cannot be reached|does not hear/ },
  );
  t.equal(statesOf(verdict).filter((s) => s.endsWith('agrees')).length, 2);
  await world.close();
});

t.test('a shard without a leader, and one with a single replica, are unchecked with the reason', async (t) => {
  const world = await oneShard();
  await world.create(world.shard(2, [1], { keyspaceId: 2 }));
  const placement = new PlannerDriver(world, 3);
  t.equal((await placement.verify(shardId)).outcome, 'consistent');
  t.match(await placement.verify(2), { outcome: 'unchecked', replicas: [{ reason: /no other replica/ }] });
  for (const storeId of [1, 2, 3]) await world.crashStore(storeId);
  await placement.until(() => !placement.view.isConnected(1), 'they count as gone');
  t.match(await placement.verify(shardId), { outcome: 'unchecked', index: 0 });
  await world.close();
});

t.test('replicas are equal at their index while writes, sessions, a split and leader changes go on', async (t) => {
  const world = await oneShard();
  const placement = new PlannerDriver(world, 3);
  let stopped = false;
  let acked = 0;
  const writer = async (id: number): Promise<void> => {
    for (let i = 1; !stopped; i++) {
      for (const shard of [1, 2]) {
        const leader = [...world.stores.values()].find(({ store }) => store.multi.group(shard)?.isLeader() === true);
        const mutations = i % 5 === 0 ? [del(`k${i % 37}`)] : [set(`k${i % 37}`, `${id}/${i}`)];
        if (leader === undefined) continue;
        const body = encodeWriteCommand({ sessionId: id, sequence: i, ackedBelow: i, retry: false, mutations });
        const result = await world.submit(leader.storeId, OpKind.write, body, { shardId: shard });
        if ('applied' in result) acked++;
      }
      await new Promise<void>((resolve) => void world.store(1).runtime.after(3, resolve));
    }
  };
  const writers = [1, 2, 3, 4].map(writer);
  const outcomes: string[] = [];
  const look = async (shard: number): Promise<void> => {
    const { outcome, replicas } = await placement.verify(shard);
    outcomes.push(outcome);
    if (outcome !== 'consistent') t.fail(JSON.stringify(replicas));
  };
  for (let round = 0; round < 3; round++) await look(shardId);
  const { shard } = must(world.store(1).store.replicas.machine(shardId), 'the replica');
  const into = { shardId: 2, replicaIds: [21, 22, 23] };
  const split = { shardId, epoch: shard.epoch, splitKey: Buffer.from('k2'), into };
  world.placement.command(await world.leaderOf(shardId), { $case: 'splitShard', value: split });
  for (let round = 0; round < 3; round++) {
    await look(1);
    await look(2);
    const leader = await world.leaderOf(1);
    world.placement.command(leader, { $case: 'transferLeader', value: { shardId: 1, toReplicaId: 11 + (leader % 3) } });
  }
  stopped = true;
  await world.clock.resolve(Promise.all(writers));
  t.same(new Set(outcomes), new Set(['consistent']));
  t.equal(outcomes.length, 9);
  t.ok(acked > 200, `${acked} writes meanwhile`);
  await world.close();
});

t.test(
  'a store that restarts in the middle of it is checked late or not at all, but not called different',
  async (t) => {
    const world = await oneShard();
    const value = 'x'.repeat(64 * 1024);
    for (let i = 0; i < 32; i++) await write(world, `k${i}`, value);
    const placement = new PlannerDriver(world, 3, 256 * 1024);
    await placement.until(() => placement.state.shard(shardId) !== undefined, 'the shard is reported');
    const check = must(placement.scrubber.request(shardId), 'a check');
    await placement.until(() => world.store(2).store.checksums.stats.running === 1, 'it is under way');
    const behind = (await world.leaderOf(shardId)) === 3 ? 2 : 3;
    await world.crashStore(behind);
    await world.startStore(behind);
    await placement.until(() => check.verdict !== null, 'the verdict', 600_000);
    t.not(check.verdict?.outcome, 'inconsistent');
    t.equal(check.verdict?.replicas.filter((r) => r.state === 'agrees').length, 3, 'the log brought the command again');
    await world.close();
  },
);

t.test('checksums are read no faster than they may be', async (t) => {
  const world = await oneShard();
  const value = 'x'.repeat(64 * 1024);
  for (let i = 0; i < 32; i++) await write(world, `k${i}`, value);
  const placement = new PlannerDriver(world, 3, 128 * 1024);
  await placement.verify(shardId);
  const sinceMs = world.clock.nowMs;
  t.equal((await placement.verify(shardId)).outcome, 'consistent');
  const tookMs = world.clock.nowMs - sinceMs;
  // 2 MiB at 128 KiB a second; the last page is not waited for.
  t.ok(tookMs > 13_000 && tookMs < 18_000, `${tookMs} ms of virtual time`);
  await world.close();
});

t.test('past the bound of checksums at once a store refuses, and says so', async (t) => {
  const world = await oneShard();
  const value = 'x'.repeat(64 * 1024);
  for (let i = 0; i < 16; i++) await write(world, `k${i}`, value);
  const leader = await world.leaderOf(shardId);
  const ask = (checkId: number): void =>
    void world.placement.command(leader, {
      $case: 'verifyShard',
      value: { shardId, checkId, bytesPerSecond: 64 * 1024 },
    });
  for (let checkId = 1; checkId <= 5; checkId++) ask(checkId);
  const heard = (): { checkId: number; failure: string }[] =>
    world.placement.frames.filter((f) => f.storeId === leader).flatMap((f) => f.checksums);
  await world.clock.until(() => heard().length === 5, 'five answers', 200_000);
  t.match(
    heard().filter((c) => c.failure !== ''),
    [{ checkId: 5, failure: 'the store computes 4 checksums already' }],
  );
  t.match(world.store(leader).store.checksums.stats, { running: 0, finished: 4, failed: 1 });
  ask(6);
  await world.clock.until(() => heard().length === 6, 'there is room again');
  await world.close();
});

t.test('a store that stops gives its checksums up and closes', async (t) => {
  const world = await oneShard();
  for (let i = 0; i < 16; i++) await write(world, `k${i}`, 'x'.repeat(64 * 1024));
  const value = { shardId, checkId: 1, bytesPerSecond: 64 * 1024 };
  world.placement.command(await world.leaderOf(shardId), { $case: 'verifyShard', value });
  await world.clock.until(() => world.store(1).store.checksums.stats.running === 1, 'it runs');
  const sinceMs = world.clock.nowMs;
  await world.close();
  t.ok(world.clock.nowMs - sinceMs < 12_000, 'well before it would have been done');
});
