import type { SkerryClient } from '../../src/client/index.js';
import { BenchCluster } from './bench_cluster.js';
import type { Counters } from './bench_cluster.js';
import type { Driven } from './drive.js';
import type { KeyValueOptions, Target } from './key_value.js';

const syncs = 'skerry_raftlog_syncs_total';
const frames = 'skerry_transport_frames_sent_total';
const leaseReads = 'skerry_read_points_by_lease_total';
const turns = 'skerry_turns_total';
const entries = 'skerry_entries_proposed_total';
const applyBatches = 'skerry_apply_batches_total';
const roundReads = 'skerry_read_points_by_round_total';

/** A cluster of ours with one routing client. */
export async function startSkerryTarget(
  options: Pick<KeyValueOptions, 'shards' | 'data-dir' | 'clients'>,
): Promise<Target> {
  const cluster = await BenchCluster.start({ dataDir: options['data-dir'] });
  try {
    await cluster.createKeyspace({ shards: options.shards });
    return targetOf(cluster, await cluster.connect({ inFlightOps: Math.max(4_096, options.clients) }));
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

function targetOf(cluster: BenchCluster, client: SkerryClient): Target {
  return {
    name: 'skerry',
    dataDir: cluster.local.dataDir,
    put: (key, value) => client.set(key, value),
    get: (key) => client.get(key),
    counters: () => cluster.counters(syncs, frames, turns, entries, applyBatches, leaseReads, roundReads),
    figures: (before, after, driven) => ratesOf(before, after, driven),
    stop: async () => {
      client.close();
      await cluster.stop();
    },
  };
}

function ratesOf(before: Counters, after: Counters, { seconds, done }: Driven): Record<string, number> {
  const delta = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  return {
    'syncs/s per store': delta(syncs) / 3 / seconds,
    'turns/s per store': delta(turns) / 3 / seconds,
    'engine batches/s per store': delta(applyBatches) / 3 / seconds,
    'Raft entries per operation': delta(entries) / done,
    'frames/s per store': delta(frames) / 3 / seconds,
    'syncs of a store per operation': delta(syncs) / 3 / done,
    'read points by lease/s': delta(leaseReads) / seconds,
    'read points by round/s': delta(roundReads) / seconds,
  };
}
