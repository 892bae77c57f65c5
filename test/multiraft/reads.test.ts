import t from 'tap';
import type { ReadFailure } from '../../src/multiraft/host.js';
import { ReadWaiters } from '../../src/multiraft/read_waiters.js';
import { Cluster } from './cluster.js';

t.test('a read sees every write acknowledged before it, on the leader and on followers', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  for (let i = 0; i < 5; i++) {
    await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', `${i}`));
    const values = await cluster.clock.resolve(Promise.all([1, 2, 3].map((host) => cluster.read(host, 1, 'a'))));
    t.same(values, [`${i}`, `${i}`, `${i}`]);
  }
  await cluster.close();
});

t.test('all reads of a turn share one round of heartbeats', async (t) => {
  const cluster = await Cluster.start({ options: { leases: false } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const { multiRaft, transport } = cluster.host(1);
  const before = multiRaft.stats();
  const frames = transport.stats().peers[0]?.framesSent ?? 0;
  await cluster.clock.resolve(Promise.all(Array.from({ length: 50 }, () => cluster.read(1, 1, 'a'))), 20);
  t.equal(multiRaft.stats().reads - before.reads, 50);
  t.equal(multiRaft.stats().readRounds - before.readRounds, 1);
  t.ok((transport.stats().peers[0]?.framesSent ?? 0) - frames <= 2, 'at most one frame and a regular beat');
  await cluster.close();
});

t.test('a leader that is cut off answers no read, and one from after the change sees the new writes', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', 'old'));
  cluster.network.partition(1, 2);
  cluster.network.partition(1, 3);
  const stale = cluster.read(1, 1, 'a');
  await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader');
  await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', 'new'));
  const late = cluster.read(1, 1, 'a');
  for (const read of [stale, late]) t.match(await cluster.clock.resolve(read), { reason: 'notLeader' });
  cluster.network.healAll();
  await cluster.clock.advance(3_000);
  for (const host of [1, 2, 3]) t.equal(await cluster.clock.resolve(cluster.read(host, 1, 'a')), 'new');
  await cluster.close();
});

t.test(
  'a read on a new leader waits for an entry of its own term and then sees all that was acknowledged',
  async (t) => {
    const cluster = await Cluster.start();
    await cluster.addGroup(1, [1, 2, 3], 1);
    await cluster.waitForLeader(1);
    for (let round = 0; round < 4; round++) {
      const leader = cluster.leaderHost(1);
      await cluster.clock.resolve(cluster.set(cluster.group(leader, 1), 'a', `${round}`));
      const target = (leader % 3) + 1;
      cluster.group(leader, 1).transferLeader(10 + target);
      await cluster.clock.until(() => cluster.group(target, 1).isLeader(), 'the target leads');
      t.equal(await cluster.clock.resolve(cluster.read(target, 1, 'a')), `${round}`);
    }
    await cluster.close();
  },
);

t.test('a read that cannot be answered fails in time', async (t) => {
  const cluster = await Cluster.start({ options: { readTimeoutTicks: 5, leases: false } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  cluster.network.partition(1, 2);
  cluster.network.partition(1, 3);
  t.match(await cluster.clock.resolve(cluster.read(1, 1, 'a'), 1_000), { reason: 'timeout' });
  await cluster.close();
});

t.test('rounds on their way are bounded; what comes meanwhile shares the next one', async (t) => {
  const cluster = await Cluster.start({ options: { leases: false, limits: { groupReadRounds: 1 } } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const before = cluster.host(1).multiRaft.stats().readRounds;
  const reads: Promise<unknown>[] = [];
  for (let i = 0; i < 10; i++) {
    reads.push(cluster.read(1, 1, 'a'));
    await cluster.clock.settle();
  }
  t.equal(cluster.host(1).multiRaft.stats().readRounds - before, 1);
  t.same(
    await cluster.clock.resolve(Promise.all(reads)),
    Array.from({ length: 10 }, () => null),
  );
  t.equal(cluster.host(1).multiRaft.stats().readRounds - before, 2);
  await cluster.close();
});

t.test('read waiters', async (t) => {
  const settled: string[] = [];
  const wait = (name: string) => (failure: ReadFailure | null) => settled.push(`${name} ${failure?.reason ?? 'ok'}`);
  const failure: ReadFailure = { reason: 'notLeader', leaderId: 0 };
  const take = (): string[] => settled.splice(0);

  t.test('reads wait until their index is applied', async (t) => {
    const reads = new ReadWaiters();
    reads.add(wait('a'));
    reads.startRound(7, 10);
    reads.add(wait('b'));
    t.ok(reads.roundAnswered(7, 20, 19));
    t.same(take(), []);
    reads.appliedTo(19);
    t.same(take(), []);
    reads.appliedTo(20);
    t.same(take(), ['a ok']);
    t.equal(reads.count, 1, 'b came after the round started');
    t.notOk(reads.roundAnswered(7, 20, 20), 'a round is answered once');
  });

  t.test('a change of leader fails rounds on their way and keeps the rest', async (t) => {
    const reads = new ReadWaiters();
    reads.add(wait('indexed'));
    reads.startRound(1, 10);
    reads.roundAnswered(1, 5, 4);
    reads.add(wait('asked'));
    reads.startRound(2, 10);
    reads.add(wait('gathering'));
    reads.failAsked(failure);
    t.same(take(), ['asked notLeader']);
    reads.appliedTo(5);
    t.same(take(), ['indexed ok']);
    reads.failAll(failure);
    t.same(take(), ['gathering notLeader']);
    t.equal(reads.count, 0);
  });

  t.test('deadlines hold for rounds and for reads that wait for their index', async (t) => {
    const reads = new ReadWaiters();
    reads.add(wait('indexed'));
    reads.startRound(1, 10);
    reads.roundAnswered(1, 5, 4);
    reads.add(wait('asked'));
    reads.startRound(2, 12);
    reads.expire(9, failure);
    t.same(take(), []);
    reads.expire(10, failure);
    t.same(take(), ['indexed notLeader']);
    reads.expire(12, failure);
    t.same(take(), ['asked notLeader']);
    t.equal(reads.count, 0);
  });
});
