import t from 'tap';
import { distinctHosts } from '../../placement/isolation.js';
import { SimCluster } from './simulator/sim_cluster.js';

function spread(counts: ReadonlyMap<number, number>): number {
  return Math.max(...counts.values()) - Math.min(...counts.values());
}

function totalArrivals(cluster: SimCluster): number {
  return [...cluster.arrivals.values()].reduce((sum, n) => sum + n, 0);
}

function clusterOf(stores: number, shards: number, replicaCount = 3): SimCluster {
  const cluster = new SimCluster();
  for (let i = 0; i < stores; i++) cluster.addStore();
  cluster.createKeyspace(shards, replicaCount);
  cluster.run(8);
  return cluster;
}

t.test('a cluster that is even from the start is left alone', async (t) => {
  const cluster = clusterOf(3, 256);
  cluster.run(200);
  t.equal(cluster.finished.length, 0, 'no operator was made');
  t.ok(spread(cluster.leadersPerStore()) <= 1);
});

t.test('a fourth store takes its share with the fewest moves, and no shard moves twice', async (t) => {
  const cluster = clusterOf(3, 300);
  cluster.addStore();
  t.not(cluster.runUntilQuiet(20_000), -1, 'the cluster comes to rest');
  const replicas = cluster.replicasPerStore();
  t.ok(spread(replicas) <= 2, `replicas are even: ${[...replicas.values()].join(' ')}`);
  const least = 300 * 3 * (1 / 4);
  t.ok(totalArrivals(cluster) <= least * 1.1, `${totalArrivals(cluster)} moves, at least ${least} are needed`);
  t.equal(Math.max(...cluster.arrivals.values()), 1, 'no shard was moved twice');
  const leaders = cluster.leadersPerStore();
  t.ok(spread(leaders) <= 300 / 4 / 20, `leaders are even: ${[...leaders.values()].join(' ')}`);
});

t.test('a larger store takes a larger share', async (t) => {
  const cluster = clusterOf(4, 200);
  cluster.addStore({}, 2_000);
  t.not(cluster.runUntilQuiet(20_000), -1, 'the cluster comes to rest');
  const replicas = cluster.replicasPerStore();
  // 600 replicas over weights 1, 1, 1, 1 and 2, but a store holds each shard once at most.
  t.ok(Math.abs((replicas.get(5) ?? 0) - 200) <= 4, `${replicas.get(5)} replicas on the larger store`);
  t.ok(Math.abs((replicas.get(1) ?? 0) - 100) <= 4, `${replicas.get(1)} replicas on a smaller one`);
});

t.test('the replicas of a dead store are rebuilt elsewhere, and only after its grace time', async (t) => {
  const cluster = clusterOf(4, 100);
  cluster.kill(2);
  cluster.run(30);
  t.equal(totalArrivals(cluster), 0, 'nothing is rebuilt within the grace time');
  t.not(cluster.runUntilQuiet(20_000), -1, 'the cluster comes to rest');
  t.equal(cluster.state.shardIdsOn(2).size, 0, 'the dead store holds nothing any more');
  for (const shard of cluster.state.shards()) t.equal(shard.replicas.length, 3);
  const living = [1, 3, 4].map((id) => cluster.leadersPerStore().get(id) ?? 0);
  t.ok(Math.max(...living) - Math.min(...living) <= 2, `leaders are even: ${living.join(' ')}`);
});

t.test('with no store to spare a dead store is waited for, and said to be missed', async (t) => {
  const cluster = clusterOf(3, 20);
  cluster.kill(2);
  cluster.run(200);
  t.equal(totalArrivals(cluster), 0);
  t.equal(cluster.planner.blockedCount, 20);
  cluster.revive(2);
  cluster.run(100);
  t.equal(cluster.planner.blockedCount, 0, 'its return heals the shards');
});

t.test('draining empties a store of leaders and replicas', async (t) => {
  const cluster = clusterOf(4, 100);
  cluster.apply({ kind: 'setStoreState', storeId: 3, state: 'draining' });
  t.not(cluster.runUntilQuiet(20_000), -1, 'the cluster comes to rest');
  t.equal(cluster.state.shardIdsOn(3).size, 0);
  t.equal(cluster.view.leaders.countOn(3), 0);
  for (const shard of cluster.state.shards()) t.equal(shard.replicas.length, 3);
});

t.test('a store that stops being drained is filled again', async (t) => {
  const cluster = clusterOf(4, 60);
  cluster.apply({ kind: 'setStoreState', storeId: 3, state: 'draining' });
  cluster.runUntilQuiet(20_000);
  cluster.apply({ kind: 'setStoreState', storeId: 3, state: 'up' });
  // Shards that balance moved rest for a while; those that were drained away do not.
  t.not(cluster.runUntilQuiet(20_000), -1, 'the cluster comes to rest');
  t.ok(spread(cluster.replicasPerStore()) <= 2, [...cluster.replicasPerStore().values()].join(' '));
});

t.test('leaders that an outage piled up are spread again', async (t) => {
  const cluster = clusterOf(3, 90);
  cluster.kill(1);
  cluster.run(20);
  t.equal(cluster.view.leaders.countOn(1), 0, 'the others took over');
  cluster.revive(1);
  t.not(cluster.runUntilQuiet(5_000), -1, 'the cluster comes to rest');
  t.ok(spread(cluster.leadersPerStore()) <= 1, [...cluster.leadersPerStore().values()].join(' '));
});

t.test('nothing swings to and fro over 1,000 rounds', async (t) => {
  const cluster = clusterOf(5, 51, 3);
  cluster.runUntilQuiet(5_000);
  const before = cluster.finished.length;
  // Disks that grow and shrink a little.
  for (let round = 0; round < 1_000; round++) {
    for (const store of cluster.stores.values()) store.capacityBytes = 1_000 + ((round * store.storeId) % 7);
    cluster.run(2);
  }
  t.equal(cluster.finished.length, before, 'no operator was made');
});

t.test('replicas stay on hosts and in zones of their own through every move', async (t) => {
  const cluster = new SimCluster();
  for (const host of ['a', 'a', 'b', 'b', 'c', 'c']) cluster.addStore({ host, zone: `z${host}` });
  cluster.createKeyspace(60);
  cluster.run(8);
  cluster.addStore({ host: 'd', zone: 'zd' });
  t.not(cluster.runUntilQuiet(20_000), -1, 'the cluster comes to rest');
  for (const shard of cluster.state.shards()) {
    const stores = shard.replicas.flatMap((r) => cluster.state.store(r.storeId) ?? []);
    t.equal(distinctHosts(stores), 3, `shard ${shard.shardId} is on three hosts`);
  }
  t.ok((cluster.replicasPerStore().get(7) ?? 0) > 20, 'the new host took its share');
});

t.test('balance that is switched off leaves an empty store empty, and repairs go on', async (t) => {
  const cluster = clusterOf(3, 30);
  cluster.balancing = false;
  cluster.addStore();
  cluster.run(400);
  t.equal(cluster.replicasPerStore().get(4), 0);
  cluster.kill(1);
  t.not(cluster.runUntilQuiet(20_000, 100), -1);
  t.equal(cluster.replicasPerStore().get(4), 30);
});
