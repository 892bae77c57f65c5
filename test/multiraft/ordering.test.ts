import t from 'tap';
import type { ProposalOutcome } from '../../src/multiraft/host.js';
import { Cluster } from './cluster.js';

/** Holds back every sync of a host's disk until release() is called. */
function holdSyncs(cluster: Cluster, hostId: number): () => void {
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const { disk } = cluster.host(hostId);
  disk.intercept = (operation) => (operation === 'datasync' ? gate : undefined);
  return () => {
    disk.intercept = null;
    release();
  };
}

async function quietCluster(): Promise<Cluster> {
  const cluster = await Cluster.start();
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  return cluster;
}

t.test('an entry commits once a majority has synced it: not before, and without the slow one', async (t) => {
  for (const [slow, commits] of [
    [[2, 3], false],
    [[1, 2], false],
    [[1], true],
    [[3], true],
  ] as const) {
    const cluster = await quietCluster();
    const releases = slow.map((hostId) => holdSyncs(cluster, hostId));
    const outcomes: ProposalOutcome[] = [];
    cluster.group(1, 1).propose(1, Buffer.from('{"op":"set","key":"a","value":"1"}'), (o) => outcomes.push(o));
    await cluster.clock.advance(300);
    if (commits && slow[0] === 1) {
      t.equal(cluster.group(1, 1).status().commit, cluster.group(1, 1).status().lastIndex, 'committed by the others');
      t.equal(outcomes.length, 0, 'but a leader applies only what is on its own disk');
    } else {
      t.equal(outcomes.length, commits ? 1 : 0, `slow: ${slow.join(' ')}`);
    }
    for (const release of releases) release();
    await cluster.clock.until(() => outcomes.length > 0, 'it is applied');
    t.match(outcomes, [{ status: 'applied' }]);
    await cluster.close();
  }
});

t.test('a vote leaves only after the sync that holds it', async (t) => {
  const cluster = await quietCluster();
  await cluster.crashHost(1);
  const releases = [2, 3].map((hostId) => holdSyncs(cluster, hostId));
  await cluster.clock.advance(1_500);
  t.equal(cluster.leaderHost(1), 0, 'no votes, no leader');
  for (const release of releases) release();
  await cluster.waitForLeader(1);
  await cluster.close();
});

t.test('a change of the commit index alone costs no write of the log', async (t) => {
  const cluster = await quietCluster();
  for (const host of cluster.hosts.values()) host.writes.length = 0;
  await cluster.clock.resolve(cluster.set(cluster.group(1, 1), 'a', '1'));
  await cluster.waitForCaughtUp(1);
  await cluster.clock.advance(1_000);
  for (const host of cluster.hosts.values()) {
    t.equal(host.writes.length, 1, `host ${host.hostId} wrote the entry and nothing else`);
  }
  await cluster.close();
});

t.test('damage in the log ends the group and leaves the others alone', async (t) => {
  const cluster = await Cluster.start({ hosts: 1 });
  for (const groupId of [1, 2]) {
    await cluster.addGroup(groupId, [1], 1);
    await cluster.waitForLeader(groupId);
  }
  const lost: number[] = [];
  const host = cluster.host(1);
  host.callbacks = { dataLost: (groupId) => lost.push(groupId) };
  Object.defineProperty(host.log, 'damaged', { get: () => new Set([1]) });
  const outcome = await cluster.clock.resolve(cluster.set(cluster.group(1, 1), 'a', '1'));
  t.same(outcome, { status: 'dropped', reason: 'stopped', leaderId: 11 });
  t.same(lost, [1]);
  t.equal(host.multiRaft.group(1), undefined);
  t.match(await cluster.clock.resolve(cluster.set(cluster.group(1, 2), 'a', '1')), { status: 'applied' });
  t.same(host.fatals, []);
  await cluster.close();
});

t.test('entries that left memory are read from disk for a follower that was away', async (t) => {
  const cluster = await Cluster.start({ logCacheBytes: 4 * 1024, options: { appendBytesMax: 4 * 1024 } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.crashHost(3);
  const value = 'x'.repeat(500);
  for (let i = 0; i < 100; i++) await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), `k${i}`, value));
  await cluster.startHost(3);
  await cluster.waitForCaughtUp(1);
  t.equal(cluster.machine(3, 1).installs, 0);
  t.equal(await cluster.machine(3, 1).get('k0'), value);
  t.equal(await cluster.machine(3, 1).get('k99'), value);
  for (const host of cluster.hosts.values()) t.same(host.fatals, []);
  await cluster.close();
});
