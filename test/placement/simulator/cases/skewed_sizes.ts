import { settleTicks } from '../even_cluster.js';
import type { SimCase } from '../sim_case.js';
import { SimCluster } from '../sim_cluster.js';

export const skewedSizes: SimCase = {
  name: 'skewed-sizes',
  about: 'a store joins a cluster whose shards are of very different sizes',
  scale: { stores: 5, shards: 1_000 },
  prepare(scale, options) {
    const cluster = new SimCluster(options);
    for (let i = 0; i < scale.stores; i++) cluster.addStore();
    // Most are small, a tenth are large, and every hundredth is huge.
    const mebibytes = (at: number): number => (at % 100 === 0 ? 200 : at % 10 === 0 ? 64 : 4);
    cluster.createKeyspace(scale.shards, 3, { bytes: (at) => mebibytes(at) * 1024 * 1024 });
    cluster.run(settleTicks);
    return cluster;
  },
  act(cluster) {
    cluster.addStore();
  },
};
