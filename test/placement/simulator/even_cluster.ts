import type { Scale } from './sim_case.js';
import type { SimOptions } from './sim_cluster.js';
import { SimCluster } from './sim_cluster.js';

/** Ticks in which a new cluster's stores and shards have all been heard of. */
export const settleTicks = 8;

/** Equal stores with shards of three replicas, placed as a new keyspace is. */
export function evenCluster({ stores, shards }: Scale, options: SimOptions): SimCluster {
  const cluster = new SimCluster(options);
  for (let i = 0; i < stores; i++) cluster.addStore();
  for (let left = shards; left > 0; left -= shardsPerKeyspace)
    cluster.createKeyspace(Math.min(left, shardsPerKeyspace));
  cluster.run(settleTicks);
  return cluster;
}

/** A hash keyspace has no more. */
const shardsPerKeyspace = 16_384;
