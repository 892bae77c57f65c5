import { evenCluster } from '../even_cluster.js';
import type { SimCase } from '../sim_case.js';

export const flappingStore: SimCase = {
  name: 'flapping-store',
  about: 'a store goes away and comes back, twenty times, within the grace time',
  scale: { stores: 5, shards: 1_000 },
  prepare(scale, options) {
    return evenCluster(scale, options);
  },
  act(cluster) {
    for (let i = 0; i < 20; i++) {
      cluster.kill(1);
      cluster.run(30);
      cluster.revive(1);
      cluster.run(60);
    }
  },
};
