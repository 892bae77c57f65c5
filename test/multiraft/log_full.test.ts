import t from 'tap';
import type { ProposalOutcome } from '../../src/multiraft/host.js';
import { reserveSegments } from '../../src/raftlog/limits.js';
import { Cluster } from './cluster.js';

// Thousands of turns of three hosts: long on a busy machine.
t.setTimeout(280_000);

const segmentBytes = 16 * 1024;
const hardMax = (96 + reserveSegments) * segmentBytes;
const value = 'v'.repeat(4096);

/** A group of which one host has a small Raft log that cannot be compacted until `release` is called. */
async function withSmallLog(
  hostId: number,
  leader: number,
  hosts: readonly number[] = [1, 2, 3],
): Promise<{ cluster: Cluster; release: () => void }> {
  const cluster = await Cluster.start({
    segmentBytes,
    logCacheBytes: 64 * 1024,
    logBytesHardMax: { [hostId]: hardMax },
    options: { compaction: { checkMs: 500 }, hibernateAfterTicks: 0 },
  });
  const { engine } = cluster.host(hostId);
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const sync = engine.sync.bind(engine);
  await cluster.addGroup(1, hosts, leader);
  await cluster.clock.until(() => cluster.leaderHost(1) === leader, 'the right host leads');
  await cluster.waitForCaughtUp(1);
  engine.sync = () => gate.then(sync);
  return { cluster, release };
}

/** Writes one after the other, until one is not applied or there were `most`. */
async function writeUntilRefused(cluster: Cluster, hostId: number, most: number): Promise<ProposalOutcome | null> {
  for (let n = 0; n < most; n++) {
    const outcome = await cluster.clock.resolve(cluster.set(cluster.group(hostId, 1), `k${String(n)}`, value));
    if (outcome.status !== 'applied') return outcome;
  }
  return null;
}

function lastIndex(cluster: Cluster, hostId: number): number {
  return cluster.host(hostId).log.group(1)?.lastIndex() ?? 0;
}

t.test(
  'a leader whose Raft log is nearly full refuses proposals and serves reads, until compaction made room',
  async (t) => {
    const { cluster, release } = await withSmallLog(1, 1);
    t.match(await writeUntilRefused(cluster, 1, 2_000), { status: 'dropped', reason: 'busy' });
    const { log, fatals } = cluster.host(1);
    t.ok(log.stats().underPressure);
    t.ok(log.stats().diskBytes < hardMax * 0.95, 'well before the bound');
    await cluster.clock.advance(5_000);
    t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'k7')), value);
    t.same(fatals, []);
    release();
    await cluster.clock.until(() => !log.stats().underPressure, 'there is room again');
    t.equal(await writeUntilRefused(cluster, 1, 100), null);
    await cluster.waitForCaughtUp(1);
    await cluster.close();
  },
);

t.test('a follower whose Raft log is nearly full drops appends; the others go on, and it catches up', async (t) => {
  const { cluster, release } = await withSmallLog(3, 1);
  t.equal(await writeUntilRefused(cluster, 1, 450), null, 'the leader and the other follower take all');
  const { log, fatals, multiRaft } = cluster.host(3);
  await cluster.clock.advance(5_000);
  t.ok(lastIndex(cluster, 3) < lastIndex(cluster, 1) - 50, 'it is behind');
  t.ok(multiRaft.stats().messagesDropped > 0);
  t.ok(log.stats().diskBytes < hardMax * 0.95, 'well before the bound');
  t.equal(cluster.leaderHost(1), 1, 'and does not disturb');
  t.same(fatals, []);
  release();
  await cluster.waitForCaughtUp(1);
  t.equal(await cluster.machine(3, 1).get('k449'), value);
  await cluster.close();
});

/** More in one turn than the log has room for. */
function burst(cluster: Cluster, hostId: number): Promise<ProposalOutcome[]> {
  return Promise.all(
    Array.from({ length: 200 }, (_, n) => cluster.set(cluster.group(hostId, 1), `burst${String(n)}`, value)),
  );
}

