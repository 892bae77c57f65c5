import type { Test } from 'tap';
import type { ConnectOptions } from '../../../src/client/index.js';
import { SkerryClient, SkerryError } from '../../../src/client/index.js';
import type { FakeOptions } from './fake_cluster.js';
import { FakeCluster } from './fake_cluster.js';

/** A fake cluster and a client of it, both ended with the test. */
export async function setUp(
  test: Test,
  options: FakeOptions = {},
  connect: Partial<ConnectOptions> = {},
): Promise<{ cluster: FakeCluster; client: SkerryClient }> {
  const cluster = await FakeCluster.start(options);
  const client = await SkerryClient.connect({ placement: cluster.placement, timeoutMs: 8_000, ...connect });
  test.teardown(() => {
    client.close();
    cluster.stop();
  });
  return { cluster, client };
}

/** The SkerryError that a promise rejects with. */
export async function errorOf(promise: Promise<unknown>): Promise<SkerryError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof SkerryError) return error;
    throw error;
  }
  throw new Error('it was expected to fail');
}

/** A key that lies in a shard, numbered. */
export function keyIn(cluster: FakeCluster, shardId: number, number = 0): string {
  for (let i = 0, found = 0; ; i++) {
    const key = `key-${i}`;
    if (cluster.shardOf(key).shard.shardId === shardId && found++ === number) return key;
  }
}
