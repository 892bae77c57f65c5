import t from 'tap';
import { SkerryClient } from '../../src/client/index.js';
import { inFlightOpsFirst } from '../../src/client/limits.js';
import { Partitioning, ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { FakeCluster } from './support/fake_cluster.js';
import { failure } from './support/fake_cluster.js';
import { errorOf, keyIn, setUp } from './support/set_up.js';

/** Sequences of the writes that stores saw, by the first key. */
function sequencesOf(cluster: FakeCluster): Map<string, Set<number>> {
  const found = new Map<string, Set<number>>();
  for (const { op } of cluster.operations) {
    if (op.op?.$case !== 'write') continue;
    const key = Buffer.from(op.op.value.mutations[0]?.key ?? []).toString();
    found.set(key, (found.get(key) ?? new Set()).add(op.op.value.sequence));
  }
  return found;
}

t.test('a moved leader is found by the redirect, and remembered', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  await client.set(key, 'a');
  cluster.setLeader(100, 3);
  cluster.operations.length = 0;
  await client.set(key, 'b');
  await client.set(key, 'c');
  t.same(
    cluster.operations.map((o) => o.storeId),
    [1, 3, 3],
  );
  t.equal(cluster.calls.get('listRoutes') ?? 0, 0, 'the placement service was not asked');
});

t.test('a shard without a leader is tried until it has one', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  cluster.setLeader(100, 0);
  let asked = 0;
  cluster.trick = () => {
    if (++asked === 5) cluster.setLeader(100, 2);
    return null;
  };
  await client.set(key, 'x');
  t.ok(asked >= 5);
  t.equal(cluster.values.size, 1);
});

t.test('operations on a shard without a leader keep none of the window from operations on sound shards', async (t) => {
  const { cluster, client } = await setUp(t, { shards: 2 });
  const lost = keyIn(cluster, 100);
  const sound = keyIn(cluster, 101);
  await Promise.all([client.set(lost, 'a'), client.set(sound, 'a')]);
  cluster.setLeader(100, 0);
  const stuck = Array.from({ length: 2 * inFlightOpsFirst }, () => client.get(lost));
  // It is submitted behind more of them than the window has room for.
  t.equal((await client.get(sound))?.toString(), 'a');
  cluster.setLeader(100, 2);
  for (const value of await Promise.all(stuck))
    if (value?.toString() !== 'a') t.fail('a read that waited has its value');
});

t.test('a split is learned from the store, without the placement service', async (t) => {
  const { cluster, client } = await setUp(t, { partitioning: Partitioning.RANGE });
  await client.set('a', '1');
  await client.set('z', '1');
  cluster.split(100, Buffer.from('m'), 200);
  cluster.setLeader(200, 2);
  await client.set('z', '2');
  await client.set('a', '2');
  t.equal((await client.get('z'))?.toString(), '2');
  t.equal((await client.get('a'))?.toString(), '2');
  t.equal(cluster.calls.get('listRoutes') ?? 0, 0);
});

t.test('a pushed route is used without an error on the way', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  await client.set(key, 'a');
  cluster.setLeader(100, 2);
  cluster.publish();
  const before = client.stats().retries;
  // The push travels on a connection of its own; once it is there no redirect is needed any more.
  for (let i = 0; i < 50 && cluster.operations.at(-1)?.storeId !== 2; i++) await client.get(key);
  cluster.operations.length = 0;
  await client.get(key);
  t.same(
    cluster.operations.map((o) => o.storeId),
    [2],
  );
  t.ok(client.stats().retries <= before + 1);
});

t.test('a busy store is given the time that it asks for', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  await client.set(key, 'a');
  const busy = failure('busy', { $case: 'serverIsBusy', value: { limit: 'proposals', retryAfterMs: 120 } });
  const times: number[] = [];
  cluster.trick = () => {
    times.push(performance.now());
    return times.length <= 2 ? busy : null;
  };
  await client.set(key, 'b');
  t.equal(times.length, 3);
  t.ok((times[1] ?? 0) - (times[0] ?? 0) >= 119);
  t.equal(client.stats().failures.serverIsBusy, 2);
});

