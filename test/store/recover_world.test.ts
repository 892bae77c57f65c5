import t from 'tap';
import { must } from '../../src/base/assert.js';
import { RecoveryDriver } from '../../placement/recovery/recovery_driver.js';
import type { HeldReplica, RecoveryPlan } from '../../placement/recovery/recovery_plan.js';
import { planRecovery } from '../../placement/recovery/recovery_plan.js';
import { ReplicaSurveys } from '../../placement/recovery/replica_surveys.js';
import { set } from './machine_driver.js';
import { PlannerDriver } from './planner_driver.js';
import { StoreWorld } from './store_world.js';

t.setTimeout(120_000);

const applied = { applied: true, current: null };
const places = [
  [1, 2, 3],
  [4, 1, 2],
  [2, 5, 1],
  [3, 4, 5],
  [1, 3, 4],
  [5, 2, 4],
];
const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
/** Shards with two of their three voters on stores 1 and 2. */
const lost = [1, 2, 3];

async function sixShards(): Promise<StoreWorld> {
  const world = await StoreWorld.start(5);
  const bounds = keys.map((key, at) => Buffer.from(at === 0 ? '' : key));
  const shards = places.map((storeIds, at) =>
    world.shard(at + 1, storeIds, {
      startKey: must(bounds[at], 'a bound'),
      endKey: bounds[at + 1] ?? Buffer.alloc(0),
    }),
  );
  await world.create(...shards);
  for (const [at, key] of keys.entries()) {
    const shardId = at + 1;
    await world.write(await world.leaderOf(shardId), [set(key, 'before')], {}, { shardId });
  }
  return world;
}

/** Asks the stores as placement does. */
async function plan(world: StoreWorld, driver: PlannerDriver, deadStoreIds: readonly number[]): Promise<RecoveryPlan> {
  const surveys = new ReplicaSurveys({
    send: (storeId, { command }) => world.placement.command(storeId, must(command, 'a command')),
    newId: () => 1,
    answered: () => undefined,
  });
  const survey = must(surveys.begin([...world.stores.keys()], deadStoreIds), 'a survey');
  let heard = world.placement.frames.length;
  await driver.until(() => {
    for (; heard < world.placement.frames.length; heard++) {
      const frame = must(world.placement.frames[heard], 'a frame');
      for (const part of frame.surveys) surveys.received(frame.storeId, part);
    }
    return survey.missing.size === 0;
  }, 'all stores have answered');
  const replicas: readonly HeldReplica[] = survey.replicas;
  return planRecovery({
    state: driver.state,
    deadStoreIds: new Set(deadStoreIds),
    replicas,
    isLed: (shardId) => driver.view.liveLeaderOf(shardId) !== undefined,
    lastKnown: () => ({ term: 0, index: 0 }),
  });
}

t.test('two of five stores are lost for good: their shards go on from what is left, and are whole again', async (t) => {
  const world = await sixShards();
  const driver = new PlannerDriver(world, 3);
  await driver.until(() => driver.state.shardCount === places.length, 'all shards are reported');
  // Every replica has heard what is committed.
  await world.clock.advance(5_000);
  await world.crashStore(1);
  await world.crashStore(2);
  await driver.until(() => !driver.view.isConnected(1) && !driver.view.isConnected(2), 'both are silent');
  await driver.until(() => lost.every((id) => driver.view.liveLeaderOf(id) === undefined), 'the shards have no leader');

  const found = await plan(world, driver, [1, 2]);
  t.same(
    found.recoveries.map((r) => [r.record.shardId, r.record.storeId, r.votersLeft]),
    [
      [1, 3, 1],
      [2, 4, 1],
      [3, 5, 1],
    ],
  );
  t.same(found.unrecoverable, []);
  driver.state.apply({ kind: 'buryStores', storeIds: [1, 2] });
  driver.state.apply({ kind: 'recoverShards', shards: found.recoveries.map((r) => r.record) });
  let nextId = 2 ** 51;
  const recovery = new RecoveryDriver({
    state: () => driver.state,
    nowMs: () => driver.view.nowMs,
    send: (storeId, { command }) => world.placement.command(storeId, must(command, 'a command')),
    newId: () => ++nextId,
  });
  await driver.until(() => {
    recovery.tick();
    return driver.state.recoveries.size === 0;
  }, 'the chosen replicas go on');
  const isWhole = (): boolean =>
    [...driver.state.shards()].every(
      (shard) => shard.replicas.length === 3 && shard.replicas.every((r) => [3, 4, 5].includes(r.storeId)),
    );
  await driver.until(isWhole, 'every shard has three replicas on the stores that are left', 600_000);
  for (const [at, key] of keys.entries()) {
    const shardId = at + 1;
    const leader = await world.leaderOf(shardId);
    t.same(await world.get(leader, key, { shardId }), { value: 'before' }, `shard ${shardId} has its row`);
    t.same(await world.write(leader, [set(key, 'after')], {}, { shardId }), applied, 'and takes writes');
  }
  t.same((await plan(world, driver, [1, 2])).recoveries, [], 'nothing is left to recover');

  // One that comes back although it was given up finds that none of its replicas is a member any more.
  await world.startStore(1);
  const { replicas } = world.store(1).store;
  await driver.until(() => [...replicas.machines()].length === 0, 'its replicas removed themselves', 600_000);
  for (const [at, key] of keys.entries()) {
    const shardId = at + 1;
    t.same(await world.get(await world.leaderOf(shardId), key, { shardId }), { value: 'after' });
  }
  t.same(
    [...world.stores.values()].flatMap((s) => s.fatals),
    [],
  );
  await world.close();
});

t.test('a store that is lost alone leaves every majority: nothing is planned', async (t) => {
  const world = await sixShards();
  const driver = new PlannerDriver(world, 3);
  await driver.until(() => driver.state.shardCount === places.length, 'all shards are reported');
  await world.crashStore(1);
  await driver.until(() => !driver.view.isConnected(1), 'it is silent');
  t.same(await plan(world, driver, [1]), { recoveries: [], unrecoverable: [] });
  await world.close();
});
