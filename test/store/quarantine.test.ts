import t from 'tap';
import { assert, must } from '../../src/base/assert.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { set } from './machine_driver.js';
import { PlannerDriver } from './planner_driver.js';
import type { OpResult } from './store_world.js';
import { StoreWorld } from './store_world.js';

const shardId = 1;

async function oneShard(stores = 3, raftLogCacheBytes?: number): Promise<StoreWorld> {
  const world = await StoreWorld.start(stores, 1, raftLogCacheBytes === undefined ? {} : { raftLogCacheBytes });
  await world.create(world.shard(shardId, [1, 2, 3]));
  return world;
}

/** Flips a bit of an entry in a store's Raft log, on disk and for good. Returns how often the text was found. */
function damage(world: StoreWorld, storeId: number, text: string): number {
  const { disk } = world.store(storeId);
  let found = 0;
  for (const path of disk.paths().filter((p) => p.startsWith('/raftlog/'))) {
    const bytes = disk.contents(path);
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      found++;
    }
  }
  return found;
}

async function write(world: StoreWorld, key: string, value: string): Promise<OpResult> {
  return world.write(await world.leaderOf(shardId), [set(key, value)]);
}

/** Store 3 lost an entry of its log in the middle while it was off, and is on again. */
async function withDamagedReplica(stores = 3): Promise<StoreWorld> {
  const world = await oneShard(stores);
  await write(world, 'a', 'the damaged one');
  await write(world, 'b', 'an intact one');
  await world.clock.advance(1_000);
  assert(damage(world, 3, 'the damaged one') === 1, 'the entry is in the log once');
  await world.crashStore(3);
  await world.startStore(3);
  return world;
}

function quarantinedOn(world: StoreWorld, storeId: number): number[] {
  return [...world.store(storeId).store.replicas.quarantined()].map((machine) => machine.replicaId);
}

function rolesOf(world: StoreWorld, storeId: number): string[] {
  const shard = must(world.store(storeId).store.replicas.machine(shardId), 'a replica').shard;
  return shard.replicas.map((r) => `${r.storeId} ${r.role === ReplicaRole.VOTER ? 'voter' : 'other'}`).sort();
}

t.test('a replica whose log is damaged is not started, and says so to placement', async (t) => {
  const world = await withDamagedReplica();
  t.same(quarantinedOn(world, 3), [13]);
  const { store } = world.store(3);
  t.equal(store.multi.group(shardId), undefined, 'it has no peer');
  t.equal(store.replicas.machine(shardId), undefined, 'it serves nothing');
  await world.clock.advance(2_000);
  const report = world.placement.frames.filter((f) => f.storeId === 3 && f.store !== undefined).at(-1)?.store;
  t.match(report, {
    quarantined: [{ shardId, replicaId: 13, epoch: { confVer: 1, version: 1 } }],
    quarantinedCount: 1,
  });
  const held = world.placement.frames.find((f) => f.storeId === 3 && f.held.length > 0 && f.store?.incarnation === 4);
  t.match(held?.held, [{ shardId, replicaId: 13 }], 'it is still among the replicas on disk');
  t.match(await world.get(3, 'a'), { error: 'shardNotFound' });
  await world.close();
});

t.test('a quarantined replica neither votes nor acknowledges, however often its store restarts', async (t) => {
  const world = await withDamagedReplica();
  for (let restart = 0; restart < 3; restart++) {
    if (restart > 0) {
      await world.crashStore(3);
      await world.startStore(3);
    }
    t.same(quarantinedOn(world, 3), [13], `after ${restart} restarts`);
    t.same(await write(world, 'c', String(restart)), { applied: true, current: null }, 'the others go on');
  }
  await world.crashStore(2);
  const leader = world.store(1).store.multi.group(shardId);
  await world.clock.until(() => leader?.isLeader() === false, 'one of three does not lead');
  await world.clock.advance(10_000);
  t.equal(leader?.isLeader(), false, 'nor is it elected with the vote of the damaged one');
  await world.startStore(2);
  t.same(await world.get(await world.leaderOf(shardId), 'c'), { value: '2' });
  await world.close();
});

