import t from 'tap';
import { Prng } from '../../src/base/prng.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import type { Trick } from './support/fake_cluster.js';
import { failure } from './support/fake_cluster.js';
import { setUp } from './support/set_up.js';

/** Failures of every kind at random; the streams break now and then, before or after an effect. */
function chaos(prng: Prng): Trick {
  return (op, storeId) => {
    const { shardId } = op;
    if (prng.chance(0.85)) return null;
    switch (prng.int(0, 19)) {
      case 0:
        return 'breakBefore';
      case 1:
        return 'breakAfter';
      case 2:
        return failure('', { $case: 'undetermined', value: { shardId, leaderStoreId: prng.int(0, 3) } });
      case 3:
        return failure('', { $case: 'serverIsBusy', value: { limit: 'x', retryAfterMs: prng.int(0, 20) } });
      case 4:
        return failure('', { $case: 'shardNotFound', value: { shardId } });
      case 5:
        return failure('', { $case: 'epochNotMatch', value: { currentShards: [] } });
      case 6:
        return failure('', { $case: 'storeNotMatch', value: { requestedStoreId: storeId, actualStoreId: 9 } });
      default:
        return failure('', {
          $case: 'notLeader',
          value: { shardId, leaderReplicaId: 0, leaderStoreId: prng.int(0, 3), term: prng.int(0, 20) },
        });
    }
  };
}

for (const seed of [1, 2, 3]) {
  t.test(`every write takes effect once, and floors never pass it, under random failures (seed ${seed})`, async (t) => {
    const prng = new Prng(seed);
    const { cluster, client } = await setUp(
      t,
      { partitioning: Partitioning.RANGE, splitKeys: ['k3', 'k6'] },
      { timeoutMs: 30_000 },
    );
    cluster.trick = chaos(prng);
    const rounds = 5;
    let splits = 0;
    for (let round = 0; round < rounds; round++) {
      // Leaders move and a shard splits while the writes of the round are on their way.
      const work = Array.from({ length: 60 }, (_, i) => client.set(`k${i % 10}/${i}`, `${round}`));
      await new Promise((resolve) => setImmediate(resolve));
      for (const shardId of cluster.shards.keys()) if (prng.chance(0.5)) cluster.setLeader(shardId, prng.int(1, 3));
      const [shardId, shard] = [...cluster.shards][prng.int(0, cluster.shards.size - 1)] ?? [0, null];
      const at = Buffer.from(`k${prng.int(0, 9)}/${prng.int(0, 5)}`);
      const inside =
        shard !== null &&
        at.compare(shard.shard.startKey) > 0 &&
        (shard.shard.endKey.length === 0 || at.compare(shard.shard.endKey) < 0);
      if (inside) cluster.split(shardId, at, 200 + ++splits);
      if (prng.chance(0.5)) cluster.publish();
      await Promise.all(work);
    }
    for (let i = 0; i < 60; i++) t.same(cluster.values.get(`k${i % 10}/${i}`), Buffer.from(`${rounds - 1}`));
    // Effects by sequence, over all shards: a split hands the table on, so each sequence is counted once per write.
    const effects = cluster.writes.filter((w) => w.tookEffect).map((w) => w.command.sequence);
    t.equal(new Set(effects).size, effects.length, 'no sequence took effect twice');
    t.equal(effects.length, rounds * 60, 'and every write did once');
    for (const { command } of cluster.writes) {
      if (command.ackedBelow > command.sequence) t.fail(`floor ${command.ackedBelow} above ${command.sequence}`);
    }
    t.ok(cluster.floorsHeld, 'no retry came below a floor that its shard had been told');
    t.ok(client.stats().retries > 50, `${client.stats().retries} retries, ${splits} splits`);
  });
}
