import t from 'tap';
import type { Test } from 'tap';
import { SkerryClient } from '../../src/client/index.js';
import { clusterId, FakeCluster } from './support/fake_cluster.js';

async function setUp(
  test: Test,
  options: Parameters<typeof FakeCluster.start>[0] = {},
): Promise<{
  cluster: FakeCluster;
  client: SkerryClient;
}> {
  const cluster = await FakeCluster.start(options);
  const client = await SkerryClient.connect({ placement: cluster.placement, timeoutMs: 5_000 });
  test.teardown(() => {
    client.close();
    cluster.stop();
  });
  return { cluster, client };
}

t.test('a value that was set is read back, byte for byte', async (t) => {
  const { client } = await setUp(t);
  const key = Buffer.from([0, 255, 1, 128]);
  const value = Buffer.from([0, 0, 255, 254]);
  await client.set(key, value);
  t.equal(client.clusterId, clusterId);
  t.same(await client.get(key), value);
  t.equal(await client.exists(key), true);
  await client.delete(key);
  t.equal(await client.get(key), null);
  t.equal(await client.exists(key), false);
});
