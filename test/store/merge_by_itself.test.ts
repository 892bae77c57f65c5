import t from 'tap';
import type { Test } from 'tap';
import { must } from '../../src/base/assert.js';
import { shardSizesDefault } from '../../placement/shard_sizes.js';
import { set } from './machine_driver.js';
import { PlannerDriver } from './planner_driver.js';
import { StoreWorld } from './store_world.js';

t.setTimeout(120_000);

const applied = { applied: true, current: null };
const bounds = ['', 'b', 'c', 'd', 'e'].map((key) => Buffer.from(key));
/** Aligned, apart by one store, by two, and by all three. */
const stores = [
  [1, 2, 3],
  [1, 2, 3],
  [2, 3, 4],
  [4, 5, 6],
  [3, 1, 6],
];

/** Five shards of a keyspace that began with one, a row in each. */
async function fiveShards(t: Test): Promise<StoreWorld> {
  const world = await StoreWorld.start(6);
  const shards = stores.map((storeIds, at) =>
    world.shard(at + 1, storeIds, {
      startKey: must(bounds[at], 'a bound'),
      endKey: bounds[at + 1] ?? Buffer.alloc(0),
    }),
  );
  await world.create(...shards);
  for (const [at, key] of ['a', 'b', 'c', 'd', 'e'].entries()) {
    const shardId = at + 1;
    t.same(await world.write(await world.leaderOf(shardId), [set(key, key)], {}, { shardId }), applied);
  }
  return world;
}

t.test('small shards become as many as their keyspace began with, wherever their replicas are', async (t) => {
  const world = await fiveShards(t);
  const driver = new PlannerDriver(world, 3, undefined, { ...shardSizesDefault, restMs: 0 });
  await driver.until(() => driver.state.shardCount === 5, 'all shards are reported');
  await driver.until(() => driver.state.shardCount === 1, 'one shard is left', 600_000);
  const left = must([...driver.state.shards()][0], 'a shard');
  t.same([left.startKey.length, left.endKey.length], [0, 0], 'it has the whole keyspace');
  const { shardId } = left;
  const leader = await world.leaderOf(shardId);
  for (const key of ['a', 'b', 'c', 'd', 'e']) {
    t.same(await world.get(leader, key, { shardId }), { value: key });
    t.same(await world.write(leader, [set(key, '2')], {}, { shardId }), applied);
  }
  t.ok(
    driver.finished.filter((o) => o.plan.kind === 'merge-shards' && o.state === 'success').length >= 4,
    'it was operators that did it',
  );
  t.same(
    [...world.stores.values()].flatMap((s) => s.fatals),
    [],
  );
  await world.close();
});

t.test('shards rest before they are merged, and what is switched off merges nothing', async (t) => {
  for (const change of [{ restMs: 3_600_000 }, { restMs: 0, mergeBytes: 0 }]) {
    const world = await fiveShards(t);
    const driver = new PlannerDriver(world, 3, undefined, { ...shardSizesDefault, ...change });
    const endMs = world.clock.nowMs + 60_000;
    await driver.until(() => world.clock.nowMs >= endMs, 'a minute', 70_000);
    t.equal(driver.state.shardCount, 5);
    await world.close();
  }
});
