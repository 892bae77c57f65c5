import { settleTicks } from '../even_cluster.js';
import type { SimCase } from '../sim_case.js';
import { SimCluster } from '../sim_cluster.js';

const racks = 4;

export const rackLoss: SimCase = {
  name: 'rack-loss',
  about: 'all stores of one rack of four die and stay away',
  scale: { stores: 12, shards: 2_000 },
  prepare(scale, options) {
    const cluster = new SimCluster(options);
    for (let i = 1; i <= scale.stores; i++) cluster.addStore({ zone: `rack${i % racks}` });
    cluster.createKeyspace(scale.shards);
    cluster.run(settleTicks);
    return cluster;
  },
  act(cluster) {
    for (const { storeId } of [...cluster.stores.values()]) if (storeId % racks === 1) cluster.kill(storeId);
  },
};
