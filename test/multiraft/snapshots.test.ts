import t from 'tap';
import type { MultiRaftOptionsInput } from '../../src/multiraft/options.js';
import { Cluster } from './cluster.js';
import { toyContext } from './toy_state_machine.js';
import { ConfChangeTransition, ConfChangeType } from '../../src/raft/conf_change.js';

/** Compacts often and keeps little, so that followers need snapshots. */
const eager: MultiRaftOptionsInput = {
  compaction: {
    checkMs: 500,
    entriesMin: 5,
    tailEntries: 2,
    idleTailEntries: 1,
    followerEntriesMax: 10,
    snapshotPinMs: 5_000,
  },
};

async function setMany(cluster: Cluster, groupId: number, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(groupId), `k${i}`, `${i}`));
    if (outcome.status !== 'applied') throw new Error(`set ${i}: ${JSON.stringify(outcome)}`);
  }
}

async function addLearner(cluster: Cluster, groupId: number, hostId: number): Promise<void> {
  const replicaId = groupId * 10 + hostId;
  const change = {
    transition: ConfChangeTransition.Auto,
    changes: [{ type: ConfChangeType.AddLearnerNode, replicaId }],
    context: toyContext({ [replicaId]: hostId }),
  };
  const outcome = await cluster.clock.resolve(
    new Promise<{ status: string }>((resolve) => cluster.leaderGroup(groupId).proposeConfChange(change, resolve)),
  );
  if (outcome.status !== 'applied') throw new Error(JSON.stringify(outcome));
}

t.test('a replica added later is made by its first message and filled by a snapshot', async (t) => {
  const cluster = await Cluster.start({ hosts: 4 });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await setMany(cluster, 1, 0, 7);
  await addLearner(cluster, 1, 4);
  await cluster.waitForCaughtUp(1);
  for (let i = 0; i < 7; i++) t.equal(await cluster.machine(4, 1).get(`k${i}`), `${i}`);
  t.equal(cluster.machine(4, 1).installs, 1);
  t.equal(cluster.host(1).multiRaft.stats().snapshotsSent, 1);
  t.equal(cluster.host(4).multiRaft.stats().snapshotsReceived, 1);
  await cluster.clock.advance(100);
  t.same(
    cluster
      .host(4)
      .disk.paths()
      .filter((path) => path.startsWith('/staging')),
    [],
    'the staged file is gone',
  );
  await setMany(cluster, 1, 7, 3);
  await cluster.waitForCaughtUp(1);
  t.equal(await cluster.machine(4, 1).get('k9'), '9', 'and it follows from there');
  await cluster.stopHost(4);
  await cluster.startHost(4);
  await cluster.waitForCaughtUp(1);
  t.equal(await cluster.machine(4, 1).get('k9'), '9');
  await cluster.close();
});

t.test('a follower that was away too long gets a snapshot, without looping, while writes go on', async (t) => {
  const cluster = await Cluster.start({ options: eager });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await setMany(cluster, 1, 0, 3);
  await cluster.waitForCaughtUp(1);
  await cluster.crashHost(3);
  await setMany(cluster, 1, 3, 60);
  await cluster.clock.advance(3_000);
  const leader = cluster.leaderGroup(1);
  t.ok(leader.status().firstIndex > 50, `the log was compacted up to ${leader.status().firstIndex}`);
  let written = 63;
  let gate = (): void => undefined;
  await cluster.startHost(3);
  cluster.machine(3, 1).installGate = new Promise((resolve) => (gate = resolve));
  for (; written < 120; written += 3) {
    await setMany(cluster, 1, written, 3);
    await cluster.clock.advance(100);
  }
  t.equal(cluster.machine(3, 1).installs, 0, 'a slow installation');
  gate();
  await cluster.waitForCaughtUp(1);
  t.equal(cluster.machine(3, 1).installs, 1, 'one snapshot was enough: the log was kept for it');
  t.equal(await cluster.machine(3, 1).get(`k${written - 1}`), `${written - 1}`);
  await setMany(cluster, 1, written, 30);
  await cluster.clock.advance(10_000);
  t.ok(cluster.leaderGroup(1).status().firstIndex > 120, 'and is compacted again afterwards');
  for (const host of cluster.hosts.values()) t.same(host.fatals, []);
  await cluster.close();
});

t.test('a snapshot whose connection breaks goes on where it stopped, and is read and installed once', async (t) => {
  const cluster = await Cluster.start({ hosts: 4 });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await setMany(cluster, 1, 0, 40);
  const leader = cluster.machine(1, 1);
  const openSnapshot = leader.openSnapshot.bind(leader);
  let opened = 0;
  let chunks = 0;
  leader.openSnapshot = async () => {
    opened++;
    const snapshot = await openSnapshot();
    const next = async (): Promise<Buffer | null> => {
      const chunk = await snapshot.next();
      if (chunk === null) return null;
      chunks++;
      if (chunks === 6 || chunks === 13) cluster.network.disconnect(1, 4);
      return chunk;
    };
    return { ...snapshot, next };
  };
  await addLearner(cluster, 1, 4);
  await cluster.waitForCaughtUp(1);
  t.equal(opened, 1, 'one view of the state was enough');
  t.equal(chunks, 20, 'and each chunk was read once, two rows in each');
  t.equal(cluster.machine(4, 1).installs, 1);
  for (let i = 0; i < 40; i++) t.equal(await cluster.machine(4, 1).get(`k${i}`), `${i}`);
  t.equal(cluster.host(1).multiRaft.stats().snapshotsSent, 1);
  await cluster.close();
});

