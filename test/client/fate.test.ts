import t from 'tap';
import { SkerryClient } from '../../src/client/index.js';
import type { FakeCluster } from './support/fake_cluster.js';
import { failure } from './support/fake_cluster.js';
import { errorOf, keyIn, setUp } from './support/set_up.js';

const notLeader = failure('no leader', {
  $case: 'notLeader',
  value: { shardId: 100, leaderReplicaId: 0, leaderStoreId: 0, term: 6 },
});

/** Writes to every shard: what comes next finds its session and its connection, and is sent at once. */
async function warmUp(cluster: FakeCluster, client: SkerryClient): Promise<void> {
  for (const shardId of cluster.shards.keys()) await client.set(keyIn(cluster, shardId), 'warm');
}

t.test('a write that surely had no effect ends as DEADLINE_EXCEEDED and names the last failure', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.trick = () => notLeader;
  const error = await errorOf(client.set('k', 'x', { timeoutMs: 3_000 }));
  t.equal(error.code, 'DEADLINE_EXCEEDED');
  t.equal(error.retryable, true);
  t.match(error.message, /notLeader/);
  t.match(error.cause, { name: 'SkerryError', code: 'NOT_LEADER' });
  t.equal(cluster.applied.size, 0);
});

t.test('a write that was sent and not answered ends as UNDETERMINED', async (t) => {
  const { cluster, client } = await setUp(t);
  // With its session and connection there it is sent at once.
  await client.set('k', '');
  cluster.trick = () => 'ignore';
  const error = await errorOf(client.set('k', 'x', { timeoutMs: 1_000 }));
  t.equal(error.code, 'UNDETERMINED');
  t.equal(error.retryable, false);
});

t.test('a read that was sent and not answered ends as DEADLINE_EXCEEDED', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.trick = () => 'ignore';
  t.equal((await errorOf(client.get('k', { timeoutMs: 150 }))).code, 'DEADLINE_EXCEEDED');
  t.equal((await errorOf(client.get('k', { deadline: new Date(Date.now() + 100) }))).code, 'DEADLINE_EXCEEDED');
});

t.test('once an attempt was uncertain, later certain failures do not make the write certain again', async (t) => {
  const { cluster, client } = await setUp(t);
  await client.set('k', '');
  let asked = 0;
  cluster.trick = () => (++asked === 1 ? 'breakBefore' : notLeader);
  const error = await errorOf(client.set('k', 'x', { timeoutMs: 2_000 }));
  t.ok(asked > 1);
  t.equal(error.code, 'UNDETERMINED');
});

t.test('an expired session is UNDETERMINED at once', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.trick = () => failure('who are you', { $case: 'sessionExpired', value: { sessionId: 9_000 } });
  const error = await errorOf(client.set('k', 'x'));
  t.equal(error.code, 'UNDETERMINED');
  t.equal(client.stats().retries, 0);
});

t.test('an argument that a store refuses is final, and no earlier attempt of it took effect', async (t) => {
  const { cluster, client } = await setUp(t);
  let asked = 0;
  const refusal = failure('too large here', {
    $case: 'invalidArgument',
    value: { field: 'value', reason: 'VALUE_TOO_LARGE' },
  });
  cluster.trick = () => (++asked === 1 ? 'breakBefore' : refusal);
  const error = await errorOf(client.set('k', 'x'));
  t.equal(error.code, 'INVALID_ARGUMENT');
  t.equal(error.details['reason'], 'VALUE_TOO_LARGE');
});

t.test('a placement service without routes is named at the deadline', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.withholdWatch = true;
  cluster.shards.clear();
  cluster.publishQuietly();
  const late = await SkerryClient.connect({ placement: cluster.placement });
  t.teardown(() => late.close());
  const error = await errorOf(late.get('k', { timeoutMs: 200 }));
  t.equal(error.code, 'DEADLINE_EXCEEDED');
  t.match(error.message, /route|shard/);
  t.equal(client.stats().inFlight, 0);
});