/** Writes until the log is not far from the share at which it refuses. */
async function fillAlmost(cluster: Cluster, hostId: number, leader: number): Promise<void> {
  const { log } = cluster.host(hostId);
  while (log.stats().diskBytes < hardMax * 0.7) await writeUntilRefused(cluster, leader, 1);
  if (log.nearlyFull) throw new Error('the log refuses already');
}

t.test('a burst that a log has no room for waits for it; then others lead, and reads and writes go on', async (t) => {
  const { cluster, release } = await withSmallLog(1, 1);
  const { log, fatals } = cluster.host(1);
  await fillAlmost(cluster, 1, 1);
  const fates = burst(cluster, 1);
  await cluster.clock.advance(500);
  t.ok(lastIndex(cluster, 1) < lastIndex(cluster, 2), 'the others have what the full log has not');
  t.ok(log.stats().diskBytes <= hardMax);
  await cluster.clock.until(() => cluster.leaderHost(1) > 1, 'another host leads');
  t.equal(await cluster.clock.resolve(cluster.read(cluster.leaderHost(1), 1, 'burst199')), value);
  t.equal(await writeUntilRefused(cluster, cluster.leaderHost(1), 20), null);
  await cluster.clock.advance(10_000);
  t.same(fatals, []);
  release();
  for (const { status } of await cluster.clock.resolve(fates)) {
    if (status !== 'applied' && status !== 'undetermined') t.fail(`${status}, although it was applied`);
  }
  await cluster.waitForCaughtUp(1);
  t.equal(await cluster.machine(1, 1).get('burst199'), value);
  t.equal(await writeUntilRefused(cluster, cluster.leaderHost(1), 20), null);
  t.same(fatals, []);
  await cluster.close();
});

t.test('where nobody else can lead, reads are served while a burst waits for room', async (t) => {
  const { cluster, release } = await withSmallLog(1, 1, [1]);
  const { log, fatals } = cluster.host(1);
  await fillAlmost(cluster, 1, 1);
  const fates = burst(cluster, 1);
  await cluster.clock.advance(10_000);
  t.same(fatals, []);
  t.ok(log.stats().diskBytes <= hardMax);
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'k0')), value);
  release();
  const outcomes = await cluster.clock.resolve(fates);
  t.same([...new Set(outcomes.map(({ status }) => status))], ['applied'], 'in the end all of it is applied');
  t.equal(await writeUntilRefused(cluster, 1, 20), null);
  t.same(fatals, []);
  await cluster.close();
});

t.test('a follower that gets a burst which its log has no room for takes it once there is room', async (t) => {
  const { cluster, release } = await withSmallLog(3, 1);
  const { fatals } = cluster.host(3);
  await fillAlmost(cluster, 3, 1);
  const outcomes = await cluster.clock.resolve(burst(cluster, 1));
  t.same([...new Set(outcomes.map(({ status }) => status))], ['applied'], 'the others are a majority');
  await cluster.clock.advance(5_000);
  t.same(fatals, []);
  t.ok(lastIndex(cluster, 3) < lastIndex(cluster, 1));
  release();
  await cluster.waitForCaughtUp(1);
  t.same(fatals, []);
  await cluster.close();
});

t.test('a group that is removed while its records wait for room takes them with it', async (t) => {
  const { cluster, release } = await withSmallLog(1, 1);
  const { log, fatals, multiRaft } = cluster.host(1);
  await fillAlmost(cluster, 1, 1);
  const fates = burst(cluster, 1);
  await cluster.clock.advance(500);
  t.ok(lastIndex(cluster, 1) < lastIndex(cluster, 2), 'they wait');
  await cluster.clock.resolve(multiRaft.removeGroup(1));
  await cluster.clock.resolve(fates);
  await cluster.clock.until(() => !log.stats().underPressure, 'its entries make room');
  await cluster.clock.advance(5_000);
  t.same(fatals, []);
  release();
  await cluster.addGroup(2, [1, 2, 3], 1);
  await cluster.clock.until(() => cluster.leaderHost(2) === 1, 'another group runs');
  const outcome = await cluster.clock.resolve(cluster.set(cluster.group(1, 2), 'a', value));
  t.match(outcome, { status: 'applied' });
  t.same(fatals, []);
  await cluster.close();
});