t.test('a shard that moved away is looked up again, once for all who miss it', async (t) => {
  const { cluster, client } = await setUp(t, { stores: 4, shards: 1 });
  await client.set('first', 'x');
  const held = cluster.shards.get(100);
  t.ok(held);
  if (held === undefined) return;
  // Store 1 led and is no longer a member; its peers moved on without it.
  held.shard = {
    ...held.shard,
    epoch: { confVer: 5, version: 1 },
    replicas: held.shard.replicas.filter((r) => r.storeId !== 1),
  };
  cluster.setLeader(100, 4);
  // The placement service knows, but its push has not come: only a look-up tells.
  cluster.publishQuietly();
  await Promise.all(Array.from({ length: 200 }, (_, i) => client.set(`k${i}`, `${i}`)));
  t.equal(cluster.values.size, 201);
  t.ok((cluster.calls.get('listRoutes') ?? 0) <= 2, `${cluster.calls.get('listRoutes') ?? 0} look-ups`);
});

t.test('operations that come before any route share look-ups', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.withholdWatch = true;
  const late = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => late.close());
  await Promise.all(Array.from({ length: 100 }, (_, i) => late.set(`k${i}`, '')));
  t.ok((cluster.calls.get('listRoutes') ?? 0) <= 2, 'the first one asks, the others wait and ask together');
  t.equal(client.stats().lookUps, 0);
});

t.test('a stream that breaks after the write took effect does not make it take effect twice', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  await client.set(key, 'a');
  let broken = false;
  cluster.trick = () => {
    if (broken) return null;
    broken = true;
    return 'breakAfter';
  };
  await client.set(key, 'b');
  const attempts = cluster.writes.slice(1).map((w) => w.command);
  t.equal(attempts.length, 2);
  t.equal(attempts[0]?.sequence, attempts[1]?.sequence);
  t.equal(attempts[0]?.sessionId, attempts[1]?.sessionId);
  t.same(
    attempts.map((a) => a.retry),
    [false, true],
  );
  t.ok([...cluster.applied.values()].every((times) => times === 1));
});

t.test('an undetermined write is repeated with its session and sequence', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  await client.set(key, 'a');
  let asked = 0;
  cluster.trick = () =>
    ++asked === 1 ? failure('lost it', { $case: 'undetermined', value: { shardId: 100, leaderStoreId: 0 } }) : null;
  await client.set(key, 'b');
  t.same([...(sequencesOf(cluster).get(key) ?? [])], [1, 2]);
  t.equal(cluster.writes.at(-1)?.command.retry, true);
});

t.test('a write keeps one sequence over every kind of failure', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  const failures = [
    failure('', { $case: 'notLeader', value: { shardId: 100, leaderReplicaId: 0, leaderStoreId: 0, term: 6 } }),
    failure('', { $case: 'serverIsBusy', value: { limit: 'x', retryAfterMs: 1 } }),
    failure('', { $case: 'shardNotFound', value: { shardId: 100 } }),
    failure('', { $case: 'epochNotMatch', value: { currentShards: [] } }),
    failure('', { $case: 'undetermined', value: { shardId: 100, leaderStoreId: 2 } }),
    failure('', { $case: 'storeNotMatch', value: { requestedStoreId: 1, actualStoreId: 2 } }),
    failure('', { $case: 'diskFull', value: { storeId: 1 } }),
    failure('', { $case: 'deadlineExceeded', value: {} }),
  ];
  cluster.trick = () => failures.shift() ?? null;
  await client.set(key, 'x');
  t.equal(failures.length, 0);
  t.same([...(sequencesOf(cluster).get(key) ?? [])], [1]);
});