t.test('damage that a read finds while the leader runs stops it at once; the others lead', async (t) => {
  const world = await oneShard(3, 4 * 1024 * 1024);
  const first = await world.leaderOf(shardId);
  const behind = first === 3 ? 2 : 3;
  await world.crashStore(behind);
  await write(world, 'a', 'the damaged one');
  // Past the cache of the leader's log, so that the one that is behind makes it read from disk.
  const filler = 'x'.repeat(256 * 1024);
  for (let i = 0; i < 24; i++) await write(world, `fill${i}`, filler);
  t.equal(damage(world, first, 'the damaged one'), 1);
  const { store } = world.store(first);
  const group = must(store.multi.group(shardId), 'the leader');
  await world.startStore(behind);
  await world.clock.until(() => quarantinedOn(world, first).length > 0, 'the damage is found');
  t.equal(store.multi.group(shardId), undefined);
  const outcome = await world.clock.resolve(new Promise((resolve) => group.propose(1, Buffer.from('x'), resolve)));
  t.match(outcome, { status: 'dropped', reason: 'stopped' }, 'who still holds the peer is told that it has ended');
  t.not(await world.leaderOf(shardId), first);
  t.same(await world.get(await world.leaderOf(shardId), 'a'), { value: 'the damaged one' });
  await world.crashStore(first);
  await world.startStore(first);
  t.same(quarantinedOn(world, first), [first + 10], 'the mark is on disk');
  await world.close();
});

t.test('with three stores, a damaged replica is made anew on its own store', async (t) => {
  const world = await withDamagedReplica();
  const placement = new PlannerDriver(world, 3);
  await placement.until(() => placement.finished.length > 0, 'the repair ends');
  t.match(placement.finished, [{ plan: { kind: 'renew-damaged-replica' }, state: 'success' }]);
  await world.clock.advance(2_000);
  t.same(quarantinedOn(world, 3), []);
  t.same(rolesOf(world, 3), ['1 voter', '2 voter', '3 voter']);
  t.ok((world.store(3).store.replicas.machine(shardId)?.replicaId ?? 0) >= 10_000, 'it is another replica');
  await world.crashStore(await world.leaderOf(shardId));
  const leader = await world.leaderOf(shardId);
  t.same(await world.get(leader, 'a'), { value: 'the damaged one' }, 'with it, another store can be away again');
  t.same(await write(world, 'd', '1'), { applied: true, current: null });
  await world.crashStore(3);
  await world.startStore(3);
  t.same(quarantinedOn(world, 3), [], 'the tombstone took the damage mark with it');
  t.same(await world.get(await world.leaderOf(shardId), 'd'), { value: '1' });
  await world.close();
});

t.test('with a fourth store, a damaged replica moves there, and its own store drops what it held', async (t) => {
  const world = await withDamagedReplica(4);
  const placement = new PlannerDriver(world, 3);
  await placement.until(() => placement.finished.length > 0, 'the repair ends');
  t.match(placement.finished, [{ plan: { kind: 'replace-damaged-replica' }, state: 'success' }]);
  await world.clock.until(() => quarantinedOn(world, 3).length === 0, 'store 3 asks, and drops its replica');
  t.same(rolesOf(world, 4), ['1 voter', '2 voter', '4 voter']);
  t.same(await world.get(await world.leaderOf(shardId), 'a'), { value: 'the damaged one' });
  await world.close();
});

t.test('placement can tell a store to drop a quarantined replica, but not at an older epoch', async (t) => {
  const world = await withDamagedReplica();
  const destroy = (confVer: number): number => {
    const epoch = { confVer, version: 1 };
    return world.placement.command(3, { $case: 'destroyReplica', value: { shardId, replicaId: 13, epoch } });
  };
  await world.clock.advance(1_000);
  const refused = destroy(0);
  await world.clock.advance(1_000);
  t.equal(world.placement.failures.get(refused), 'epochNotMatch');
  t.same(quarantinedOn(world, 3), [13]);
  destroy(2);
  await world.clock.until(() => quarantinedOn(world, 3).length === 0, 'it is dropped');
  await world.close();
});

