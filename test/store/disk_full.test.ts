import t from 'tap';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { del, set } from './machine_driver.js';
import { StoreWorld } from './store_world.js';

const diskReserveBytes = 1024 * 1024;
const plenty = 2 ** 40;

async function oneShard(stores = 3): Promise<StoreWorld> {
  const world = await StoreWorld.start(stores, 1, { diskReserveBytes });
  await world.create(world.shard(1, [1, 2, 3]));
  await world.write(await world.leaderOf(1), [set('a', '1')]);
  return world;
}

/** Leaves a store's disk this many free bytes, and the store time to look. */
async function leave(world: StoreWorld, storeId: number, freeBytes: number): Promise<void> {
  const { disk } = world.store(storeId);
  disk.totalBytes = disk.usedBytes() + freeBytes;
  await world.clock.advance(2_500);
}

function lastReport(world: StoreWorld, storeId: number): { readonly diskFull: boolean } | undefined {
  return world.placement.frames.filter((f) => f.storeId === storeId && f.store !== undefined).at(-1)?.store;
}

t.test('a store with a full disk refuses writes by a typed error; reads, deletes and removals go on', async (t) => {
  const world = await oneShard();
  const leader = await world.leaderOf(1);
  await leave(world, leader, diskReserveBytes * 0.8);
  t.match(lastReport(world, leader), { diskFull: true }, 'placement is told');
  t.same(await world.write(leader, [set('b', '1')]), { error: 'diskFull' });
  t.same(await world.write(leader, [del('a'), set('b', '1')]), { error: 'diskFull' }, 'nor half of a write');
  t.same(await world.get(leader, 'a'), { value: '1' });
  t.match(await world.write(leader, [del('a')]), { applied: true });
  t.same(await world.get(leader, 'a'), { value: null });
  const { store } = world.store(leader);
  const gone = leader === 3 ? 2 : 3;
  const changes = [{ role: ReplicaRole.UNSPECIFIED, replicaId: 10 + gone, storeId: gone }];
  const epoch = store.replicas.machine(1)?.shard.epoch;
  world.placement.command(leader, { $case: 'changeReplicas', value: { shardId: 1, epoch, changes, joint: false } });
  await world.clock.until(() => store.replicas.machine(1)?.shard.replicas.length === 2, 'a replica is removed');
  await world.close();
});

t.test('writes are taken again by themselves once there is room', async (t) => {
  const world = await oneShard();
  const leader = await world.leaderOf(1);
  await leave(world, leader, diskReserveBytes - 1);
  t.same(await world.write(leader, [set('b', '1')]), { error: 'diskFull' });
  await leave(world, leader, diskReserveBytes + 1);
  t.same(await world.write(leader, [set('b', '1')]), { error: 'diskFull' }, 'a byte does not make it flap');
  await leave(world, leader, plenty);
  t.match(await world.write(leader, [set('b', '1')]), { applied: true });
  t.match(lastReport(world, leader), { diskFull: false });
  await world.close();
});

t.test(
  'a follower with a full disk follows on, until half of its reserve is gone; then the others go on',
  async (t) => {
    const world = await oneShard();
    const leader = await world.leaderOf(1);
    const follower = leader === 3 ? 2 : 3;
    const indexOf = (storeId: number): number => world.store(storeId).store.multi.group(1)?.status().lastIndex ?? 0;
    await leave(world, follower, diskReserveBytes * 0.8);
    t.match(await world.write(leader, [set('b', '1')]), { applied: true });
    await world.clock.advance(500);
    t.equal(indexOf(follower), indexOf(leader), 'it takes what the leader has');
    await leave(world, follower, diskReserveBytes * 0.3);
    const before = indexOf(follower);
    for (let i = 0; i < 5; i++) t.match(await world.write(leader, [set('c', String(i))]), { applied: true });
    await world.clock.advance(5_000);
    t.equal(indexOf(follower), before, 'it takes no more');
    t.equal(await world.leaderOf(1), leader, 'and does not disturb');
    t.same(world.store(follower).fatals, []);
    await leave(world, follower, plenty);
    await world.clock.until(() => indexOf(follower) === indexOf(leader), 'it catches up by itself');
    await world.close();
  },
);

t.test('a store with a full disk takes no snapshot until there is room', async (t) => {
  const world = await oneShard(4);
  const leader = await world.leaderOf(1);
  await leave(world, 4, diskReserveBytes * 0.8);
  const changes = [{ role: ReplicaRole.LEARNER, replicaId: 14, storeId: 4 }];
  const epoch = world.store(leader).store.replicas.machine(1)?.shard.epoch;
  world.placement.command(leader, { $case: 'changeReplicas', value: { shardId: 1, epoch, changes, joint: false } });
  const phase = (): string | undefined => world.store(4).store.replicas.machine(1)?.phase;
  await world.clock.until(() => phase() !== undefined, 'the replica is there');
  await world.clock.advance(10_000);
  t.equal(phase(), 'uninitialized');
  await leave(world, 4, plenty);
  await world.clock.until(() => phase() === 'normal', 'it gets its snapshot');
  await world.close();
});
