import t from 'tap';
import type { ProposalOutcome, ReadFailure } from '../../src/multiraft/host.js';
import { completeOptions, type HostLimits } from '../../src/multiraft/options.js';
import { MsgType, newMessage } from '../../src/raft/message.js';
import { Cluster } from './cluster.js';
import { toyCommand } from './toy_state_machine.js';

async function loneGroup(limits: Partial<HostLimits>, groups = 1): Promise<Cluster> {
  const cluster = await Cluster.start({ hosts: 1, options: { limits } });
  for (let groupId = 1; groupId <= groups; groupId++) {
    await cluster.addGroup(groupId, [1], 1);
    await cluster.waitForLeader(groupId);
  }
  return cluster;
}

async function proposeMany(cluster: Cluster, groupIds: readonly number[], count: number): Promise<string[]> {
  const proposals: Promise<ProposalOutcome>[] = [];
  for (const groupId of groupIds) {
    for (let i = 0; i < count; i++) proposals.push(cluster.set(cluster.group(1, groupId), `k${i}`, 'v'));
  }
  const outcomes = await cluster.clock.resolve(Promise.all(proposals));
  return outcomes.map((outcome) => (outcome.status === 'dropped' ? outcome.reason : outcome.status));
}

function countOf(list: readonly string[], wanted: string): number {
  return list.filter((item) => item === wanted).length;
}

t.test('proposals past a group limit are dropped as busy, and taken again once others are settled', async (t) => {
  const cluster = await loneGroup({ groupProposals: 10 });
  const first = await proposeMany(cluster, [1], 15);
  t.equal(countOf(first, 'applied'), 10);
  t.equal(countOf(first, 'busy'), 5);
  t.equal(countOf(await proposeMany(cluster, [1], 10), 'applied'), 10);
  await cluster.close();
});

t.test('bytes of proposals past a group limit are dropped as busy', async (t) => {
  const size = toyCommand({ op: 'set', key: 'k0', value: 'v' }).length;
  const cluster = await loneGroup({ groupProposalBytes: size * 4 });
  const outcomes = await proposeMany(cluster, [1], 6);
  t.equal(countOf(outcomes, 'applied'), 4);
  t.equal(countOf(outcomes, 'busy'), 2);
  await cluster.close();
});

t.test('limits of the host count over its groups', async (t) => {
  const size = toyCommand({ op: 'set', key: 'k0', value: 'v' }).length;
  const limits = [
    { groupProposals: 8, hostProposals: 12 },
    { hostProposalBytes: size * 12, groupProposalBytes: size * 12 },
  ];
  for (const limit of limits) {
    const cluster = await loneGroup(limit, 2);
    const outcomes = await proposeMany(cluster, [1, 2], 8);
    t.equal(countOf(outcomes, 'applied'), 12);
    t.equal(countOf(outcomes, 'busy'), 4);
    t.equal(countOf(await proposeMany(cluster, [1, 2], 6), 'applied'), 12, 'all of it was given back');
    await cluster.close();
  }
});

t.test('commands of one turn past the entry size make more entries, one at least per command', async (t) => {
  const size = toyCommand({ op: 'set', key: 'k0', value: 'v' }).length;
  const cluster = await loneGroup({ entryBytes: size * 4 });
  const before = cluster.group(1, 1).status().lastIndex;
  t.equal(countOf(await proposeMany(cluster, [1], 10), 'applied'), 10);
  t.equal(cluster.group(1, 1).status().lastIndex - before, 3);
  const large = await cluster.clock.resolve(cluster.set(cluster.group(1, 1), 'large', 'x'.repeat(1000)));
  t.equal(large.status, 'applied');
  await cluster.close();
});

t.test('reads past the group limit fail as busy', async (t) => {
  const cluster = await loneGroup({ groupReads: 5 });
  const reads = Array.from({ length: 8 }, () => cluster.read(1, 1, 'a'));
  const results = await cluster.clock.resolve(Promise.all(reads));
  t.equal(results.filter((result) => result === null).length, 5);
  const busy = results.filter((result): result is ReadFailure => typeof result === 'object' && result !== null);
  t.same(
    busy.map((failure) => failure.reason),
    ['busy', 'busy', 'busy'],
  );
  await cluster.close();
});

t.test('a full mailbox drops messages, and the group gets along', async (t) => {
  const cluster = await Cluster.start({ options: { limits: { inboxMessages: 1 } } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  for (let i = 0; i < 20; i++) {
    const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), `k${i}`, 'v'));
    t.equal(outcome.status, 'applied');
  }
  const message = newMessage(MsgType.MsgAppResp, 11, 12);
  for (let i = 0; i < 3; i++) cluster.host(1).transport.sendMessage(2, 1, message);
  cluster.host(1).transport.flush();
  await cluster.clock.advance(10);
  t.ok(cluster.host(2).multiRaft.stats().messagesDropped >= 2);
  await cluster.waitForCaughtUp(1);
  await cluster.close();
});