t.test('a destroyed replica that a leader still writes to is reported, so that placement replaces it', async (t) => {
  const world = await oneShard(4);
  const leader = await world.leaderOf(shardId);
  const { epoch } = must(world.store(leader).store.replicas.machine(shardId), 'a replica').shard;
  const learner = { replicaId: 99, storeId: 4, role: ReplicaRole.LEARNER };
  const value = { shardId, epoch, changes: [learner], joint: false };
  world.placement.command(leader, { $case: 'changeReplicas', value });
  const there = (): boolean => world.store(4).store.replicas.machine(shardId)?.phase === 'normal';
  await world.clock.until(there, 'the learner is there');
  // As placement does when it has not heard of the membership change that added the learner.
  const destroy = { shardId, replicaId: 99, epoch: { confVer: 100, version: 100 } };
  world.placement.command(4, { $case: 'destroyReplica', value: destroy });
  const reported = (): boolean =>
    world.placement.frames.some(
      (f) => f.storeId === 4 && f.store?.quarantined.some((q) => q.replicaId === 99) === true,
    );
  await world.clock.until(reported, 'the store says that the replica has to be replaced');
  t.equal(world.store(4).store.replicas.machine(shardId), undefined);
  await world.close();
});

t.test('a replica that was removed while nobody could tell it asks whether it still belongs', async (t) => {
  const world = await oneShard(4);
  const leader = await world.leaderOf(shardId);
  const epochNow = (): NonNullable<ReturnType<StoreWorld['shard']>['epoch']> =>
    must(world.store(leader).store.replicas.machine(shardId)?.shard.epoch, 'an epoch');
  const change = (role: ReplicaRole): void => {
    const changes = [{ replicaId: 99, storeId: 4, role }];
    const value = { shardId, epoch: epochNow(), changes, joint: false };
    world.placement.command(leader, { $case: 'changeReplicas', value });
  };
  change(ReplicaRole.LEARNER);
  const there = (): boolean => world.store(4).store.replicas.machine(shardId)?.phase === 'normal';
  await world.clock.until(there, 'the learner is there');
  for (const other of [1, 2, 3]) world.network.partition(4, other);
  change(ReplicaRole.UNSPECIFIED);
  const gone = (): boolean => world.store(4).store.replicas.machine(shardId) === undefined;
  await world.clock.until(gone, 'the learner removes itself');
  t.ok(world.placement.questions.includes(shardId), 'it asked placement');
  await world.close();
});

t.test('a removed replica is destroyed only when no power failure can make its vote needed again', async (t) => {
  const world = await oneShard(4);
  await write(world, 'a', '1');
  const leader = await world.leaderOf(shardId);
  const epochOf = (storeId: number): NonNullable<ReturnType<StoreWorld['shard']>['epoch']> =>
    must(world.store(storeId).store.replicas.machine(shardId)?.shard.epoch, 'an epoch');
  const [away = 0] = [1, 2, 3].filter((storeId) => storeId !== leader);
  const changes = [{ replicaId: 10 + away, storeId: away, role: ReplicaRole.UNSPECIFIED }];
  const reportedBefore = world.placement.reports.get(shardId)?.shard?.epoch?.confVer;
  world.placement.command(leader, {
    $case: 'changeReplicas',
    value: { shardId, epoch: epochOf(leader), changes, joint: false },
  });
  await world.clock.until(() => epochOf(leader).confVer === 2, 'the leader has applied the change');
  t.equal(world.placement.reports.get(shardId)?.shard?.epoch?.confVer, reportedBefore, 'placement is not told yet');
  const told = (): boolean => world.placement.reports.get(shardId)?.shard?.epoch?.confVer === 2;
  await world.clock.until(told, 'placement is told');
  const gone = (): boolean => world.store(away).store.replicas.machine(shardId) === undefined;
  await world.clock.until(gone, 'the removed replica is destroyed');
  // Everything that was not synced is gone on all stores, and so, perhaps, is the knowledge that the change is committed.
  for (const storeId of [1, 2, 3]) await world.crashStore(storeId);
  for (const storeId of [1, 2, 3]) await world.startStore(storeId);
  t.match(await write(world, 'b', '2'), { applied: true }, 'the two that are left elect a leader');
  await world.close();
});
