import t from 'tap';
import type { MemoryDisk } from '../support/memory_disk.js';
import { Cluster } from './cluster.js';

const groups = [1, 2, 3, 4, 5, 6];

/** Holds back all syncs of a disk until the returned function is called. */
function holdSyncs(disk: MemoryDisk): () => void {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  disk.intercept = (operation) => (operation === 'datasync' ? held : undefined);
  return () => {
    disk.intercept = null;
    release();
  };
}

/** All groups led by host 1. */
async function ledByFirst(options: Parameters<typeof Cluster.start>[0] = {}): Promise<Cluster> {
  const cluster = await Cluster.start(options);
  for (const groupId of groups) await cluster.addGroup(groupId, [1, 2, 3], 1);
  for (const groupId of groups) await cluster.waitForLeader(groupId);
  await cluster.clock.advance(1_000);
  t.same(leaders(cluster), [1, 1, 1, 1, 1, 1]);
  return cluster;
}

function leaders(cluster: Cluster): number[] {
  return groups.map((groupId) => cluster.leaderHost(groupId));
}

t.test('a host whose disk does not sync hands its leaderships over, and takes none while that lasts', async (t) => {
  const cluster = await ledByFirst();
  const release = holdSyncs(cluster.host(1).disk);
  const { multiRaft } = cluster.host(1);
  const outcome = cluster.set(cluster.group(1, 1), 'a', '1');
  await cluster.clock.advance(1_800);
  t.equal(multiRaft.stats().diskStalled, false);
  t.equal(cluster.leaderHost(1), 1, 'not before the threshold');
  await cluster.clock.until(() => !leaders(cluster).includes(1), 'all leaderships are elsewhere', 1_500);
  t.match(multiRaft.stats(), { diskStalled: true, diskStalls: 1, handovers: 6, leaders: 0 });
  t.ok(multiRaft.stats().syncAgeMs >= 2_000);
  const handedOverMs = cluster.clock.nowMs;
  t.match(await cluster.clock.resolve(outcome), { status: 'undetermined' }, 'it cannot apply what it has not on disk');
  t.ok(cluster.clock.nowMs - handedOverMs <= 200, 'and says so at once: whoever leads now can tell');
  const leader = cluster.leaderHost(1);
  t.equal(await cluster.clock.resolve(cluster.read(leader, 1, 'a')), '1', 'the others have it');
  const elections = multiRaft.stats().electionsStarted;
  for (const hostId of [2, 3]) cluster.network.partition(1, hostId);
  await cluster.clock.advance(10_000);
  t.equal(multiRaft.stats().electionsStarted, elections, 'without a leader it does not campaign');
  cluster.network.healAll();
  release();
  await cluster.clock.until(() => !multiRaft.stats().diskStalled, 'it is over');
  t.equal(multiRaft.stats().diskStalls, 1);
  await cluster.waitForCaughtUp(1);
  await cluster.close();
});

t.test('a host that recovered from a stall campaigns again when there is no leader', async (t) => {
  const cluster = await ledByFirst();
  const release = holdSyncs(cluster.host(1).disk);
  void cluster.set(cluster.group(1, 1), 'a', '1');
  await cluster.clock.until(() => !leaders(cluster).includes(1), 'all leaderships are elsewhere');
  release();
  await cluster.clock.until(() => !cluster.host(1).multiRaft.stats().diskStalled, 'it is over');
  await cluster.waitForCaughtUp(1);
  await cluster.crashHost(2);
  for (const groupId of groups) await cluster.clock.until(() => cluster.leaderHost(groupId) !== 0, 'a leader');
  const started = cluster.host(1).multiRaft.stats().electionsStarted;
  await cluster.startHost(2);
  await cluster.crashHost(3);
  await cluster.clock.until(() => cluster.host(1).multiRaft.stats().electionsStarted > started, 'it campaigns');
  for (const groupId of groups) t.not(await cluster.waitForLeader(groupId), 3);
  await cluster.close();
});

t.test('an idle disk is not a stalled one, however old its last sync is', async (t) => {
  const cluster = await ledByFirst();
  await cluster.clock.advance(600_000);
  t.match(cluster.host(1).multiRaft.stats(), { diskStalls: 0, syncAgeMs: 0 });
  t.same(leaders(cluster), [1, 1, 1, 1, 1, 1]);
  await cluster.close();
});

t.test('a pause of the whole host is not held against its disk', async (t) => {
  const cluster = await ledByFirst();
  const { disk, runtime, multiRaft } = cluster.host(1);
  const release = holdSyncs(disk);
  void cluster.set(cluster.group(1, 1), 'a', '1');
  await cluster.clock.advance(300);
  // The clock jumps between two ticks, as it does for an event loop that stood still.
  const nowMs = runtime.nowMs.bind(runtime);
  runtime.nowMs = () => nowMs() + 60_000;
  await cluster.clock.advance(300);
  t.match(multiRaft.stats(), { diskStalled: false });
  t.ok(multiRaft.stats().syncAgeMs <= 700);
  release();
  await cluster.clock.advance(300);
  t.match(multiRaft.stats(), { diskStalls: 0, syncAgeMs: 0 });
  await cluster.close();
});

t.test('where leaderships cannot be handed over, followers stop listening and elect', async (t) => {
  const cluster = await ledByFirst();
  const release = holdSyncs(cluster.host(1).disk);
  // Whatever is offered is lost on the way.
  const { transport } = cluster.host(1);
  const send = transport.sendMessage.bind(transport);
  const timeoutNow = 14;
  let offers = 0;
  transport.sendMessage = (hostId, groupId, message) => {
    if (message.type !== timeoutNow) return send(hostId, groupId, message);
    offers++;
    return true;
  };
  void cluster.set(cluster.group(1, 1), 'a', '1');
  await cluster.clock.until(() => leaders(cluster).every((id) => id > 1), 'others lead', 8_000);
  t.ok(offers >= groups.length, 'it was tried');
  t.same(await cluster.clock.resolve(cluster.read(cluster.leaderHost(1), 1, 'a')), '1');
  release();
  await cluster.close();
});

t.test('with all disks stalled leaders are kept, and everything goes on once they sync', async (t) => {
  const cluster = await ledByFirst();
  const releases = [1, 2, 3].map((hostId) => holdSyncs(cluster.host(hostId).disk));
  const outcome = cluster.set(cluster.group(1, 1), 'a', '1');
  await cluster.clock.advance(5_000);
  for (const hostId of [1, 2, 3]) t.equal(cluster.host(hostId).multiRaft.stats().diskStalled, true);
  t.same(leaders(cluster), [1, 1, 1, 1, 1, 1], 'there is nobody better');
  for (const release of releases) release();
  t.match(await cluster.clock.resolve(outcome), { status: 'applied' });
  await cluster.clock.advance(5_000);
  for (const groupId of groups) await cluster.waitForLeader(groupId);
  const next = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'b', '2'));
  t.match(next, { status: 'applied' });
  await cluster.close();
});

t.test('the threshold of a stall can be set', async (t) => {
  const cluster = await ledByFirst({ options: { diskStallMs: 500 } });
  const release = holdSyncs(cluster.host(1).disk);
  void cluster.set(cluster.group(1, 1), 'a', '1');
  await cluster.clock.until(() => cluster.host(1).multiRaft.stats().diskStalled, 'it is stalled', 700);
  t.match(cluster.host(1).multiRaft.stats(), { diskStalls: 1 });
  release();
  await cluster.close();
});
