import { evenCluster } from '../even_cluster.js';
import type { SimCase } from '../sim_case.js';

export const newStore: SimCase = {
  name: 'new-store',
  about: 'a store joins a cluster that is even',
  scale: { stores: 3, shards: 3_000 },
  prepare(scale, options) {
    return evenCluster(scale, options);
  },
  act(cluster) {
    cluster.addStore();
  },
};
