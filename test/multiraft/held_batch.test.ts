import t from 'tap';
import type { HostLimits } from '../../src/multiraft/options.js';
import { Cluster } from './cluster.js';
import { readRecords } from './toy_state_machine.js';

/** A tick of the host is within it. */
const ticksMs = 250;

async function loneGroups(limits: Partial<HostLimits>): Promise<Cluster> {
  const cluster = await Cluster.start({ hosts: 1, cached: true, options: { limits } });
  for (const groupId of [1, 2]) {
    await cluster.addGroup(groupId, [1], 1);
    await cluster.waitForLeader(groupId);
  }
  await nextTick(cluster);
  return cluster;
}

/** After it nothing is held that was applied before. */
async function nextTick(cluster: Cluster): Promise<void> {
  const { runtime } = cluster.host(1);
  await cluster.clock.resolve(new Promise<void>((resolve) => runtime.after(ticksMs, () => resolve())));
}

async function setOne(cluster: Cluster, groupId: number, key: string): Promise<void> {
  const outcome = await cluster.clock.resolve(cluster.set(cluster.group(1, groupId), key, 'v'));
  if (outcome.status !== 'applied') throw new Error(outcome.status);
}

/** The positions in the rows of the engine itself. */
async function positions(cluster: Cluster): Promise<number[]> {
  const records = await cluster.clock.resolve(readRecords(cluster.host(1).engine));
  return records.map((record) => record.index);
}

t.test(
  'passes over clients’ commands share a batch that a tick closes, with one position for each group',
  async (t) => {
    const cluster = await loneGroups({});
    const machine = cluster.host(1).machines.get(1);
    const [before = 0] = await positions(cluster);
    const batchesBefore = machine?.batches ?? 0;
    for (const key of ['a', 'b', 'c']) await setOne(cluster, 1, key);
    t.same(await positions(cluster), [before, before], 'applied, and not in the engine');
    t.equal(machine?.record.index, before + 3);
    await nextTick(cluster);
    t.same(await positions(cluster), [before + 3, before]);
    t.equal((machine?.batches ?? 0) - batchesBefore, 1);
    await cluster.close();
  },
);

t.test('a batch is held up to so many operations, or bytes', async (t) => {
  for (const limits of [{ heldOperations: 2 }, { heldBytes: 16 }]) {
    const cluster = await loneGroups(limits);
    const [before = 0] = await positions(cluster);
    await setOne(cluster, 1, 'a');
    t.same(await positions(cluster), [before, before]);
    await setOne(cluster, 2, 'a');
    t.same(await positions(cluster), [before + 1, before + 1]);
    await cluster.close();
  }
});

t.test('what was held when the power failed is applied again from the log', async (t) => {
  const cluster = await loneGroups({});
  for (const key of ['a', 'b', 'c']) await setOne(cluster, 1, key);
  await cluster.crashHost(1);
  await cluster.startHost(1);
  await cluster.waitForLeader(1);
  await setOne(cluster, 1, 'd');
  const values = await Promise.all(['a', 'b', 'c', 'd'].map((key) => cluster.clock.resolve(cluster.read(1, 1, key))));
  t.same(values, ['v', 'v', 'v', 'v']);
  await cluster.close();
});

// What a store's replica does between the moment it is taken out and the end of its group (simulator, seed 175 at 25e0482).
t.test(
  'a batch into which a group that is being destroyed puts nothing is given back when the engine asks',
  async (t) => {
    const cluster = await loneGroups({});
    const { store, fatals } = cluster.host(1);
    const machine = cluster.machine(1, 1);
    machine.takenOut = true;
    await setOne(cluster, 1, 'a');
    await cluster.clock.resolve(store.sync());
    await setOne(cluster, 2, 'a');
    await cluster.clock.resolve(store.sync());
    t.equal(await cluster.clock.resolve(cluster.read(1, 2, 'a')), 'v');
    t.same(fatals, []);
    await cluster.close();
  },
);
