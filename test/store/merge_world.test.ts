import t from 'tap';
import { must } from '../../src/base/assert.js';
import { replicaKey } from '../../src/engine/keys.js';
import { ReplicaState } from '../../src/gen/skerry/v1/kv.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { mergePatienceMs, staleReplicaMs } from '../../store/limits.js';
import { decodeReplicaRecord } from '../../store/records.js';
import { set } from './machine_driver.js';
import { StoreWorld } from './store_world.js';

t.setTimeout(120_000);

const applied = { applied: true, current: null };

/** Two shards that meet at 'm', with a row each. Shard 2 leads on store `rightLeader`. */
async function twoShards(rightLeader = 1, seed = 1): Promise<StoreWorld> {
  const world = await StoreWorld.start(3, seed);
  const stores = [rightLeader, ...[1, 2, 3].filter((id) => id !== rightLeader)];
  await world.create(
    world.shard(1, [1, 2, 3], { endKey: Buffer.from('m') }),
    world.shard(2, stores, { startKey: Buffer.from('m') }),
  );
  await world.write(await world.leaderOf(1), [set('a', '1')], { sessionId: 5, sequence: 1 });
  await world.write(await world.leaderOf(2), [set('x', '2')], {}, { shardId: 2 });
  return world;
}

/** Asks for shard 2 to become a part of shard 1. */
async function ask(world: StoreWorld): Promise<void> {
  const leader = await world.leaderOf(2);
  const epoch = descriptor(world, leader, 2)?.epoch;
  world.placement.command(leader, { $case: 'mergeShard', value: { shardId: 2, epoch, targetShardId: 1 } });
}

function descriptor(world: StoreWorld, storeId: number, shardId: number): Shard | undefined {
  return world.store(storeId).store.replicas.machine(shardId)?.shard;
}

function isMerged(world: StoreWorld, storeId: number): boolean {
  const shard = world.stores.has(storeId) ? descriptor(world, storeId, 1) : undefined;
  return shard?.endKey.length === 0 && descriptor(world, storeId, 2) === undefined;
}

async function untilMerged(world: StoreWorld): Promise<void> {
  const stores = [1, 2, 3].filter((id) => world.stores.has(id));
  await world.clock.until(() => stores.every((id) => isMerged(world, id)), 'every store has merged');
}

/** As placement does: a store refuses while a replica is not up to date. */
async function untilMergedByAsking(world: StoreWorld): Promise<void> {
  for (let asked = 0; asked < 20 && ![1, 2, 3].every((id) => isMerged(world, id)); asked++) {
    await ask(world);
    await world.clock.advance(1_000);
    if (descriptor(world, 1, 2) === undefined) break;
  }
  await untilMerged(world);
}

/**
 * The merge has begun, and the source waits: placement looks for lagging replicas before it begins, and a store is lost right after.
 * Without it nothing is merged, and unless someone asks nothing is taken back at once.
 */
async function untilItWaits(world: StoreWorld, leader = 1): Promise<void> {
  await ask(world);
  await world.crashStore(3);
  await world.clock.until(() => descriptor(world, leader, 2)?.merge?.into !== undefined, 'the source waits');
}

t.test('a shard becomes a part of its neighbour on every store, wherever the two led', async (t) => {
  for (const rightLeader of [1, 2, 3]) {
    const world = await twoShards(rightLeader);
    await ask(world);
    await untilMerged(world);
    const leader = await world.leaderOf(1);
    t.same(await world.get(leader, 'x'), { value: '2' });
    t.same(await world.write(leader, [set('x', '3'), set('a', '3')]), applied);
    t.same(await world.write(leader, [set('a', '1')], { sessionId: 5, sequence: 1, retry: true }), applied);
    t.same(await world.get(leader, 'a'), { value: '3' }, 'a retry of before the merge does nothing');
    t.same(await world.get(leader, 'x', { shardId: 2 }), { error: 'shardNotFound' });
    t.same(await world.get(leader, 'a', { confVer: 1, version: 1 }), { error: 'epochNotMatch 1' });
    const bytes = world.store(leader).engine.contents.get(replicaKey(2));
    t.equal(decodeReplicaRecord(must(bytes, 'a record')).state, ReplicaState.TOMBSTONE);
    await world.clock.advance(1_000);
    t.match(world.placement.reports.get(1)?.shard?.merge?.merged, [{ shardId: 2 }]);
    await world.close();
  }
});

