import t, { type Test } from 'tap';
import type { ProposalOutcome } from '../../src/multiraft/host.js';
import { Cluster } from './cluster.js';

function healthy(t: Test, cluster: Cluster): void {
  for (const host of cluster.hosts.values()) t.same(host.fatals, [], `host ${host.hostId} is well`);
}

t.test('a proposal is applied on every replica and answered with its result', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 2);
  t.equal(await cluster.waitForLeader(1), 2, 'the replica that was told to campaign leads');
  const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', '1'));
  t.match(outcome, { status: 'applied', result: 'set a' });
  await cluster.waitForCaughtUp(1);
  for (const hostId of [1, 2, 3]) t.equal(await cluster.machine(hostId, 1).get('a'), '1');
  healthy(t, cluster);
  await cluster.close();
});

t.test('commands of one turn share one entry, and their results come in order', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const group = cluster.leaderGroup(1);
  const before = group.status().lastIndex;
  const settled: string[] = [];
  const sets = Array.from({ length: 100 }, (_, i) =>
    cluster.set(group, `k${i}`, `${i}`).then((outcome) => settled.push(JSON.stringify(outcome))),
  );
  await cluster.clock.resolve(Promise.all(sets));
  t.equal(group.status().lastIndex, before + 1, 'one entry for a hundred commands');
  const index = before + 1;
  t.same(
    settled,
    Array.from({ length: 100 }, (_, i) => JSON.stringify({ status: 'applied', index, result: `set k${i}` })),
  );
  await cluster.close();
});

t.test('appends of many groups in one turn are one write of the log, and one frame per host', async (t) => {
  const cluster = await Cluster.start();
  const groups = Array.from({ length: 20 }, (_, i) => i + 1);
  for (const groupId of groups) await cluster.addGroup(groupId, [1, 2, 3], 1);
  for (const groupId of groups) await cluster.waitForLeader(groupId);
  for (const groupId of groups) await cluster.waitForCaughtUp(groupId);
  await cluster.clock.advance(1_000);
  const host = cluster.host(1);
  host.writes.length = 0;
  const framesBefore = host.transport.stats().peers.map((peer) => peer.framesSent);
  const sets = groups.map((groupId) => cluster.set(cluster.group(1, groupId), 'a', '1'));
  await cluster.clock.resolve(Promise.all(sets), 50);
  t.equal(host.writes.length, 1, 'one write on the leader');
  t.equal(host.writes[0]?.length, 20, 'with a record of each group');
  const frames = host.transport.stats().peers.map((peer, i) => peer.framesSent - (framesBefore[i] ?? 0));
  t.ok(
    frames.every((count) => count <= 2),
    `frames to each host: ${frames.join(', ')}`,
  );
  await cluster.close();
});

t.test('frames of idle hosts do not depend on the number of groups', async (t) => {
  const rate = async (count: number): Promise<number> => {
    const cluster = await Cluster.start();
    for (let groupId = 1; groupId <= count; groupId++) await cluster.addGroup(groupId, [1, 2, 3], 1);
    for (let groupId = 1; groupId <= count; groupId++) await cluster.waitForLeader(groupId);
    await cluster.clock.advance(3_000);
    const before = cluster.host(1).transport.stats().peers[0]?.framesSent ?? 0;
    await cluster.clock.advance(4_000);
    const after = cluster.host(1).transport.stats().peers[0]?.framesSent ?? 0;
    await cluster.close();
    return after - before;
  };
  const few = await rate(2);
  const many = await rate(40);
  t.ok(few >= 20 && few <= 45, `${few} frames in 4 seconds: a beat per 200 ms and answers to the other's`);
  t.equal(many, few);
});

t.test('a compare-and-swap sees the entries and commands before it in the same batch', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  const group = cluster.leaderGroup(1);
  const outcomes = await cluster.clock.resolve(
    Promise.all([
      cluster.cas(group, 'a', null, '1'),
      cluster.set(group, 'b', 'x'),
      cluster.cas(group, 'a', null, '2'),
      cluster.cas(group, 'a', '1', '3'),
      cluster.cas(group, 'b', 'x', 'y'),
    ]),
  );
  t.same(
    outcomes.map((outcome) => outcome.status === 'applied' && outcome.result),
    [true, 'set b', false, true, true],
  );
  await cluster.waitForCaughtUp(1);
  for (const hostId of [1, 2, 3]) {
    t.equal(await cluster.machine(hostId, 1).get('a'), '3');
    t.equal(await cluster.machine(hostId, 1).get('b'), 'y');
  }
  await cluster.close();
});

