import t from 'tap';
import type { Epoch } from '../../src/gen/skerry/v1/meta.js';
import { staleReplicaMs } from '../../store/limits.js';
import { set } from './machine_driver.js';
import { StoreWorld } from './store_world.js';

t.setTimeout(120_000);

const applied = { applied: true, current: null };
const epoch: Epoch = { confVer: 1_000_000, version: 1 };
const term = 1_000_000;

/** A shard on three stores, led by the first, with a row that was acknowledged. */
async function threeReplicas(seed = 1): Promise<StoreWorld> {
  const world = await StoreWorld.start(3, seed);
  await world.create(world.shard(1, [1, 2, 3]));
  await world.write(1, [set('a', '1')], { sessionId: 5, sequence: 1 });
  return world;
}

function force(world: StoreWorld, storeId = 1): number {
  const value = { shardId: 1, replicaId: 10 + storeId, epoch, term };
  return world.placement.command(storeId, { $case: 'forceReplica', value });
}

async function untilLeaderless(world: StoreWorld, storeId = 1): Promise<void> {
  const group = () => world.store(storeId).store.replicas.group(1);
  await world.clock.until(() => group()?.leaderId() === 0, 'its leader is lost');
}

function isAlone(world: StoreWorld, storeId = 1): boolean {
  const { replicas } = world.store(storeId).store;
  const ids = replicas.machine(1)?.shard.replicas.map((r) => r.replicaId) ?? [];
  return ids.length === 1 && ids[0] === 10 + storeId && replicas.group(1)?.isLeader() === true;
}

t.test('a replica that lost the others goes on alone with all that it had', async (t) => {
  const world = await threeReplicas();
  await world.crashStore(2);
  await world.crashStore(3);
  await untilLeaderless(world);
  force(world);
  await world.clock.until(() => isAlone(world), 'it leads alone');
  t.same(await world.get(1, 'a'), { value: '1' });
  t.same(await world.write(1, [set('a', '2')]), applied);
  t.same(await world.write(1, [set('a', '1')], { sessionId: 5, sequence: 1, retry: true }), applied);
  t.same(await world.get(1, 'a'), { value: '2' }, 'a retry of before does nothing');
  force(world);
  await world.clock.advance(1_000);
  t.same(await world.get(1, 'a'), { value: '2' }, 'asked again it is left as it is');
  const report = world.placement.reports.get(1);
  t.match(report, { shard: { epoch, replicas: [{ replicaId: 11, storeId: 1 }] } }, 'placement hears of it');
  t.ok((report?.term ?? 0) > term);
  t.same([...world.placement.failures.values()], []);
  await world.close();
});

t.test('what it had not known to be committed counts as committed', async (t) => {
  const world = await threeReplicas();
  await world.crashStore(2);
  await world.crashStore(3);
  // Into the log of the leader, which has nobody left to tell.
  t.same(await world.write(1, [set('a', '2')]), { error: 'undetermined' });
  await untilLeaderless(world);
  force(world);
  await world.clock.until(() => isAlone(world), 'it leads alone');
  t.same(await world.get(1, 'a'), { value: '2' });
  await world.close();
});

t.test('power fails at any moment of it: the replica is as it was, or alone', async (t) => {
  let alone = 0;
  for (let seed = 1; seed <= 10; seed++) {
    const world = await threeReplicas(seed);
    await world.crashStore(2);
    await world.crashStore(3);
    // It has something left to apply, which takes until the next look.
    t.same(await world.write(1, [set('a', '2')]), { error: 'undetermined' });
    await untilLeaderless(world);
    force(world);
    await world.clock.advance((seed - 1) * 4);
    await world.crashStore(1);
    await world.startStore(1);
    await world.clock.advance(5_000);
    if (isAlone(world)) alone++;
    await untilLeaderless(world).catch((error: unknown) => {
      if (!isAlone(world)) throw error;
    });
    force(world);
    await world.clock.until(() => isAlone(world), 'it leads alone');
    t.same(await world.get(1, 'a'), { value: '2' }, `seed ${seed}: nothing is lost`);
    t.same(await world.write(1, [set('a', '3')]), applied);
    t.same(world.store(1).fatals, []);
    await world.close();
  }
  t.ok(alone > 0 && alone < 10, `${alone} of 10 had got there`);
});

t.test('a replica of the old group that comes back finds that it is gone, and removes itself', async (t) => {
  const world = await threeReplicas();
  await world.crashStore(2);
  await world.crashStore(3);
  await untilLeaderless(world);
  force(world);
  await world.clock.until(() => isAlone(world), 'it leads alone');
  await world.write(1, [set('a', '2')]);
  await world.startStore(2);
  await world.clock.advance(2 * staleReplicaMs);
  t.equal(world.store(2).store.replicas.machine(1), undefined);
  t.equal(isAlone(world), true);
  t.same(await world.get(1, 'a'), { value: '2' });
  await world.close();
});

t.test('a replica that has a leader, or is another one, is left alone', async (t) => {
  const world = await threeReplicas();
  const first = force(world);
  await world.clock.advance(1_000);
  const value = { shardId: 1, replicaId: 12, epoch, term };
  const second = world.placement.command(1, { $case: 'forceReplica', value });
  await world.clock.advance(1_000);
  t.equal(world.placement.failures.get(first), 'failedPrecondition');
  t.equal(world.placement.failures.get(second), 'shardNotFound');
  t.equal(isAlone(world), false);
  await world.close();
});

t.test('a survey names the replicas of shards that lost a store, and how far they are', async (t) => {
  const world = await threeReplicas();
  await world.crashStore(2);
  await world.crashStore(3);
  await world.write(1, [set('a', '2')]);
  await untilLeaderless(world);
  world.placement.command(1, { $case: 'surveyReplicas', value: { surveyId: 9, deadStoreIds: [2, 3] } });
  await world.clock.advance(1_000);
  const parts = world.placement.frames.flatMap((frame) => frame.surveys);
  t.match(parts, [{ surveyId: 9, last: true, replicas: [{ replicaId: 11, unusable: false, shard: { shardId: 1 } }] }]);
  const [found] = parts[0]?.replicas ?? [];
  t.equal(found?.lastIndex, (found?.commitIndex ?? 0) + 1, 'the last entry is not known to be committed');
  await world.close();
});
