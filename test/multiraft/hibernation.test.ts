import t from 'tap';
import { defaultOptions, type MultiRaftOptionsInput } from '../../src/multiraft/options.js';
import { ConfChangeTransition, ConfChangeType } from '../../src/raft/conf_change.js';
import { Cluster, type ClusterOptions } from './cluster.js';
import { toyContext } from './toy_state_machine.js';

const { tickMs, electionTicks, heartbeatTicks } = defaultOptions;
const quietTicks = 5;
/** Enough for the quiet time, two rounds of heartbeats and a tick. */
const untilAsleepMs = (quietTicks + 3 * heartbeatTicks + 2) * tickMs;
const options: MultiRaftOptionsInput = { hibernateAfterTicks: quietTicks };

function sleepersOf(cluster: Cluster, groupId: number): number[] {
  return [...cluster.hosts.keys()].sort().filter((id) => cluster.group(id, groupId).status().hibernates);
}

function hibernating(cluster: Cluster, hostId: number): number {
  return cluster.host(hostId).multiRaft.stats().hibernating;
}

/** Groups 1 to `count` on three hosts, led by host 1. */
async function grown(count = 1, settings: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await Cluster.start({ ...settings, options: { ...options, ...settings.options } });
  const groups = Array.from({ length: count }, (_, i) => i + 1);
  for (const groupId of groups) await cluster.addGroup(groupId, [1, 2, 3], 1);
  for (const groupId of groups) await cluster.waitForLeader(groupId);
  for (const groupId of groups) await cluster.waitForCaughtUp(groupId);
  return cluster;
}

/** The same, and all hibernate. */
async function asleep(count = 1, settings: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await grown(count, settings);
  await cluster.clock.advance(untilAsleepMs);
  for (const hostId of [1, 2, 3]) t.equal(hibernating(cluster, hostId), count, `all of host ${String(hostId)} sleep`);
  return cluster;
}

function elections(cluster: Cluster): number {
  return [...cluster.hosts.values()].reduce((sum, host) => sum + host.multiRaft.stats().electionsStarted, 0);
}

async function write(cluster: Cluster, groupId: number, value: string): Promise<void> {
  const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(groupId), 'a', value));
  t.equal(outcome.status, 'applied');
}

t.test('an idle group hibernates on every replica, keeps its leader, and sends nothing', async (t) => {
  const cluster = await asleep(3);
  const before = elections(cluster);
  const term = cluster.leaderGroup(1).term();
  const rows: number[] = [];
  for (const { transport } of cluster.hosts.values()) {
    const send = transport.sendBeat.bind(transport);
    transport.sendBeat = (to, beat) => {
      rows.push(beat.heartbeats.length + beat.responses.length);
      return send(to, beat);
    };
  }
  await cluster.clock.advance(60_000);
  t.ok(rows.length > 1_000, 'beats go on');
  t.ok(
    rows.every((count) => count === 0),
    'without a row for any group',
  );
  for (const hostId of [1, 2, 3]) t.equal(hibernating(cluster, hostId), 3);
  t.equal(elections(cluster), before);
  t.equal(cluster.leaderHost(1), 1);
  t.equal(cluster.leaderGroup(1).term(), term);
  await cluster.close();
});

t.test('with a quiet time of 0 nothing hibernates', async (t) => {
  const cluster = await grown(1, { options: { hibernateAfterTicks: 0 } });
  await cluster.clock.advance(10_000);
  t.same(sleepersOf(cluster, 1), []);
  await cluster.close();
});

t.test('a group does not hibernate while a follower is behind, and does once it has caught up', async (t) => {
  const cluster = await grown();
  cluster.host(3).multiRaft.refuseEntries(true);
  await write(cluster, 1, '1');
  await cluster.clock.advance(10_000);
  t.same(sleepersOf(cluster, 1), []);
  cluster.host(3).multiRaft.refuseEntries(false);
  await cluster.clock.advance(1_000 + untilAsleepMs);
  t.same(sleepersOf(cluster, 1), [1, 2, 3]);
  t.equal(await cluster.clock.resolve(cluster.read(3, 1, 'a')), '1');
  await cluster.close();
});

t.test(
  'a group hibernates although a member’s host is lost, and brings the member up to date when it is back',
  async (t) => {
    const cluster = await grown();
    await cluster.crashHost(3);
    await cluster.clock.advance(1_000);
    await write(cluster, 1, 'missed');
    await cluster.clock.advance(untilAsleepMs);
    t.same(sleepersOf(cluster, 1), [1, 2]);
    await cluster.startHost(3);
    await cluster.clock.until(() => cluster.group(3, 1).leaderId() === 11, 'it hears its leader');
    await cluster.clock.until(() => sleepersOf(cluster, 1).length === 3, 'all sleep', 2_000 + untilAsleepMs);
    t.equal(cluster.group(3, 1).status().applied, cluster.group(1, 1).status().applied);
    t.equal(cluster.leaderHost(1), 1);
    t.equal(await cluster.clock.resolve(cluster.read(3, 1, 'a')), 'missed');
    await cluster.close();
  },
);

