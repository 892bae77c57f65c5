import t from 'tap';
import { ReplicaDataLostError } from '../../src/multiraft/prepare_log.js';
import { Cluster, origin } from './cluster.js';
import { emptyConfState, recordKey, type ToyRecord } from './toy_state_machine.js';

t.test('a host that was stopped goes on where it was', async (t) => {
  const cluster = await Cluster.start();
  for (const groupId of [1, 2, 3]) await cluster.addGroup(groupId, [1, 2, 3], groupId);
  for (const groupId of [1, 2, 3]) await cluster.waitForLeader(groupId);
  for (let i = 0; i < 10; i++) {
    const sets = [1, 2, 3].map((groupId) => cluster.set(cluster.leaderGroup(groupId), `k${i}`, `${i}`));
    for (const outcome of await cluster.clock.resolve(Promise.all(sets))) t.equal(outcome.status, 'applied');
  }
  for (const hostId of [1, 2, 3]) await cluster.stopHost(hostId);
  for (const hostId of [1, 2, 3]) await cluster.startHost(hostId);
  for (const groupId of [1, 2, 3]) {
    await cluster.waitForLeader(groupId);
    await cluster.waitForCaughtUp(groupId);
    for (const hostId of [1, 2, 3]) {
      t.equal(await cluster.clock.resolve(cluster.read(hostId, groupId, 'k9')), '9');
    }
  }
  await cluster.close();
});

t.test('power cuts lose nothing that was acknowledged', async (t) => {
  for (let seed = 1; seed <= 8; seed++) {
    const cluster = await Cluster.start({ seed });
    await cluster.addGroup(1, [1, 2, 3], 1);
    await cluster.waitForLeader(1);
    for (let round = 0; round < 3; round++) {
      const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', `${round}`));
      t.equal(outcome.status, 'applied');
      for (const hostId of [1, 2, 3]) await cluster.crashHost(hostId);
      for (const hostId of [1, 2, 3]) await cluster.startHost(hostId);
      const leader = await cluster.waitForLeader(1);
      const value = await cluster.clock.resolve(readUntilServed(cluster, leader));
      t.equal(value, `${round}`, `seed ${seed}, round ${round}`);
      await cluster.waitForCaughtUp(1);
      for (const host of cluster.hosts.values()) t.same(host.fatals, []);
    }
    await cluster.close();
  }
});

async function readUntilServed(cluster: Cluster, hostId: number): Promise<string | null> {
  for (;;) {
    const value = await cluster.read(cluster.leaderHost(1) === 0 ? hostId : cluster.leaderHost(1), 1, 'a');
    if (value === null || typeof value === 'string') return value;
  }
}

t.test(
  'without leases, when a host dies its groups have new leaders well before the election timeout, spread over the others',
  async (t) => {
    const cluster = await Cluster.start({ options: { leases: false } });
    const groups = Array.from({ length: 12 }, (_, i) => i + 1);
    for (const groupId of groups) await cluster.addGroup(groupId, [1, 2, 3], 1);
    for (const groupId of groups) await cluster.waitForLeader(groupId);
    for (const groupId of groups) await cluster.waitForCaughtUp(groupId);
    await cluster.crashHost(1);
    await cluster.clock.until(() => groups.every((groupId) => cluster.leaderHost(groupId) > 1), 'new leaders', 900);
    const onTwo = groups.filter((groupId) => cluster.leaderHost(groupId) === 2).length;
    t.ok(onTwo >= 4 && onTwo <= 8, `${onTwo} of 12 leaders on host 2`);
    for (const groupId of groups) {
      const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(groupId), 'a', '1'));
      t.equal(outcome.status, 'applied');
    }
    await cluster.startHost(1);
    for (const groupId of groups) await cluster.waitForCaughtUp(groupId);
    for (const groupId of groups) t.equal(await cluster.machine(1, groupId).get('a'), '1');
    await cluster.close();
  },
);

t.test('a connection that breaks and comes back costs no leader its place', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const term = cluster.group(1, 1).term();
  cluster.network.disconnect(1, 2);
  await cluster.clock.advance(3_000);
  t.ok(cluster.group(1, 1).isLeader());
  t.equal(cluster.group(1, 1).term(), term);
  t.equal(cluster.group(2, 1).leaderId(), 11);
  await cluster.close();
});