t.test(
  'while it waits the source serves nothing; without a replica nothing is merged, and it serves again',
  async (t) => {
    const world = await twoShards();
    await untilItWaits(world);
    t.same(await world.get(1, 'x', { shardId: 2 }), { error: 'serverIsBusy shard_merging' });
    t.same(await world.write(1, [set('x', '9')], {}, { shardId: 2 }), { error: 'serverIsBusy shard_merging' });
    t.same(await world.get(1, 'a'), { value: '1' }, 'the target serves its own keys');
    await world.clock.advance(2 * mergePatienceMs);
    t.equal(descriptor(world, 1, 2)?.merge?.into, undefined);
    t.match(descriptor(world, 1, 1), { endKey: Buffer.from('m'), epoch: { version: 2 } }, 'the target ruled it out');
    t.same(await world.write(await world.leaderOf(2), [set('x', '9')], {}, { shardId: 2 }), applied);
    await world.startStore(3);
    await untilMergedByAsking(world);
    t.same(await world.get(await world.leaderOf(1), 'x'), { value: '9' });
    await world.close();
  },
);

/** Placement gives the merge of shard 2 up. */
async function cancel(world: StoreWorld, epoch: Shard['epoch']): Promise<number> {
  return world.placement.command(await world.leaderOf(2), { $case: 'cancelMerge', value: { shardId: 2, epoch } });
}

t.test('a merge that has begun is taken back when placement asks, wherever the two lead', async (t) => {
  for (const rightLeader of [1, 2]) {
    const world = await twoShards(rightLeader);
    await untilItWaits(world, rightLeader);
    const beganAtMs = world.clock.nowMs;
    await cancel(world, descriptor(world, rightLeader, 2)?.epoch);
    await world.clock.until(() => descriptor(world, rightLeader, 2)?.merge?.into === undefined, 'it is taken back');
    t.ok(world.clock.nowMs - beganAtMs < mergePatienceMs, 'before the stores would have given up by themselves');
    const target = descriptor(world, rightLeader, 1);
    t.match(target, { endKey: Buffer.from('m'), epoch: { version: 2 } }, 'the target ruled it out');
    t.same(await world.write(await world.leaderOf(2), [set('x', '9')], {}, { shardId: 2 }), applied);
    await world.startStore(3);
    await world.clock.advance(2 * mergePatienceMs);
    t.same(await world.get(await world.leaderOf(2), 'x', { shardId: 2 }), { value: '9' }, 'and it is not begun again');
    await untilMergedByAsking(world);
    t.same(await world.get(await world.leaderOf(1), 'x'), { value: '9' }, 'unless asked for');
    await world.close();
  }
});

t.test('a merge that has not begun can not begin any more once it is given up', async (t) => {
  const world = await twoShards();
  const leader = await world.leaderOf(2);
  const epoch = descriptor(world, leader, 2)?.epoch;
  await cancel(world, epoch);
  await world.clock.until(() => descriptor(world, leader, 2)?.epoch?.version === 2, 'the version moves');
  const value = { shardId: 2, epoch, targetShardId: 1 };
  const late = world.placement.command(leader, { $case: 'mergeShard', value });
  await world.clock.until(() => world.placement.failures.has(late), 'the store answers');
  t.equal(world.placement.failures.get(late), 'epochNotMatch', 'what was on its way comes too late');
  await cancel(world, epoch);
  await world.clock.advance(1_000);
  t.match(descriptor(world, leader, 2), { epoch: { version: 2 } }, 'given up twice is given up once');
  await untilMergedByAsking(world);
  await world.close();
});

t.test(
  'while the target has no majority nobody can take the merge back; when it has one, the source serves',
  async (t) => {
    const world = await twoShards();
    await untilItWaits(world);
    // The source has two of three left, the target one.
    await world.clock.resolve(world.store(2).store.replicas.destroy(1, 12));
    await cancel(world, descriptor(world, 1, 2)?.epoch);
    await world.clock.advance(4 * mergePatienceMs);
    t.not(descriptor(world, 1, 2)?.merge?.into, undefined, 'it waits');
    t.same(await world.get(await world.leaderOf(2), 'x', { shardId: 2 }), { error: 'serverIsBusy shard_merging' });
    await world.startStore(3);
    await world.clock.until(() => descriptor(world, 1, 2)?.merge?.into === undefined, 'it is taken back');
    t.same(await world.get(await world.leaderOf(2), 'x', { shardId: 2 }), { value: '2' });
    t.match(descriptor(world, 1, 1), { endKey: Buffer.from('m') });
    await world.close();
  },
);