t.test(
  'a sleeping leader whose follower’s host is lost and comes back under the same process lets it catch up',
  async (t) => {
    const cluster = await asleep();
    const term = cluster.leaderGroup(1).term();
    for (const other of [1, 2]) {
      cluster.network.cut(other, 3);
      cluster.network.cut(3, other);
    }
    await cluster.clock.advance(electionTicks * tickMs * 3);
    t.same(sleepersOf(cluster, 1), [1, 2], 'the cut-off member looks for a leader');
    await write(cluster, 1, 'missed');
    await cluster.clock.advance(untilAsleepMs);
    t.same(sleepersOf(cluster, 1), [1, 2]);
    cluster.network.healAll();
    await cluster.clock.until(() => sleepersOf(cluster, 1).length === 3, 'all sleep', 4_000 + untilAsleepMs);
    t.equal(cluster.group(3, 1).status().applied, cluster.group(1, 1).status().applied);
    t.equal(cluster.leaderGroup(1).term(), term, 'it deposed nobody');
    await cluster.close();
  },
);

t.test('a leader does not sleep without a quorum of hosts', async (t) => {
  const cluster = await asleep();
  await cluster.crashHost(3);
  await cluster.clock.advance(2_000);
  t.same(sleepersOf(cluster, 1), [1, 2]);
  await cluster.crashHost(2);
  await cluster.clock.advance(5_000);
  t.same(sleepersOf(cluster, 1), []);
  t.notOk(cluster.group(1, 1).isLeader(), 'it woke and stepped down');
  await cluster.close();
});

t.test('when a host is back, the leaders with a member there wake in slices', async (t) => {
  const wakesPerTick = 2;
  const cluster = await asleep(8, { options: { limits: { wakesPerTick } } });
  await cluster.crashHost(3);
  await cluster.clock.advance(2_000);
  t.equal(hibernating(cluster, 1), 8);
  const before = cluster.host(1).multiRaft.stats().wakes;
  await cluster.startHost(3);
  let last = before;
  let most = 0;
  await cluster.clock.until(
    () => {
      const { wakes } = cluster.host(1).multiRaft.stats();
      most = Math.max(most, wakes - last);
      last = wakes;
      return wakes - before >= 8;
      // Before any of the members there would campaign.
    },
    'all wake',
    electionTicks * tickMs,
  );
  t.ok(most <= wakesPerTick, `at most ${String(most)} at a time`);
  await cluster.clock.until(() => [1, 2, 3].every((host) => hibernating(cluster, host) === 8), 'all sleep');
  await cluster.close();
});

t.test('a group in use does not hibernate', async (t) => {
  const cluster = await grown();
  for (let i = 0; i < 20; i++) {
    await cluster.clock.resolve(cluster.read(1, 1, 'a'));
    await cluster.clock.advance((quietTicks - 1) * tickMs);
    t.same(sleepersOf(cluster, 1), []);
  }
  await cluster.close();
});

t.test('proposals, reads, transfers and membership changes wake a group, and it sleeps again', async (t) => {
  const cluster = await asleep();
  const uses: (() => Promise<unknown>)[] = [
    () => cluster.set(cluster.group(1, 1), 'a', 'x'),
    () => cluster.read(1, 1, 'a'),
    () => cluster.read(2, 1, 'a'),
    async () => {
      cluster.group(1, 1).transferLeader(12);
      await cluster.clock.until(() => cluster.leaderHost(1) === 2, 'host 2 leads');
    },
    () =>
      new Promise((resolve) => {
        const changes = [{ type: ConfChangeType.AddLearnerNode, replicaId: 13 }];
        const context = toyContext({ 11: 1, 12: 2, 13: 3 }, true);
        cluster.leaderGroup(1).proposeConfChange({ transition: ConfChangeTransition.Auto, changes, context }, resolve);
      }),
  ];
  for (const use of uses) {
    await cluster.clock.resolve(use());
    t.same(sleepersOf(cluster, 1), []);
    await cluster.clock.advance(untilAsleepMs + tickMs);
    t.same(sleepersOf(cluster, 1), [1, 2, 3]);
  }
  await cluster.close();
});

t.test('the first read after waking takes a round, whatever lease there was', async (t) => {
  const cluster = await asleep();
  await cluster.clock.advance(5_000);
  const before = cluster.host(1).multiRaft.stats();
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), null);
  const after = cluster.host(1).multiRaft.stats();
  t.equal(after.readsByLease, before.readsByLease);
  t.equal(after.readsByRound, before.readsByRound + 1);
  await cluster.close();
});

