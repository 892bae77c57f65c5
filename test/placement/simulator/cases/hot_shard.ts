import { evenCluster, settleTicks } from '../even_cluster.js';
import type { SimCase } from '../sim_case.js';
import { SimCluster } from '../sim_cluster.js';

const hotShards = 12;

export const hotShard: SimCase = {
  name: 'hot-shard',
  about: 'a few shards, all led by one store, bear most of the load',
  scale: { stores: 6, shards: 1_200 },
  prepare(scale, options) {
    const cluster = new SimCluster(options);
    for (let i = 0; i < scale.stores; i++) cluster.addStore();
    // Which shards the first store leads is known only once they are placed, so a cold twin of the cluster is asked.
    const twin = evenCluster(scale, {});
    const led = new Set(twin.view.leaders.ledBy(1));
    const order = [...twin.shards.values()].map(({ shard }) => led.has(shard.shardId));
    let hot = 0;
    const isHot = order.map((ofFirst) => ofFirst && hot++ < hotShards);
    cluster.createKeyspace(scale.shards, 3, { readsPerS: (at) => (isHot[at] === true ? 2_000 : 5) });
    cluster.run(settleTicks);
    return cluster;
  },
  act(cluster) {
    cluster.run(1);
  },
};