t.test('committed entries past the batch limits follow in the next batch', async (t) => {
  const cluster = await loneGroup({ applyBatchEntries: 3, applyBatchesInFlight: 1 }, 8);
  const before = cluster.host(1).multiRaft.stats();
  const outcomes = await proposeMany(cluster, [1, 2, 3, 4, 5, 6, 7, 8], 2);
  t.equal(countOf(outcomes, 'applied'), 16);
  const after = cluster.host(1).multiRaft.stats();
  t.equal(after.entriesApplied - before.entriesApplied, 8);
  t.equal(after.applyBatches - before.applyBatches, 3, 'of three, three and two entries');
  await cluster.close();
});

t.test('more bytes in a turn than one log write takes make several writes', async (t) => {
  const cluster = await loneGroup({ logWriteBytes: 100 }, 6);
  cluster.host(1).writes.length = 0;
  t.equal(countOf(await proposeMany(cluster, [1, 2, 3, 4, 5, 6], 1), 'applied'), 6);
  t.ok(cluster.host(1).writes.length > 1);
  t.equal(cluster.host(1).writes.flat().length, 6);
  await cluster.close();
});

t.test('a follower whose disk is behind drops appends, and catches up afterwards', async (t) => {
  const cluster = await Cluster.start({ options: { limits: { unsyncedBytes: 200 } } });
  await cluster.addGroup(1, [1, 2, 3], 1);
  await cluster.waitForLeader(1);
  await cluster.waitForCaughtUp(1);
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  cluster.host(3).disk.intercept = (operation) => (operation === 'datasync' ? gate : undefined);
  for (let i = 0; i < 30; i++) {
    const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(1), `k${i}`, 'v'));
    t.equal(outcome.status, 'applied');
  }
  t.ok(cluster.host(3).multiRaft.stats().messagesDropped > 0);
  cluster.host(3).disk.intercept = null;
  release();
  await cluster.waitForCaughtUp(1);
  t.equal(await cluster.machine(3, 1).get('k29'), 'v');
  await cluster.close();
});

t.test('early campaigns past the limit per tick wait for the next ticks', async (t) => {
  const cluster = await Cluster.start({ options: { leases: false, limits: { earlyCampaignsPerTick: 1 } } });
  const groups = [1, 2, 3, 4, 5, 6];
  for (const groupId of groups) await cluster.addGroup(groupId, [1, 2, 3], 1);
  for (const groupId of groups) await cluster.waitForLeader(groupId);
  for (const groupId of groups) await cluster.waitForCaughtUp(groupId);
  await cluster.crashHost(1);
  let most = 0;
  let before = cluster.host(2).multiRaft.stats().electionsStarted;
  for (let tick = 0; tick < 8; tick++) {
    await cluster.clock.advance(100);
    const now = cluster.host(2).multiRaft.stats().electionsStarted;
    most = Math.max(most, now - before);
    before = now;
  }
  t.equal(most, 1);
  await cluster.clock.until(() => groups.every((groupId) => cluster.leaderHost(groupId) > 1), 'all have leaders');
  await cluster.close();
});

t.test('forwarded requests past the limits are refused or dropped', async (t) => {
  const cluster = await Cluster.start({
    hosts: 2,
    options: { limits: { forwardsOutstanding: 4, forwardsServing: 2 } },
  });
  let served = 0;
  const answers: (() => void)[] = [];
  cluster.host(2).callbacks = {
    forwarded: (_from, payload) => {
      served++;
      return new Promise((resolve) => answers.push(() => resolve(payload)));
    },
  };
  const { multiRaft } = cluster.host(1);
  const results: string[] = [];
  for (let i = 0; i < 6; i++) {
    multiRaft.forward(2, Buffer.from(`${i}`), 1_000).then(
      (answer) => results.push(`answer ${answer.toString()}`),
      (error: unknown) => results.push(`${i} ${(error as { reason: string }).reason}`),
    );
  }
  await cluster.clock.advance(100);
  t.same(results, ['4 busy', '5 busy']);
  t.equal(served, 2);
  for (const answer of answers) answer();
  await cluster.clock.advance(1_500);
  t.same(results.slice(2), ['answer 0', 'answer 1', '2 timeout', '3 timeout']);
  await cluster.close();
});

t.test('options that contradict each other are refused', async (t) => {
  t.throws(() => completeOptions({ electionTicks: 3, heartbeatTicks: 2 }), /election timeout/);
  t.throws(() => completeOptions({ tickMs: 0 }), /tick/);
  t.throws(() => completeOptions({ outcomeTimeoutTicks: 1 }), /fates/);
});