t.test('groups led by a host that is lost wake in slices, those used last first, and elect', async (t) => {
  const wakesPerTick = 2;
  const cluster = await asleep(8, { options: { limits: { wakesPerTick } } });
  // Used in this order; then all sleep again.
  for (const groupId of [5, 3, 8]) {
    await write(cluster, groupId, 'x');
    await cluster.clock.advance(2 * tickMs);
  }
  await cluster.clock.advance(untilAsleepMs);
  t.equal(hibernating(cluster, 2), 8);
  await cluster.crashHost(1);
  const woken: number[] = [];
  let most = 0;
  await cluster.clock.until(() => {
    const now = Array.from({ length: 8 }, (_, i) => i + 1).filter(
      (groupId) => !woken.includes(groupId) && !cluster.group(2, groupId).status().hibernates,
    );
    // What the other host's candidates wake is beside the point.
    most = Math.max(most, now.length);
    woken.push(...now);
    return woken.length === 8;
  }, 'all wake');
  t.same(woken.slice(0, 2).sort(), [3, 8]);
  t.ok(woken.slice(2, 4).includes(5), `woken in the order ${woken.join(', ')}`);
  t.ok(most <= wakesPerTick, `at most ${String(most)} at a time`);
  const leads = (groupId: number): boolean => [2, 3].includes(cluster.leaderHost(groupId));
  await cluster.clock.until(() => [1, 2, 3, 4, 5, 6, 7, 8].every(leads), 'all have leaders', 3_000);
  await cluster.close();
});

/** Groups on hosts 2 and 3 led by either. */
function ledByOthers(cluster: Cluster, groups: readonly number[]): number {
  return groups.filter((groupId) => [2, 3].includes(cluster.leaderHost(groupId))).length;
}

/** Terms that host 2 knows, added up. */
function sumOfTerms(cluster: Cluster, groups: readonly number[]): number {
  return groups.reduce((sum, groupId) => sum + cluster.group(2, groupId).term(), 0);
}

// It takes so long that the replicas' own election timers would fire in between, if they were not put off.
for (const [state, ticksMax] of [
  ['asleep', 21],
  ['awake, with what they promised to their leader', electionTicks + 21],
] as const) {
  t.test(
    `a host that leads many groups is lost: one candidacy for each, however they are ordered; ${state}`,
    async (t) => {
      const perTick = 2;
      const count = 40;
      const groups = Array.from({ length: count }, (_, i) => i + 1);
      const limits = { wakesPerTick: perTick, earlyCampaignsPerTick: perTick };
      const hibernateAfterTicks = state === 'asleep' ? quietTicks : 0;
      const cluster = await grown(count, { options: { limits, hibernateAfterTicks } });
      // Host 2 uses its replicas in another order than host 3: what is woken first here is woken last there.
      for (const groupId of groups.toReversed()) {
        await cluster.clock.resolve(cluster.read(2, groupId, 'a'));
        await cluster.clock.advance(tickMs);
      }
      if (state === 'asleep') await cluster.clock.advance(untilAsleepMs);
      t.equal(hibernating(cluster, 2), state === 'asleep' ? count : 0);
      const terms = sumOfTerms(cluster, groups);
      await cluster.crashHost(1);
      const before = elections(cluster);
      await cluster.clock.until(() => ledByOthers(cluster, groups) === count, 'all are led', ticksMax * tickMs);
      t.equal(elections(cluster) - before, count);
      t.equal(sumOfTerms(cluster, groups) - terms, count);
      const second = groups.filter((groupId) => cluster.leaderHost(groupId) === 2).length;
      t.equal(second, count / 2, 'whose turn it was: they take turns by group');
      await cluster.close();
    },
  );
}

t.test('a hibernating group whose leader’s host restarts has a leader again, and loses nothing', async (t) => {
  const cluster = await asleep();
  await write(cluster, 1, 'kept');
  await cluster.clock.advance(untilAsleepMs);
  await cluster.crashHost(1);
  await cluster.startHost(1);
  await cluster.clock.until(() => cluster.leaderHost(1) !== 0, 'a leader');
  await cluster.clock.advance(2_000 + untilAsleepMs);
  t.same(sleepersOf(cluster, 1), [1, 2, 3]);
  for (const host of [1, 2, 3]) t.equal(await cluster.clock.resolve(cluster.read(host, 1, 'a')), 'kept');
  await cluster.close();
});

t.test('followers that a leader’s host cannot reach do not go on trusting it', async (t) => {
  const cluster = await asleep();
  // It hears them, they do not hear it.
  for (const other of [2, 3]) cluster.network.cut(1, other);
  await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader', 6_000);
  await write(cluster, 1, 'new');
  cluster.network.healAll();
  await cluster.clock.advance(3_000);
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), 'new');
  await cluster.close();
});