t.test('a session that cannot be had fails its writes and no reads', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.placementTrick = (method) =>
    method === 'allocateIds'
      ? failure('nobody leads', { $case: 'placementUnavailable', value: { leaderAddress: '' } })
      : null;
  t.equal(await client.get('k'), null);
  const error = await errorOf(client.set('k', 'x', { timeoutMs: 200 }));
  t.equal(error.code, 'DEADLINE_EXCEEDED');
  cluster.placementTrick = () => null;
  await client.set('k', 'x');
  t.equal((await client.get('k'))?.toString(), 'x');
});

t.test('an abort ends the wait at once and tells what is known of a write', async (t) => {
  const { cluster, client } = await setUp(t);
  await client.set('k', 'x');
  const controller = new AbortController();
  cluster.trick = () => {
    setImmediate(() => controller.abort(new Error('enough')));
    return 'ignore';
  };
  const error = await errorOf(client.set('k', 'y', { signal: controller.signal }));
  t.equal(error.code, 'ABORTED');
  t.equal(error.details['maybeApplied'], true);
  t.match(error.cause, { message: 'enough' });
  const already = await errorOf(client.get('k', { signal: controller.signal }));
  t.equal(already.code, 'ABORTED');
  t.equal(client.stats().inFlight, 0);
});

t.test('close ends everything, and nothing begins after it', async (t) => {
  const { cluster, client } = await setUp(t);
  cluster.trick = () => 'ignore';
  const pending = [errorOf(client.get('a')), errorOf(client.set('b', 'x'))];
  await new Promise((resolve) => setImmediate(resolve));
  client.close();
  client.close();
  for (const error of await Promise.all(pending)) t.equal(error.code, 'CLIENT_CLOSED');
  t.equal((await errorOf(client.get('a'))).code, 'CLIENT_CLOSED');
});

t.test('past its limits a client waits, and past those it refuses', async (t) => {
  const { cluster, client } = await setUp(t, {}, { inFlightOps: 4, waitingOps: 6 });
  await client.set('warm', 'up');
  let seenAtOnce = 0;
  cluster.trick = () => {
    seenAtOnce = Math.max(seenAtOnce, client.stats().inFlight);
    return null;
  };
  const all = Array.from({ length: 20 }, (_, i) =>
    client.set(`k${i}`, '').then(
      () => 'done',
      (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
    ),
  );
  const outcomes = await Promise.all(all);
  t.equal(outcomes.filter((o) => o === 'done').length, 10);
  t.equal(outcomes.filter((o) => o === 'CLIENT_OVERLOADED').length, 10);
  t.equal(seenAtOnce, 4);
});

t.test('an operation that waits for room still ends at its deadline', async (t) => {
  const { cluster, client } = await setUp(t, {}, { inFlightOps: 1 });
  await warmUp(cluster, client);
  cluster.trick = () => 'ignore';
  const [first, second] = await Promise.all([
    errorOf(client.set('a', '', { timeoutMs: 1_500 })),
    errorOf(client.set('b', '', { timeoutMs: 500 })),
  ]);
  t.equal(first.code, 'UNDETERMINED');
  t.equal(second.code, 'DEADLINE_EXCEEDED', 'it was never sent');
  t.equal(cluster.applied.size, cluster.shards.size, 'nothing took effect but what came before');
  const key = keyIn(cluster, 100);
  cluster.trick = () => null;
  await client.set(key, 'x');
});

t.test('part of a batch that took effect is never called "no effect"', async (t) => {
  const { cluster, client } = await setUp(t);
  await warmUp(cluster, client);
  const refused = keyIn(cluster, 101);
  cluster.trick = (op) => (op.shardId === 101 ? notLeader : null);
  const error = await errorOf(
    client.batchWrite(
      [keyIn(cluster, 100), refused].map((key) => ({ type: 'set', key, value: '' }) as const),
      { timeoutMs: 1_000 },
    ),
  );
  t.equal(error.code, 'UNDETERMINED');
  t.match(error.details, { partsApplied: 1, parts: 2 });
  t.match(error.cause, { code: 'DEADLINE_EXCEEDED' });
});
