import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { EntryType } from '../../src/raft/message.js';
import { epochIsNewer } from '../../placement/state/records.js';
import { epochOf } from '../../store/descriptor.js';
import type { SimCluster } from './cluster.js';
import type { StoreMachine } from './store_machine.js';

/** Entries looked at past the applied ones; a log with more of them counts as one that may hold anything. */
const lookBytes = 1024 * 1024;

/**
 * Whether one more disk may be harmed without taking a majority of any shard: all that was harmed before is healed, and every shard
 * has all of its voters, by the newest configuration that there can be. That one is not always in anybody's memory: a change that
 * was committed is in the logs of a majority of the voters before it, but whoever had applied it may be off. So nothing is harmed
 * while a log holds a change that its store has not applied, or placement has heard of an epoch that no running store knows.
 */
export function mayLoseOne(cluster: SimCluster): boolean {
  for (const { excuses, store } of cluster.stores) {
    if (!excuses.has('damage')) continue;
    if (store === null || store.replicas.quarantinedCount > 0) return false;
    excuses.delete('damage');
  }
  const shards = newestDescriptors(cluster);
  const isNews = (told: Shard): boolean => {
    const known = shards.get(told.shardId);
    return known === undefined || epochIsNewer(epochOf(told), epochOf(known));
  };
  if (shards.size === 0 || cluster.shards().some(isNews)) return false;
  if (cluster.stores.some(holdsUnappliedChange)) return false;
  return [...shards.values()].every((shard) => isWhole(cluster, shard));
}

/** Each shard as the running store with its latest epoch knows it. */
function newestDescriptors(cluster: SimCluster): Map<number, Shard> {
  const newest = new Map<number, Shard>();
  for (const { store } of cluster.running()) {
    for (const { shard, shardId, phase } of store.replicas.machines()) {
      if (phase !== 'normal') continue;
      const known = newest.get(shardId);
      if (known === undefined || epochIsNewer(epochOf(shard), epochOf(known))) newest.set(shardId, shard);
    }
  }
  return newest;
}

function holdsUnappliedChange({ store, raftLog }: StoreMachine): boolean {
  if (store === null || raftLog === null) return false;
  for (const group of store.multi.groups()) {
    const log = raftLog.group(group.groupId);
    if (log === undefined) continue;
    const from = Math.max(group.status().applied + 1, log.firstIndex());
    const to = log.lastIndex() + 1;
    if (from >= to) continue;
    const entries = log.entries(from, to, lookBytes);
    if (typeof entries === 'string' || from + entries.length < to) return true;
    if (entries.some((entry) => entry.type !== EntryType.EntryNormal)) return true;
  }
  return false;
}

function isWhole(cluster: SimCluster, shard: Shard): boolean {
  if (shard.replicas.length < 3 || shard.replicas.some((r) => r.role !== ReplicaRole.VOTER)) return false;
  return shard.replicas.every(({ storeId, replicaId }) => {
    const machine = cluster.stores.find((m) => m.storeId === storeId);
    const running = machine?.store?.replicas.machine(shard.shardId);
    return running?.replicaId === replicaId && running.phase === 'normal';
  });
}
