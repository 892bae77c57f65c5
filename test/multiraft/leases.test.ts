import t from 'tap';
import { assert } from '../../src/base/assert.js';
import { HostLeaseClock, leaseMarginPercent } from '../../src/multiraft/lease_clock.js';
import { defaultOptions } from '../../src/multiraft/options.js';
import { Peer } from '../../src/multiraft/peer.js';
import { calmLink } from '../../src/transport/memory_network.js';
import { VirtualClock, VirtualRuntime } from '../support/virtual_runtime.js';
import { Cluster, type ClusterOptions } from './cluster.js';

const { tickMs, electionTicks, heartbeatTicks } = defaultOptions;
const promiseMs = (electionTicks - 1) * tickMs;
const leaseMs = (promiseMs * (100 - leaseMarginPercent)) / 100;

/** Group 1, led by host 1, with a lease; its key `a` holds "old". */
async function leased(settings: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await Cluster.start(settings);
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', 'old'));
  await cluster.waitForCaughtUp(1);
  await cluster.clock.advance(2 * heartbeatTicks * tickMs);
  return cluster;
}

function reads(cluster: Cluster, hostId = 1): { byLease: number; byRound: number; rounds: number } {
  const { readsByLease, readsByRound, readRounds } = cluster.host(hostId).multiRaft.stats();
  return { byLease: readsByLease, byRound: readsByRound, rounds: readRounds };
}

/** Writes "new" on whoever leads beside host 1. */
async function writeNew(cluster: Cluster): Promise<void> {
  await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader');
  const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), 'a', 'new'));
  t.equal(outcome.status, 'applied');
}

t.test('a leader with a lease serves reads without a message', async (t) => {
  const cluster = await leased();
  const { transport } = cluster.host(1);
  const frames = (): number => transport.stats().peers.reduce((sum, peer) => sum + peer.framesSent, 0);
  const before = { reads: reads(cluster), frames: frames() };
  for (let i = 0; i < 100; i++) t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), 'old');
  t.same(reads(cluster), { ...before.reads, byLease: before.reads.byLease + 100 });
  t.equal(frames(), before.frames, 'no time passed, so there was no heartbeat either');
  await cluster.close();
});

t.test('leases keep being renewed by heartbeats that leave with the beats', async (t) => {
  const cluster = await leased();
  const before = { beats: cluster.host(1).multiRaft.stats().beatsSent, reads: reads(cluster) };
  for (let i = 0; i < 300; i++) {
    await cluster.clock.advance(10);
    await cluster.clock.resolve(cluster.read(1, 1, 'a'));
  }
  t.same(reads(cluster), { ...before.reads, byLease: before.reads.byLease + 300 });
  const beats = cluster.host(1).multiRaft.stats().beatsSent - before.beats;
  t.equal(beats, (2 * 3_000) / (heartbeatTicks * tickMs), 'one beat per interval and host');
  await cluster.close();
});

t.test('reads of followers are served by the lease of their leader', async (t) => {
  const cluster = await leased();
  const before = cluster.host(1).multiRaft.stats().beatsSent;
  t.equal(await cluster.clock.resolve(cluster.read(2, 1, 'a')), 'old');
  t.equal(cluster.host(1).multiRaft.stats().beatsSent, before, 'no round');
  t.equal(reads(cluster, 2).byRound, 1);
  await cluster.close();
});

t.test('with leases off every read takes a round', async (t) => {
  const cluster = await leased({ options: { leases: false } });
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), 'old');
  t.same(reads(cluster), { byLease: 0, byRound: 1, rounds: 1 });
  await cluster.close();
});

t.test('a lease that nobody answers ends before the first voter may elect another leader', async (t) => {
  const cluster = await leased();
  const cutMs = cluster.clock.nowMs;
  for (const other of [2, 3]) cluster.network.partition(1, other);
  let lastServedMs = 0;
  let electedMs = 0;
  while (electedMs === 0 && cluster.clock.nowMs - cutMs < 10_000) {
    const before = reads(cluster).byLease;
    void cluster.read(1, 1, 'a');
    await cluster.clock.advance(5);
    if (reads(cluster).byLease > before) lastServedMs = cluster.clock.nowMs - cutMs;
    if ([2, 3].includes(cluster.leaderHost(1))) electedMs = cluster.clock.nowMs - cutMs;
  }
  t.ok(lastServedMs > 0 && lastServedMs <= leaseMs, `served for ${String(lastServedMs)} ms`);
  t.ok(electedMs > lastServedMs, `elected after ${String(electedMs)} ms`);
  await cluster.close();
});

