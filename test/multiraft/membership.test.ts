import t from 'tap';
import type { ProposalOutcome } from '../../src/multiraft/host.js';
import { ConfChangeTransition, ConfChangeType, type ConfChange } from '../../src/raft/conf_change.js';
import { Cluster } from './cluster.js';
import { toyContext } from './toy_state_machine.js';

const { AddNode, RemoveNode, AddLearnerNode } = ConfChangeType;

function change(
  changes: readonly (readonly [ConfChangeType, number])[],
  hosts: Record<number, number>,
  accept = true,
): ConfChange {
  return {
    transition: ConfChangeTransition.Auto,
    changes: changes.map(([type, replicaId]) => ({ type, replicaId })),
    context: toyContext(hosts, accept),
  };
}

function proposeChange(cluster: Cluster, groupId: number, cc: ConfChange): Promise<ProposalOutcome> {
  return new Promise((resolve) => cluster.leaderGroup(groupId).proposeConfChange(cc, resolve));
}

t.test('a replica moves from one host to another under writes', async (t) => {
  const cluster = await Cluster.start({ hosts: 4 });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  const outcomes: ProposalOutcome[] = [];
  const write = (i: number): void =>
    cluster
      .leaderGroup(1)
      .propose(1, Buffer.from(`{"op":"set","key":"k${i}","value":"${i}"}`), (o) => outcomes.push(o));
  write(0);
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[AddLearnerNode, 14]], { 14: 4 }))), {
    status: 'applied',
    result: 'changed',
  });
  write(1);
  await cluster.waitForCaughtUp(1);
  const swap = change(
    [
      [AddNode, 14],
      [RemoveNode, 13],
    ],
    { 14: 4 },
  );
  write(2);
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, swap)), { status: 'applied' });
  write(3);
  await cluster.clock.until(() => cluster.host(3).multiRaft.group(1) === undefined, 'the old replica is removed');
  t.equal(cluster.host(3).log.group(1), undefined, 'its log, too');
  const { confState } = cluster.leaderGroup(1).status();
  t.same(confState.voters, [11, 12, 14]);
  t.same(confState.votersOutgoing, [], 'the joint configuration was left');
  await cluster.waitForCaughtUp(1);
  t.ok(outcomes.length === 4 && outcomes.every(({ status }) => status === 'applied'));
  for (const hostId of [1, 2, 4]) t.equal(await cluster.machine(hostId, 1).get('k3'), '3');
  for (const host of cluster.hosts.values()) t.same(host.fatals, []);
  await cluster.close();
});

t.test('a leader that is removed hands over and is gone', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const outcome = await cluster.clock.resolve(proposeChange(cluster, 1, change([[RemoveNode, 11]], {})));
  t.match(outcome, { status: 'applied' });
  await cluster.clock.until(() => cluster.leaderHost(1) > 1, 'another leader');
  t.equal(cluster.host(1).multiRaft.group(1), undefined);
  t.equal((await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', '1'))).status, 'applied');
  await cluster.close();
});

t.test('a change that the state machine refuses leaves the configuration as it was, on every replica', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  const refused = change([[RemoveNode, 13]], {}, false);
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, refused)), { status: 'dropped', reason: 'rejected' });
  await cluster.waitForCaughtUp(1);
  for (const hostId of [1, 2, 3]) t.same(cluster.group(hostId, 1).status().confState.voters, [11, 12, 13]);
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[RemoveNode, 13]], {}))), {
    status: 'applied',
  });
  await cluster.close();
});

t.test('one change at a time: the second is dropped as pending, the third goes through after the first', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const first = proposeChange(cluster, 1, change([[RemoveNode, 13]], {}));
  const second = proposeChange(cluster, 1, change([[RemoveNode, 12]], {}));
  t.match(await cluster.clock.resolve(second), { status: 'dropped', reason: 'confChangePending' });
  t.match(await cluster.clock.resolve(first), { status: 'applied' });
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[RemoveNode, 12]], {}))), {
    status: 'applied',
  });
  t.same(cluster.group(1, 1).status().confState.voters, [11]);
  await cluster.close();
});

t.test('leadership moves on request, and proposals meanwhile are told so', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const group = cluster.group(1, 1);
  const before = group.status().lastIndex;
  const set = cluster.set(group, 'a', '1');
  group.transferLeader(13);
  t.match(await cluster.clock.resolve(set), { status: 'dropped', reason: 'transferring' });
  await cluster.clock.until(() => cluster.group(3, 1).isLeader(), 'the target leads', 1_000);
  t.ok(cluster.group(3, 1).status().lastIndex > before);
  const changes = cluster.machine(3, 1).leaderChanges.at(-1);
  t.match(changes, { leaderId: 13, isLeader: true });
  t.equal(cluster.machine(1, 1).leaderChanges.filter((c) => c.isLeader).length, 1);
  await cluster.close();
});