t.test('a proposal to a follower is dropped and names the leader', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const outcome = await cluster.clock.resolve(cluster.set(cluster.group(2, 1), 'a', '1'));
  t.same(outcome, { status: 'dropped', reason: 'notLeader', leaderId: 11 });
  await cluster.close();
});

t.test('done is never called from within propose or readIndex', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1], 1);
  await cluster.waitForLeader(1);
  const group = cluster.group(1, 1);
  let calls = 0;
  const count = (): void => {
    calls++;
  };
  group.propose(1, Buffer.from('{"op":"set","key":"a","value":"1"}'), count);
  group.readIndex(count);
  t.equal(calls, 0);
  await cluster.clock.advance(100);
  t.equal(calls, 2);
  await cluster.clock.resolve(cluster.host(1).multiRaft.close());
  group.propose(1, Buffer.from('{}'), count);
  group.readIndex(count);
  t.equal(calls, 2);
  await cluster.clock.settle();
  t.equal(calls, 4, 'a closed host answers, too');
});

t.test('closing settles every waiting proposal and read exactly once', async (t) => {
  const cluster = await Cluster.start({ options: { leases: false } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  cluster.network.partition(1, 2);
  cluster.network.partition(1, 3);
  const group = cluster.group(1, 1);
  const outcomes: ProposalOutcome[] = [];
  const failures: unknown[] = [];
  const propose = (): void =>
    group.propose(1, Buffer.from('{"op":"set","key":"a","value":"1"}'), (outcome) => outcomes.push(outcome));
  propose();
  group.readIndex((failure) => failures.push(failure));
  await cluster.clock.settle();
  t.equal(outcomes.length, 0, 'no majority');
  propose();
  await cluster.clock.resolve(cluster.host(1).multiRaft.close());
  t.same(
    outcomes.map(({ status }) => status).sort(),
    ['dropped', 'undetermined'],
    'what was proposed may still commit, what was not cannot',
  );
  t.match(failures, [{ reason: 'stopped' }]);
  cluster.network.healAll();
  await cluster.clock.advance(5_000);
  t.equal(outcomes.length, 2);
  t.equal(failures.length, 1);
});

t.test(
  'losing leadership makes a proposal undetermined after a while, and dropped once its place is taken',
  async (t) => {
    const cluster = await Cluster.start();
    await cluster.addGroup(1, [1, 2, 3], 1);
    await cluster.waitForLeader(1);
    await cluster.waitForCaughtUp(1);
    const group = cluster.group(1, 1);
    cluster.network.partition(1, 2);
    cluster.network.partition(1, 3);
    const lost = cluster.set(group, 'a', 'lost');
    await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader');
    const next = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', 'kept'));
    t.equal(next.status, 'applied');
    cluster.network.healAll();
    t.match(await cluster.clock.resolve(lost), { status: 'dropped', reason: 'rejected' });

    await cluster.waitForCaughtUp(1);
    const leader = cluster.leaderHost(1);
    for (const hostId of [1, 2, 3]) if (hostId !== leader) cluster.network.partition(leader, hostId);
    const unknown = await cluster.clock.resolve(cluster.set(cluster.group(leader, 1), 'a', 'unknown'));
    t.equal(unknown.status, 'undetermined');
    await cluster.close();
  },
);

t.test('a failed disk is reported once and nothing is acknowledged after it', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1], 1);
  await cluster.waitForLeader(1);
  const host = cluster.host(1);
  let outcome: ProposalOutcome | null = null;
  host.disk.intercept = (operation) => {
    if (operation === 'datasync') throw new Error('EIO');
  };
  cluster.group(1, 1).propose(1, Buffer.from('{"op":"set","key":"a","value":"1"}'), (o) => (outcome = o));
  await cluster.clock.advance(2_000);
  t.equal(outcome, null);
  t.equal(host.fatals.length, 2, 'the log and the host each say so once');
  await cluster.clock.resolve(host.multiRaft.close());
  t.match(outcome, { status: 'undetermined' });
});

t.test('a failed engine is reported once and nothing is acknowledged after it', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1], 1);
  await cluster.waitForLeader(1);
  const host = cluster.host(1);
  host.engine.failWrites();
  await cluster.clock.advance(100);
  const outcomes: ProposalOutcome[] = [];
  const propose = (): void =>
    cluster.group(1, 1).propose(1, Buffer.from('{"op":"set","key":"a","value":"1"}'), (o) => outcomes.push(o));
  propose();
  await cluster.clock.advance(1_000);
  t.equal(host.fatals.length, 1);
  // The first one was handed to the engine before that failed; its entry is durable on the log, so it stands.
  const before = outcomes.length;
  propose();
  await cluster.clock.advance(1_000);
  t.same(
    outcomes.slice(before).map((o) => o.status),
    ['dropped'],
  );
});