t.test('a killed store costs one round of errors, and the others take over', async (t) => {
  const { cluster, client } = await setUp(t, { shards: 30 });
  await Promise.all(Array.from({ length: 100 }, (_, i) => client.set(`k${i}`, 'a')));
  cluster.killStore(1);
  for (const [shardId, shard] of cluster.shards) if (shard.leaderStoreId === 1) cluster.setLeader(shardId, 2);
  await Promise.all(Array.from({ length: 100 }, (_, i) => client.set(`k${i}`, 'b')));
  const { failures } = client.stats();
  const first = (failures.connectionLost ?? 0) + (failures.unreachable ?? 0);
  t.ok(first <= 100, `${first} operations met the dead store`);
  await Promise.all(Array.from({ length: 100 }, (_, i) => client.set(`k${i}`, 'c')));
  const after = client.stats().failures;
  t.equal((after.connectionLost ?? 0) + (after.unreachable ?? 0), first, 'and none later');
});

t.test('a store that comes back is used again', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  await client.set(key, 'a');
  cluster.killStore(1);
  const writing = client.set(key, 'b');
  await cluster.startStore(1);
  await writing;
  t.equal((await client.get(key))?.toString(), 'b');
});

t.test(
  'a placement service that is gone does not stop known routes, and is followed again when it is back',
  async (t) => {
    const { cluster, client } = await setUp(t);
    const key = keyIn(cluster, 100);
    await client.set(key, 'a');
    cluster.killPlacement();
    cluster.setLeader(100, 2);
    await client.set(key, 'b');
    t.equal((await client.get(key))?.toString(), 'b');
    const watched = cluster.watching();
    await cluster.startPlacement();
    await watched;
    t.pass('the client watches routes again');
  },
);

t.test('a batch whose outcome is not known survives a split between its keys', async (t) => {
  const { cluster, client } = await setUp(t, { partitioning: Partitioning.RANGE });
  await client.set('warm', 'up');
  cluster.trick = () => {
    cluster.trick = () => null;
    cluster.splitAfterwards(100, Buffer.from('m'), 200);
    return 'breakAfter';
  };
  await client.batchWrite([
    { type: 'set', key: 'a', value: '1' },
    { type: 'set', key: 'z', value: '1' },
  ]);
  t.ok([...cluster.applied.values()].every((times) => times === 1));
  t.equal((await client.get('a'))?.toString(), '1');
  t.equal((await client.get('z'))?.toString(), '1');
  const retried = cluster.writes.filter((w) => w.command.retry);
  t.same(new Set(retried.map((w) => w.shardId)), new Set([100, 200]), 'each side was asked for its part');
});

t.test('reads of a follower are spread over voters, stale reads over all replicas', async (t) => {
  const { cluster, client } = await setUp(t);
  const key = keyIn(cluster, 100);
  await client.set(key, 'a');
  for (const consistency of ['follower', 'stale'] as const) {
    cluster.operations.length = 0;
    for (let i = 0; i < 6; i++) await client.get(key, { consistency });
    t.same(new Set(cluster.operations.map((o) => o.storeId)), new Set([1, 2, 3]), consistency);
  }
});

t.test('another cluster is a final error, told at once', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.trick = () =>
    failure('wrong cluster', { $case: 'clusterMismatch', value: { requestedClusterId: 77, actualClusterId: 78 } });
  const error = await errorOf(client.get('k'));
  t.equal(error.code, 'CLUSTER_MISMATCH');
  t.equal(client.stats().retries, 0);
});

t.test('a leader that no known replica stands for means that the route is old', async (t) => {
  const { cluster, client } = await setUp(t, { stores: 4, shards: 1 });
  const held = cluster.shards.get(100);
  if (held === undefined) return;
  held.shard = { ...held.shard, replicas: held.shard.replicas.filter((r) => r.storeId !== 4) };
  cluster.publish();
  await client.set('k', 'a');
  // Store 4 came in and leads, store 1 went; the placement service knows, its push has not come.
  const replicas = [2, 3, 4].map((storeId) => ({ replicaId: 1_000 + storeId, storeId, role: ReplicaRole.VOTER }));
  held.shard = { ...held.shard, epoch: { confVer: 3, version: 1 }, replicas };
  cluster.setLeader(100, 4);
  cluster.publishQuietly();
  await client.set('k', 'b');
  t.equal((await client.get('k'))?.toString(), 'b');
  t.equal(cluster.operations.at(-1)?.storeId, 4);
});