t.test('a removed group can be made again under a new replica id', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[RemoveNode, 13]], {}))), {
    status: 'applied',
  });
  await cluster.clock.until(() => cluster.host(3).multiRaft.group(1) === undefined, 'removed');
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[AddNode, 103]], { 103: 3 }))), {
    status: 'applied',
  });
  await cluster.waitForCaughtUp(1);
  t.equal(cluster.group(3, 1).replicaId, 103);
  t.equal((await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', '1'))).status, 'applied');
  await cluster.waitForCaughtUp(1);
  t.equal(await cluster.machine(3, 1).get('a'), '1');
  await cluster.close();
});

t.test('a replica removed while it was away is told so when it asks for votes', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  await cluster.crashHost(3);
  t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[RemoveNode, 13]], {}))), {
    status: 'applied',
  });
  for (const hostId of [1, 2]) {
    cluster.host(hostId).callbacks = {
      stranger: (groupId, message) => {
        t.same([groupId, message.from], [1, 13]);
        return { confVer: 2, version: 1 };
      },
    };
  }
  await cluster.startHost(3);
  await cluster.clock.until(() => cluster.host(3).gone.length > 0, 'the notice arrives');
  t.same(cluster.host(3).gone[0], { groupId: 1, replicaId: 13 });
  t.ok(cluster.leaderHost(1) !== 3 && cluster.leaderHost(1) !== 0);
  await cluster.close();
});

t.test('an uninitialized peer is replaced by the bootstrap of its group, its promise kept', async (t) => {
  const cluster = await Cluster.start();
  const host = cluster.host(3);
  const empty = { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
  const record = { groupId: 1, replicaId: 13, index: 0, term: 0, confState: empty, hosts: {} };
  // The store refuses what overlaps the shard that is still to be split.
  host.callbacks = { acceptSnapshot: () => false };
  const first = await cluster.clock.resolve(cluster.addReplica(host, record));
  const hosts = { 11: 1, 12: 2, 13: 3 };
  const confState = { ...empty, voters: [11, 12, 13] };
  const member = { groupId: 1, index: 5, term: 5, confState, hosts };
  const bootstrap = { index: 5, term: 5 };
  await cluster.clock.resolve(
    cluster.addReplica(cluster.host(1), { ...member, replicaId: 11 }, { bootstrap, campaign: true }),
  );
  await cluster.clock.resolve(cluster.addReplica(cluster.host(2), { ...member, replicaId: 12 }, { bootstrap }));
  await cluster.waitForLeader(1);
  await cluster.clock.advance(50);
  const second = await cluster.clock.resolve(cluster.addReplica(host, { ...member, replicaId: 13 }, { bootstrap }));
  host.callbacks = {};
  t.not(first, second);
  t.equal(second.term(), cluster.group(1, 1).term(), 'the term that the leader had told it');
  await cluster.waitForCaughtUp(1);
  t.equal(cluster.group(3, 1).status().applied, cluster.leaderGroup(1).status().applied);
  await cluster.close();
});

t.test('a change is settled only by an entry appended after it was applied', async (t) => {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  const group = cluster.leaderGroup(1);
  t.ok(group.membershipSettled(), 'nothing changed yet');
  const removed = proposeChange(cluster, 1, change([[RemoveNode, 13]], {}));
  const { lastIndex, commit } = group.status();
  await cluster.clock.until(() => group.status().lastIndex > lastIndex, 'the change is appended');
  t.equal(group.status().commit, commit, 'and not committed');
  // Sent without a word about the commitment of the change, and may commit with it.
  const behind = cluster.set(group, 'a', '1');
  t.match(await cluster.clock.resolve(removed), { status: 'applied' });
  t.match(await cluster.clock.resolve(behind), { status: 'applied' });
  t.notOk(group.membershipSettled(), 'not by the entry that was on its way already');
  await cluster.clock.until(() => group.membershipSettled(), 'settled');
  await cluster.close();
});

t.test(
  'asking whether a change is settled wakes a leader that sleeps, and does nothing to one that stopped',
  async (t) => {
    const cluster = await Cluster.start({ options: { hibernateAfterTicks: 20 } });
    await cluster.addGroup(1, [1, 2, 3], 1);
    await cluster.waitForLeader(1);
    await cluster.waitForCaughtUp(1);
    const group = cluster.leaderGroup(1);
    t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[RemoveNode, 13]], {}))), {
      status: 'applied',
    });
    await cluster.clock.until(() => group.status().hibernates, 'it sleeps');
    t.notOk(group.membershipSettled());
    t.notOk(group.status().hibernates, 'the entry that it proposes needs ticks');
    await cluster.clock.until(() => group.membershipSettled(), 'settled');
    t.match(await cluster.clock.resolve(proposeChange(cluster, 1, change([[RemoveNode, 12]], {}))), {
      status: 'applied',
    });
    const before = group.status().lastIndex;
    await cluster.clock.resolve(cluster.host(1).multiRaft.removeGroup(1));
    t.notOk(group.membershipSettled());
    t.equal(group.status().lastIndex, before, 'it proposes nothing any more');
    await cluster.close();
  },
);