t.test('the log is compacted only behind an engine barrier', async (t) => {
  const cluster = await Cluster.start({ hosts: 1, options: eager });
  for (const groupId of [1, 2, 3]) await cluster.addGroup(groupId, [1], 1);
  for (const groupId of [1, 2, 3]) await cluster.waitForLeader(groupId);
  const host = cluster.host(1);
  const events: string[] = [];
  const { engine } = host;
  const sync = engine.sync.bind(engine);
  engine.sync = async () => {
    const applied = [1, 2, 3].map((groupId) => cluster.group(1, groupId).status().applied);
    await sync();
    events.push(`synced ${applied.join(' ')}`);
  };
  for (const groupId of [1, 2, 3]) await setMany(cluster, groupId, 0, 20);
  host.writes.length = 0;
  await cluster.clock.advance(1_000);
  const compacts = host.writes.filter((records) => records.some((record) => record.kind === 'compact'));
  t.equal(compacts.length, 1, 'one write for all groups');
  t.equal(events.length, 1, 'one barrier for all groups');
  t.equal(compacts[0]?.length, 3);
  const applied = (events[0] ?? '').split(' ').slice(1).map(Number);
  for (const [i, record] of (compacts[0] ?? []).entries()) {
    if (record.kind !== 'compact') throw new Error('not a compact record');
    t.ok(record.index <= (applied[i] ?? 0), `${record.index} is behind what was applied`);
  }
  await cluster.close();
});

t.test('a leader keeps what an active follower lacks, within bounds', async (t) => {
  const cluster = await Cluster.start({ options: { ...eager, inflightMessagesMax: 1 } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  await cluster.crashHost(3);
  await setMany(cluster, 1, 0, 8);
  t.ok(
    cluster
      .leaderGroup(1)
      .status()
      .progress.some((member) => member.replicaId === 13 && member.match <= 7),
  );
  await cluster.clock.advance(600);
  await cluster.startHost(3);
  await cluster.waitForCaughtUp(1);
  t.equal(cluster.machine(3, 1).installs, 0, 'the log was enough for a follower that was hardly away');
  await cluster.close();
});

t.test('crash points of an installation: the old state or the new one, never a loss', async (t) => {
  let installed = 0;
  for (let changes = 0; changes < 40; changes++) {
    const cluster = await Cluster.start({ options: eager, seed: changes + 1 });
    await cluster.addGroup(1, [1, 2, 3], 1);
    await cluster.waitForLeader(1);
    await setMany(cluster, 1, 0, 3);
    await cluster.crashHost(3);
    await setMany(cluster, 1, 3, 40);
    await cluster.clock.advance(2_000);
    const host = await cluster.startHost(3);
    host.disk.crashAfter = changes;
    await cluster.clock.advance(2_000);
    const crashed = host.fatals.length > 0;
    await cluster.crashHost(3);
    const again = await cluster.startHost(3);
    await cluster.waitForCaughtUp(1);
    t.equal(await cluster.machine(3, 1).get('k42'), '42', `power cut after ${changes} changes`);
    t.same(again.fatals, []);
    if (!crashed) installed++;
    await cluster.close();
    if (installed === 2) break;
  }
  t.ok(installed > 0, 'the power cuts went past the end of the installation');
});

t.test('snapshots beyond the limits wait or come again', async (t) => {
  const cluster = await Cluster.start({
    hosts: 4,
    options: { limits: { snapshotsSending: 1, snapshotSendQueue: 1, snapshotsReceiving: 1 } },
  });
  const groups = [1, 2, 3, 4, 5];
  for (const groupId of groups) await cluster.addGroup(groupId, [1, 2, 3], (groupId % 3) + 1);
  for (const groupId of groups) await cluster.waitForLeader(groupId);
  for (const groupId of groups) await setMany(cluster, groupId, 0, 5);
  for (const groupId of groups) await addLearner(cluster, groupId, 4);
  for (const groupId of groups) await cluster.waitForCaughtUp(groupId);
  for (const groupId of groups) t.equal(await cluster.machine(4, groupId).get('k4'), '4');
  await cluster.close();
});

t.test('a snapshot that the store does not accept is not staged, and comes again later', async (t) => {
  const cluster = await Cluster.start({ hosts: 4 });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await setMany(cluster, 1, 0, 5);
  let asked = 0;
  let accepts = false;
  cluster.host(4).callbacks = {
    acceptSnapshot: () => {
      asked++;
      return accepts;
    },
  };
  await addLearner(cluster, 1, 4);
  await cluster.clock.advance(3_000);
  t.ok(asked > 0);
  t.same(
    cluster
      .host(4)
      .disk.paths()
      .filter((path) => path.startsWith('/staging')),
    [],
  );
  accepts = true;
  await cluster.waitForCaughtUp(1);
  t.equal(await cluster.machine(4, 1).get('k4'), '4');
  await cluster.close();
});

t.test(
  'a snapshot in a format that the receiver does not read is refused before anything of it is staged',
  async (t) => {
    const cluster = await Cluster.start({ hosts: 4 });
    await cluster.addGroup(1, [1, 2, 3], 1);
    await cluster.waitForLeader(1);
    await setMany(cluster, 1, 0, 5);
    const senders = [1, 2, 3].map((hostId) => cluster.machine(hostId, 1));
    for (const machine of senders) machine.snapshotFormatVersion = 2;
    await addLearner(cluster, 1, 4);
    await cluster.clock.advance(3_000);
    t.equal(cluster.machine(4, 1).installs, 0);
    t.same(
      cluster
        .host(4)
        .disk.paths()
        .filter((path) => path.startsWith('/staging')),
      [],
    );
    for (const machine of senders) machine.snapshotFormatVersion = 1;
    await cluster.waitForCaughtUp(1);
    t.equal(await cluster.machine(4, 1).get('k4'), '4', 'one that it reads is taken');
    await cluster.close();
  },
);
