import { evenCluster } from '../even_cluster.js';
import type { SimCase } from '../sim_case.js';

export const drain: SimCase = {
  name: 'drain',
  about: 'one of five stores is emptied',
  scale: { stores: 5, shards: 2_000 },
  prepare(scale, options) {
    return evenCluster(scale, options);
  },
  act(cluster) {
    cluster.apply({ kind: 'setStoreState', storeId: 2, state: 'draining' });
  },
};