t.test(
  'given up at any moment, with or without a power failure, a merge ends with both shards or with one',
  async (t) => {
    const ends = { merged: 0, both: 0 };
    for (let seed = 1; seed <= 16; seed++) {
      const world = await twoShards(1 + (seed % 3), seed);
      const epoch = descriptor(world, await world.leaderOf(2), 2)?.epoch;
      await ask(world);
      await world.clock.advance(seed * 11);
      const leader = [1, 2, 3].find((id) => world.store(id).store.replicas.group(2)?.isLeader() === true);
      if (leader !== undefined) {
        world.placement.command(leader, { $case: 'cancelMerge', value: { shardId: 2, epoch } });
      }
      const victims = seed % 2 === 0 ? [1 + (seed % 3)] : [];
      await world.clock.advance(seed);
      for (const id of victims) await world.crashStore(id);
      await world.clock.advance(seed * 80);
      for (const id of victims) await world.startStore(id);
      await world.clock.advance(3 * mergePatienceMs);
      const ended = [1, 2, 3].map((id) => isMerged(world, id));
      t.ok(
        ended.every((end) => end === ended[0]),
        `seed ${seed}: all stores agree`,
      );
      ends[ended[0] === true ? 'merged' : 'both']++;
      const right = ended[0] === true ? 1 : 2;
      t.same(await world.write(await world.leaderOf(right), [set('x', '7')], {}, { shardId: right }), applied);
      t.same(await world.get(await world.leaderOf(1), 'a'), { value: '1' });
      t.same(
        [...world.stores.values()].flatMap((s) => s.fatals),
        [],
      );
      await world.close();
    }
    t.ok(ends.merged > 0 && ends.both > 0, `some came too late and some did not: ${JSON.stringify(ends)}`);
  },
);

t.test('power fails at any moment of a merge: each store ends with both shards or with the merged one', async (t) => {
  let merged = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const world = await twoShards(1 + (seed % 3), seed);
    await ask(world);
    await world.clock.advance(seed * 23);
    const victims = seed % 4 === 0 ? [1, 2, 3] : [1 + (seed % 3)];
    for (const id of victims) await world.crashStore(id);
    await world.clock.advance(seed * 80);
    for (const id of victims) await world.startStore(id);
    await world.clock.advance(3 * mergePatienceMs);
    const ended = [1, 2, 3].map((id) => isMerged(world, id));
    t.ok(
      ended.every((end) => end === ended[0]),
      `seed ${seed}: all stores agree`,
    );
    if (ended[0] === true) merged++;
    const right = ended[0] === true ? 1 : 2;
    t.same(await world.get(await world.leaderOf(right), 'x', { shardId: right }), { value: '2' });
    t.same(await world.get(await world.leaderOf(1), 'a'), { value: '1' });
    t.same(
      [...world.stores.values()].flatMap((s) => s.fatals),
      [],
    );
    await world.close();
  }
  t.ok(merged > 0, 'some of them were merged');
});

t.test('a store that was away for the merge itself takes the source in when it comes back', async (t) => {
  const world = await twoShards();
  await ask(world);
  await world.clock.until(() => isMerged(world, 1) || isMerged(world, 2), 'a store has merged');
  const late = [3, 2, 1].find((id) => !isMerged(world, id));
  if (late !== undefined) {
    await world.crashStore(late);
    await world.clock.advance(staleReplicaMs);
    await world.startStore(late);
  }
  await untilMerged(world);
  t.equal([1, 2, 3].filter((id) => world.store(id).store.replicas.quarantinedCount > 0).length, 0);
  await world.close();
});

t.test(
  'where the source is gone the target can not take it in: its replica is quarantined, the others merge',
  async (t) => {
    const world = await twoShards();
    await ask(world);
    await world.clock.until(() => descriptor(world, 1, 2)?.merge?.into !== undefined, 'the source waits');
    await world.clock.advance(20);
    t.equal(isMerged(world, 1), false, 'the target has not taken it in yet');
    await world.clock.resolve(world.store(3).store.replicas.destroy(2, 23));
    await world.clock.until(() => isMerged(world, 1) && isMerged(world, 2), 'the others have merged');
    await world.clock.advance(1_000);
    const { replicas } = world.store(3).store;
    t.same(
      [...replicas.quarantined()].map((machine) => machine.shardId),
      [1],
    );
    t.same(await world.get(await world.leaderOf(1), 'x'), { value: '2' });
    await world.close();
  },
);
