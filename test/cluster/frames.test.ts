import t from 'tap';
import { clusterFor, eventually, metric } from './support.js';

// A guard against hanging, not a measurement: these start whole clusters on a machine that may be busy.
t.setTimeout(300_000);

/** A counter of a store, over all peers. */
async function counted(address: string | undefined, name: string): Promise<number> {
  if (address === undefined) throw new Error('the store serves no metrics');
  const samples = await metric(address, name);
  if (samples.size === 0) throw new Error(`the store has no ${name}`);
  return [...samples.values()].reduce((a, b) => a + b, 0);
}

t.test('idle frames per second between two stores do not depend on the number of shards', async (t) => {
  const cluster = await clusterFor(t);
  const addresses = cluster.stores.map((store) => store.ready.metrics);
  const framesSent = (address: string | undefined): Promise<number> =>
    counted(address, 'skerry_transport_frames_sent_total');
  const entriesApplied = (address: string | undefined): Promise<number> =>
    counted(address, 'skerry_entries_applied_total');
  /** Frames per second and store while nothing is asked of the cluster. */
  const idleRate = async (): Promise<number> => {
    let applied = '';
    let sameLooks = 0;
    // A keyspace is ready when its shards have leaders; what they say to their followers comes after that.
    await eventually('no replica has anything left to apply', async () => {
      const now = (await Promise.all(addresses.map(entriesApplied))).join();
      sameLooks = now === applied ? sameLooks + 1 : 0;
      applied = now;
      return sameLooks >= 10 ? true : null;
    });
    const before = await Promise.all(addresses.map(framesSent));
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 6000));
    const after = await Promise.all(addresses.map(framesSent));
    const seconds = (performance.now() - start) / 1000;
    return after.reduce((sum, count, i) => sum + count - (before[i] ?? 0), 0) / seconds / cluster.stores.length;
  };
  await cluster.createKeyspace('few', { shards: 16 });
  const few = await idleRate();
  await cluster.createKeyspace('many', { shards: 1008 });
  const many = await idleRate();
  t.comment(`idle frames/s per store: ${few.toFixed(1)} with 16 shards, ${many.toFixed(1)} with 1,024`);
  t.ok(few > 0, 'stores do send heartbeats');
  // A beat and its answer, per peer and interval, whatever the shards; the slack is for beats that a busy loop skips.
  t.ok(many < few * 1.5, `${many.toFixed(1)} frames/s with 1,024 shards, ${few.toFixed(1)} with 16`);
});