t.test('a lost connection does not make voters forget what they promised', async (t) => {
  const cluster = await leased();
  const cutMs = cluster.clock.nowMs;
  for (const other of [2, 3]) {
    cluster.network.partition(1, other);
    cluster.network.disconnect(1, other);
  }
  await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader');
  const afterMs = cluster.clock.nowMs - cutMs;
  t.ok(afterMs >= leaseMs, `elected after ${String(afterMs)} ms`);
  t.ok(
    afterMs <= promiseMs + 6 * tickMs,
    `elected after ${String(afterMs)} ms, without waiting for the election timers`,
  );
  await cluster.close();
});

t.test(
  'a leader whose event loop stood still for longer than its lease serves no stale read when it goes on',
  async (t) => {
    const cluster = await leased();
    const old = cluster.host(1);
    old.runtime.pause();
    for (const other of [2, 3]) cluster.network.disconnect(1, other);
    await writeNew(cluster);
    // The first thing that the old leader sees is the read; no tick and no message came before.
    for (const other of [2, 3]) cluster.network.partition(1, other);
    const answer = cluster.read(1, 1, 'a');
    old.runtime.resume();
    t.match(await cluster.clock.resolve(answer), { reason: 'notLeader' });
    t.equal(reads(cluster).byLease, 0);
    await cluster.close();
  },
);

t.test('a stall longer than the margin costs the leases from before it, a shorter one does not', async (t) => {
  const cluster = await leased();
  const old = cluster.host(1);
  const marginMs = promiseMs - leaseMs;
  const pause = async (ms: number): Promise<void> => {
    old.runtime.pause();
    await cluster.clock.advance(ms);
    old.runtime.resume();
  };
  await pause(marginMs);
  const kept = reads(cluster);
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), 'old');
  t.same(reads(cluster), { ...kept, byLease: kept.byLease + 1 });
  t.equal(old.multiRaft.stats().leaseStalls, 0);
  await cluster.clock.advance(1_000);
  await pause(marginMs + 2 * tickMs);
  const voided = reads(cluster);
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), 'old');
  t.same(reads(cluster), { ...voided, byRound: voided.byRound + 1, rounds: voided.rounds + 1 });
  t.equal(old.multiRaft.stats().leaseStalls, 1);
  await cluster.clock.advance(1_000);
  await cluster.clock.resolve(cluster.read(1, 1, 'a'));
  t.equal(reads(cluster).byLease, voided.byLease + 1, 'the next rounds give a lease again');
  await cluster.close();
});

/** Cuts the leader off, keeps reading there, and tells what was read after another leader acknowledged "new". */
async function readsAfterChange(seed: number, clockRates: Readonly<Record<number, number>>): Promise<unknown[]> {
  const cluster = await leased({ seed, clockRates });
  // Its heartbeats still reach one voter; the answers do not come back.
  cluster.network.cut(2, 1);
  cluster.network.partition(1, 3);
  await cluster.clock.advance(seed * 13);
  cluster.network.partition(1, 2);
  const written = { isNew: false };
  const after: unknown[] = [];
  for (let i = 0; i < 800; i++) {
    const asked = written.isNew;
    const answer = cluster.read(1, 1, 'a').then((value) => {
      if (asked && (value === 'old' || value === 'new')) after.push(value);
    });
    void answer;
    const leader = cluster.leaderHost(1);
    if (!written.isNew && leader !== 1 && leader !== 0) {
      void cluster
        .set(cluster.leaderGroup(1), 'a', 'new')
        .then(({ status }) => (written.isNew ||= status === 'applied'));
    }
    await cluster.clock.advance(5);
  }
  t.ok(written.isNew, 'another leader took over');
  await cluster.close();
  return after;
}

t.test('clocks that run 2 percent too fast or too slow make no read stale', async (t) => {
  for (let seed = 1; seed <= 8; seed++) {
    t.same(await readsAfterChange(seed, { 1: 0.98, 2: 1.02, 3: 1.02 }), [], `seed ${String(seed)}, slow leader`);
    t.same(await readsAfterChange(seed, { 1: 1.02, 2: 0.98, 3: 0.98 }), [], `seed ${String(seed)}, fast leader`);
  }
});