t.test('a leader that hears nobody steps down, although it slept', async (t) => {
  const cluster = await asleep();
  for (const other of [2, 3]) cluster.network.cut(other, 1);
  await cluster.clock.until(() => !cluster.group(1, 1).isLeader(), 'it steps down', 6_000);
  await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader', 6_000);
  t.notOk(cluster.group(1, 1).isLeader());
  await cluster.close();
});

t.test('one follower that does not hear a sleeping leader’s host wakes it and deposes nobody', async (t) => {
  const cluster = await asleep();
  const term = cluster.leaderGroup(1).term();
  cluster.network.cut(1, 3);
  const wokenMs = (electionTicks + 3) * tickMs;
  await cluster.clock.until(() => sleepersOf(cluster, 1).length === 0, 'the candidate wakes all', wokenMs);
  await cluster.clock.advance(10_000);
  cluster.network.healAll();
  await cluster.clock.advance(2_000 + untilAsleepMs);
  t.equal(cluster.leaderHost(1), 1);
  t.equal(cluster.leaderGroup(1).term(), term);
  t.same(sleepersOf(cluster, 1), [1, 2, 3]);
  await cluster.close();
});

t.test('a host whose event loop stood still leads no sleeping group when it goes on', async (t) => {
  const cluster = await asleep();
  const old = cluster.host(1);
  old.runtime.pause();
  await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader', 6_000);
  await write(cluster, 1, 'new');
  const answer = cluster.read(1, 1, 'a');
  old.runtime.resume();
  const value = await cluster.clock.resolve(answer);
  t.not(value, null, 'not the state from before');
  await cluster.clock.advance(3_000);
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), 'new');
  await cluster.close();
});

t.test('a leader stopped on a host that lives is missed at once', async (t) => {
  const cluster = await asleep();
  cluster.host(1).callbacks.unknownGroup = () => null;
  void cluster.host(1).multiRaft.removeGroup(1);
  await cluster.clock.advance(20);
  for (const host of [2, 3]) {
    t.notOk(cluster.group(host, 1).status().hibernates);
    t.equal(cluster.group(host, 1).leaderId(), 0);
  }
  await cluster.clock.until(
    () => [2, 3].some((host) => cluster.group(host, 1).isLeader()),
    'another leader',
    2 * electionTicks * tickMs,
  );
  await cluster.close();
});

t.test('sleeping groups of a host whose disk does not sync are led elsewhere', async (t) => {
  const cluster = await asleep(2, { options: { diskStallMs: 500 } });
  const { disk } = cluster.host(1);
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  disk.intercept = (operation) => (operation === 'datasync' ? held : undefined);
  void cluster.set(cluster.group(1, 1), 'a', 'x');
  await cluster.clock.until(
    () => [1, 2].every((groupId) => [2, 3].includes(cluster.leaderHost(groupId))),
    'both groups are led elsewhere',
    20_000,
  );
  disk.intercept = null;
  release();
  await cluster.clock.advance(untilAsleepMs + 3_000);
  for (const groupId of [1, 2]) t.same(sleepersOf(cluster, groupId), [1, 2, 3]);
  await cluster.close();
});

t.test('groups hibernate and wake under lost, late and repeated messages without losing a write', async (t) => {
  let wakes = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const cluster = await grown(2, { seed });
    const policy = { delayMinMs: 0, delayMaxMs: 120, dropRate: 0.15, duplicateRate: 0.1, reorderRate: 0.2 };
    cluster.network.setDefaultPolicy(policy);
    let acknowledged = '';
    for (let i = 0; i < 12; i++) {
      await cluster.clock.advance((i % 4) * 400);
      const leader = await cluster.waitForLeader(1);
      const value = String(i);
      const outcome = await cluster.clock.resolve(cluster.set(cluster.group(leader, 1), 'a', value));
      if (outcome.status !== 'applied') continue;
      acknowledged = value;
      const read = await cluster.clock.resolve(cluster.read(leader, 1, 'a'));
      if (typeof read === 'string') t.ok(Number(read) >= Number(acknowledged), `seed ${String(seed)}`);
    }
    cluster.network.setDefaultPolicy({ ...policy, delayMaxMs: 1, dropRate: 0, duplicateRate: 0, reorderRate: 0 });
    await cluster.clock.until(
      () => [1, 2].every((groupId) => sleepersOf(cluster, groupId).length === 3),
      `seed ${String(seed)}: all sleep in the end`,
    );
    for (const { multiRaft } of cluster.hosts.values()) wakes += multiRaft.stats().wakes;
    await cluster.close();
  }
  t.ok(wakes > 20, `${String(wakes)} replicas woke`);
});