t.test('a group whose log is ahead of its bootstrap is not reset when it is added again', async (t) => {
  const cluster = await Cluster.start({ hosts: 1 });
  await cluster.addGroup(1, [1], 1);
  await cluster.waitForLeader(1);
  await cluster.clock.resolve(cluster.set(cluster.group(1, 1), 'a', '1'));
  await cluster.clock.resolve(cluster.host(1).multiRaft.close());
  // A crash before the engine's first write was synced: the group's maker makes it again.
  const host = cluster.host(1);
  host.runtime.kill();
  await cluster.crashHost(1);
  const record: ToyRecord = {
    groupId: 1,
    replicaId: 11,
    ...origin,
    confState: { ...emptyConfState, voters: [11] },
    hosts: { 11: 1 },
  };
  await cluster.startHost(1, (opened) => {
    const batch = opened.engine.newBatch();
    batch.delete(recordKey(1));
    void opened.engine.write(batch);
  });
  await cluster.clock.resolve(cluster.addReplica(cluster.host(1), record, { bootstrap: origin }));
  await cluster.waitForLeader(1);
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), '1', 'the log was replayed');
  await cluster.close();
});

t.test('a replica whose state is older than its log begins is refused, and named', async (t) => {
  const cluster = await Cluster.start({ hosts: 1 });
  const host = cluster.host(1);
  const confState = { ...emptyConfState, voters: [11] };
  await cluster.clock.resolve(
    host.log.write([{ kind: 'reset', groupId: 1, index: 50, term: 5, hardState: { term: 5, vote: 0, commit: 50 } }]),
  );
  const record: ToyRecord = { groupId: 1, replicaId: 11, index: 20, term: 5, confState, hosts: { 11: 1 } };
  await t.rejects(cluster.addReplica(host, record), ReplicaDataLostError);
  await t.rejects(cluster.addReplica(host, record), /shard 1 lost data .* 21 to 50/);
  await t.rejects(cluster.addReplica(host, { ...record, groupId: 2 }), /does not know it/);
  t.equal(host.multiRaft.groupCount, 0);
  await cluster.close();
});

t.test(
  'state beyond the log (a snapshot was installed, then a crash) makes the log begin anew, keeping the vote',
  async (t) => {
    const cluster = await Cluster.start({ hosts: 1 });
    const host = cluster.host(1);
    const confState = { ...emptyConfState, voters: [11, 12, 13] };
    const entry = (index: number, term: number) => ({ index, term, type: 0 as const, data: Buffer.from('') });
    const hardState = { term: 9, vote: 12, commit: 6 };
    const write = (groupId: number, last: number, term: number) =>
      host.log.write([
        { kind: 'reset', groupId, index: 5, term: 5, hardState: null },
        {
          kind: 'append',
          groupId,
          hardState,
          entries: Array.from({ length: last - 5 }, (_, i) => entry(6 + i, term)),
        },
      ]);
    await cluster.clock.resolve(Promise.all([write(1, 8, 6), write(2, 30, 6), write(3, 30, 8)]));
    const record = (groupId: number): ToyRecord => ({
      groupId,
      replicaId: 11,
      index: 20,
      term: 8,
      confState,
      hosts: { 11: 1, 12: 2, 13: 3 },
    });
    for (const groupId of [1, 2, 3]) await cluster.clock.resolve(cluster.addReplica(host, record(groupId)));
    for (const groupId of [1, 2]) {
      const log = host.log.group(groupId);
      t.equal(log?.firstIndex(), 21, 'shorter than the state, or of another history');
      t.equal(log?.lastIndex(), 20);
      t.equal(log?.term(20), 8);
      t.same(log?.hardState, { term: 9, vote: 12, commit: 20 });
    }
    t.equal(host.log.group(3)?.firstIndex(), 6, 'one that agrees is kept');
    t.equal(cluster.group(1, 3).status().commit, 20, 'what is applied was committed');
    await cluster.close();
  },
);