t.test('the same test finds stale reads where clocks differ by far more than the margin', async (t) => {
  const stale: unknown[] = [];
  for (let seed = 1; seed <= 8; seed++) stale.push(...(await readsAfterChange(seed, { 1: 0.6, 2: 1.6, 3: 1.6 })));
  t.ok(stale.includes('old'));
});

t.test('a voter that was restarted keeps the promise of its earlier life', async (t) => {
  const cluster = await leased();
  // Host 3 hears nothing any more, so only host 2 gives the lease.
  cluster.network.partition(1, 3);
  await cluster.clock.advance(3_000);
  t.equal(cluster.leaderHost(1), 1);
  await cluster.crashHost(2);
  cluster.network.partition(1, 2);
  const cutMs = cluster.clock.nowMs;
  await cluster.startHost(2);
  cluster.group(3, 1).campaign();
  await cluster.clock.until(() => [2, 3].includes(cluster.leaderHost(1)), 'another leader');
  t.ok(cluster.clock.nowMs - cutMs >= promiseMs, `elected after ${String(cluster.clock.nowMs - cutMs)} ms`);
  await cluster.close();
});

t.test('a transfer voids the lease', async (t) => {
  const cluster = await leased();
  cluster.network.cut(1, 2);
  cluster.leaderGroup(1).transferLeader(12);
  await cluster.clock.settle();
  const before = reads(cluster);
  t.equal(await cluster.clock.resolve(cluster.read(1, 1, 'a')), 'old');
  t.same(reads(cluster), { ...before, byRound: before.byRound + 1, rounds: before.rounds + 1 });
  await cluster.close();
});

t.test('a group that is told of a new range takes a round first', async (t) => {
  const cluster = await leased();
  cluster.group(1, 1).voidLease();
  const before = reads(cluster);
  await cluster.clock.resolve(cluster.read(1, 1, 'a'));
  t.same(reads(cluster), { ...before, byRound: before.byRound + 1, rounds: before.rounds + 1 });
  await cluster.close();
});

t.test('a voter promises from when it hears a heartbeat, not from its last turn or tick', async (t) => {
  const cluster = await leased();
  const latencyMs = 37;
  cluster.network.setPolicy(1, 2, { ...calmLink, delayMinMs: latencyMs, delayMaxMs: latencyMs });
  await cluster.clock.advance(5 * tickMs);
  const sentAtMs = new Set<number>();
  const { transport } = cluster.host(1);
  const send = transport.sendBeat.bind(transport);
  transport.sendBeat = (to, beat) => {
    if (to === 2 && beat.heartbeats.length > 0) sentAtMs.add(cluster.clock.nowMs);
    return send(to, beat);
  };
  const voter = cluster.group(2, 1);
  assert(voter instanceof Peer, 'groups are peers');
  const heardAtMs: number[] = [];
  for (let at = 0, leftMs = 0; at < 20 * tickMs; at++) {
    const beforeMs = leftMs;
    await cluster.clock.advance(1);
    leftMs = voter.core.promiseLeft;
    if (leftMs === promiseMs && beforeMs !== promiseMs) heardAtMs.push(cluster.clock.nowMs);
  }
  t.ok(heardAtMs.length >= 8, 'promises are made in full');
  t.ok(
    heardAtMs.every((ms) => sentAtMs.has(ms - latencyMs)),
    'each begins when a heartbeat arrives',
  );
  await cluster.close();
});

t.test('the clock of leases', async (t) => {
  const clock = new VirtualClock();
  const lease = new HostLeaseClock(new VirtualRuntime(clock, 1), { tickMs, electionTicks });
  t.equal(lease.promiseMs, promiseMs);
  t.equal(lease.leaseMs, leaseMs);
  const passes = async (ms: number): Promise<void> => {
    for (let rest = ms; rest > 0; rest -= tickMs) {
      await clock.advance(Math.min(rest, tickMs));
      lease.tickBegins();
    }
  };
  await passes(leaseMs - 1);
  t.ok(lease.covers(0));
  await passes(1);
  t.notOk(lease.covers(0), 'it ends');
  const sentMs = clock.nowMs;
  await clock.advance(tickMs + promiseMs - leaseMs + 1);
  t.notOk(lease.covers(sentMs), 'found by the look at the clock, before any tick');
  lease.tickBegins();
  t.equal(lease.stalls, 1, 'one stall is counted once');
  t.ok(lease.covers(clock.nowMs), 'what is sent after it counts');
});
