import t from 'tap';
import { Prng } from '../../src/base/prng.js';
import type { MultiRaftOptionsInput } from '../../src/multiraft/options.js';
import { Cluster } from './cluster.js';

const options: MultiRaftOptionsInput = {
  compaction: { checkMs: 1_000, entriesMin: 10, tailEntries: 3, idleTailEntries: 1, followerEntriesMax: 20 },
};
const groups = [1, 2, 3];

/**
 * One register per group, written with growing numbers. A read that starts after a write was acknowledged must
 * see it or a later one, and no read may go back behind what another one that ended before saw.
 */
class Register {
  /** The highest number that is known to be in. */
  floor = 0;
  next = 0;
}

/** Random partitions, power cuts and lossy links over three hosts; seeds make each run repeatable. */
async function run(seed: number): Promise<{ writes: number; reads: number; cuts: number }> {
  const prng = new Prng(seed);
  const cluster = await Cluster.start({ seed, options });
  for (const groupId of groups) await cluster.addGroup(groupId, [1, 2, 3], groupId);
  for (const groupId of groups) await cluster.waitForLeader(groupId);
  const registers = new Map(groups.map((groupId) => [groupId, new Register()]));
  const counts = { writes: 0, reads: 0, cuts: 0 };
  const faults: string[] = [];

  const write = (groupId: number, register: Register): void => {
    const hostId = cluster.leaderHost(groupId);
    if (hostId === 0) return;
    const value = ++register.next;
    void cluster.set(cluster.group(hostId, groupId), 'r', `${value}`).then((outcome) => {
      if (outcome.status !== 'applied') return;
      counts.writes++;
      register.floor = Math.max(register.floor, value);
    });
  };
  const read = (groupId: number, register: Register): void => {
    const running = [...cluster.hosts.keys()];
    const hostId = running[prng.int(0, running.length - 1)] ?? 0;
    const before = register.floor;
    if (cluster.hosts.get(hostId)?.multiRaft.group(groupId) === undefined) return;
    void cluster.read(hostId, groupId, 'r').then(
      (value) => {
        if (value !== null && typeof value === 'object') return;
        counts.reads++;
        const seen = Number(value ?? 0);
        if (seen < before) faults.push(`group ${groupId} on ${hostId}: read ${seen} after ${before}`);
        register.floor = Math.max(register.floor, seen);
      },
      () => undefined,
    );
  };

  for (let step = 0; step < 100; step++) {
    for (const [groupId, register] of registers) {
      if (prng.chance(0.7)) write(groupId, register);
      if (prng.chance(0.7)) read(groupId, register);
    }
    if (prng.chance(0.06)) {
      cluster.network.partition(prng.int(1, 3), prng.int(1, 3));
      counts.cuts++;
    }
    if (prng.chance(0.08)) cluster.network.healAll();
    if (prng.chance(0.05)) {
      const hostId = prng.int(1, 3);
      if (cluster.hosts.has(hostId)) {
        await cluster.crashHost(hostId);
        counts.cuts++;
        await cluster.clock.advance(prng.int(0, 2_000));
        await cluster.startHost(hostId);
      }
    }
    const rate = prng.chance(0.3) ? 0.1 : 0;
    cluster.network.setDefaultPolicy({
      delayMinMs: 0.1,
      delayMaxMs: 5,
      dropRate: rate,
      duplicateRate: rate,
      reorderRate: rate,
    });
    await cluster.clock.advance(prng.int(5, 200));
  }
  await converge(cluster, registers, faults);
  for (const host of cluster.hosts.values()) faults.push(...host.fatals.map((error) => error.stack ?? error.message));
  await cluster.close();
  if (faults.length > 0) throw new Error(`seed ${seed}:\n${faults.join('\n')}`);
  return counts;
}

/** Without faults everything is served again, and all replicas hold the same. */
async function converge(cluster: Cluster, registers: Map<number, Register>, faults: string[]): Promise<void> {
  cluster.network.healAll();
  cluster.network.setDefaultPolicy({ delayMinMs: 0.1, delayMaxMs: 0.5, dropRate: 0, duplicateRate: 0, reorderRate: 0 });
  await cluster.clock.advance(10_000);
  for (const [groupId, register] of registers) {
    await cluster.waitForLeader(groupId);
    const value = `${++register.next}`;
    const outcome = await cluster.clock.resolve(cluster.set(cluster.leaderGroup(groupId), 'r', value));
    if (outcome.status !== 'applied') faults.push(`group ${groupId} takes no write: ${JSON.stringify(outcome)}`);
    await cluster.waitForCaughtUp(groupId);
    for (const hostId of [1, 2, 3]) {
      const held = await cluster.machine(hostId, groupId).get('r');
      if (held !== value) faults.push(`group ${groupId} on ${hostId} holds ${held ?? 'nothing'}, not ${value}`);
    }
  }
}

t.test('reads never go back and acknowledged writes stay, under partitions, loss and power cuts', async (t) => {
  const from = Number(process.env['SKERRY_CHAOS_SEED'] ?? 1);
  const seeds = Number(process.env['SKERRY_CHAOS_SEEDS'] ?? 3);
  let writes = 0;
  let reads = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const counts = await run(seed);
    writes += counts.writes;
    reads += counts.reads;
  }
  t.ok(writes > seeds * 20, `${writes} writes were acknowledged`);
  t.ok(reads > seeds * 20, `${reads} reads were served`);
});
