import fc from 'fast-check';
import t from 'tap';
import { inRange } from '../../src/base/encoded_key.js';
import type { CachedShard } from '../../src/client/shard_cache.js';
import { ShardCache } from '../../src/client/shard_cache.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { Partitioning, ReplicaRole } from '../../src/gen/skerry/v1/meta.js';

const keyspaceId = 3;

function shard(shardId: number, start: string, end: string, version: number, confVer = 1): Shard {
  return {
    shardId,
    keyspaceId,
    partitioning: Partitioning.RANGE,
    startKey: Buffer.from(start),
    endKey: Buffer.from(end),
    epoch: { confVer, version },
    replicas: [1, 2, 3].map((storeId) => ({ replicaId: shardId * 10 + storeId, storeId, role: ReplicaRole.VOTER })),
    merge: undefined,
  };
}

function idsOf(shards: readonly CachedShard[] | null): number[] | null {
  return shards === null ? null : shards.map((s) => s.shardId);
}

t.test('a key is found in the shard whose range holds it, bounds included and excluded', async (t) => {
  const cache = new ShardCache(keyspaceId);
  for (const s of [shard(2, 'd', 'm', 1), shard(1, '', 'd', 1), shard(3, 'm', '', 1)]) cache.applyShard(s);
  cache.checkInvariants();
  for (const [key, id] of [
    ['', 1],
    ['c', 1],
    ['d', 2],
    ['lzzzzzzzzz', 2],
    ['m', 3],
    ['zzz', 3],
  ] as const) {
    t.equal(cache.find(Buffer.from(key))?.shardId, id, `key ${key}`);
  }
  for (const [bound, id] of [
    ['', 3],
    ['m', 2],
    ['ma', 3],
    ['d', 1],
  ] as const) {
    t.equal(cache.findBelow(Buffer.from(bound))?.shardId, id, `below ${bound}`);
  }
});

t.test('a hole in what is known is a hole, not a guess', async (t) => {
  const cache = new ShardCache(keyspaceId);
  cache.applyShard(shard(1, '', 'd', 1));
  cache.applyShard(shard(3, 'm', '', 1));
  t.equal(cache.find(Buffer.from('e')), null);
  t.equal(cache.findBelow(Buffer.from('m')), null);
  t.equal(cache.findBelow(Buffer.from('f')), null);
});

t.test('a shard with an older epoch never replaces a newer one', async (t) => {
  const cache = new ShardCache(keyspaceId);
  cache.applyShard(shard(1, '', 'm', 4, 7));
  t.equal(cache.applyShard(shard(1, '', '', 3, 9)), null, 'older version');
  t.equal(cache.applyShard(shard(1, '', 'm', 4, 7)), null, 'same epoch');
  t.equal(cache.applyShard(shard(2, 'c', 'f', 3)), null, 'another shard over the same range at an older version');
  t.same(idsOf(cache.applyShard(shard(1, '', 'm', 4, 8))), [], 'a newer membership displaces nothing');
  t.equal(cache.byId(1)?.confVer, 8);
  t.equal(cache.applyShard({ ...shard(9, 'x', '', 9), keyspaceId: keyspaceId + 1 }), null, 'another keyspace');
});

t.test('the halves of a split replace the whole, in either order', async (t) => {
  const left = shard(1, '', 'g', 2);
  const right = shard(2, 'g', '', 2);
  for (const order of [
    [left, right],
    [right, left],
  ]) {
    const cache = new ShardCache(keyspaceId);
    cache.applyShard(shard(1, '', '', 1));
    const displaced = order.map((s) => idsOf(cache.applyShard(s)));
    cache.checkInvariants();
    t.equal(cache.find(Buffer.from('a'))?.shardId, 1);
    t.equal(cache.find(Buffer.from('h'))?.shardId, 2);
    t.ok(displaced.flat().includes(1), 'the whole is named as displaced');
  }
});

t.test('a shard that was split off is first looked for where its parent was led', async (t) => {
  const cache = new ShardCache(keyspaceId);
  cache.applyShard(shard(1, '', '', 1));
  cache.applyLeader(1, 2, 6);
  cache.applyShard(shard(2, 'g', '', 2));
  t.equal(cache.byId(2)?.leaderStoreId, 2);
  t.equal(cache.applyLeader(2, 3, 6), true, 'and any real news of its leader replaces the guess');
  t.equal(cache.byId(2)?.leaderStoreId, 3);
});

t.test('news of a leader counts from a newer term only', async (t) => {
  const cache = new ShardCache(keyspaceId);
  cache.applyShard(shard(1, '', '', 1));
  t.equal(cache.applyLeader(1, 2, 6), true);
  t.equal(cache.applyLeader(1, 3, 5), false, 'older term');
  t.equal(cache.applyLeader(1, 3, 6), false, 'one term has one leader');
  t.equal(cache.byId(1)?.leaderStoreId, 2);
  cache.denyLeader(1, 3);
  t.equal(cache.byId(1)?.leaderStoreId, 2, 'only the one that is thought to lead can deny it');
  cache.denyLeader(1, 2);
  t.equal(cache.byId(1)?.leaderStoreId, 0);
  t.equal(cache.applyLeader(1, 3, 6), true, 'what is not known may be filled in at the same term');
  t.equal(cache.applyLeader(1, 9, 8), false, 'a store without a replica cannot lead');
  t.equal(cache.applyLeader(1, 1, 7), true, 'nor does its term count');
});

t.test('a forgotten shard is a hole again', async (t) => {
  const cache = new ShardCache(keyspaceId);
  cache.applyShard(shard(1, '', 'd', 1));
  cache.applyShard(shard(2, 'd', '', 1));
  t.equal(cache.forget(2)?.shardId, 2);
  t.equal(cache.forget(2), null);
  cache.checkInvariants();
  t.equal(cache.find(Buffer.from('e')), null);
  t.same(idsOf(cache.applyShard(shard(2, 'd', '', 1))), [], 'and may come back at the same epoch');
});

/** A history of splits of one keyspace: every shard that ever was, as the news of it would say. */
function historyOf(cuts: readonly number[]): Shard[] {
  let present = [shard(1, '', '', 1)];
  const all = [...present];
  cuts.forEach((cut, i) => {
    const at = Buffer.from([cut]);
    const whole = present.find((s) => inRange(at, s.startKey, s.endKey));
    if (whole === undefined || at.equals(whole.startKey)) return;
    const epoch = { confVer: 1, version: (whole.epoch?.version ?? 0) + 1 };
    const left = { ...whole, endKey: at, epoch };
    const right = { ...whole, shardId: i + 2, startKey: at, epoch };
    present = [...present.filter((s) => s !== whole), left, right];
    all.push(left, right);
  });
  return all;
}

t.test('news of splits in any order, any number of times, leads to the same end', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 8 }),
      fc.infiniteStream(fc.nat()),
      (cuts, picks) => {
        const history = historyOf(cuts);
        const cache = new ShardCache(keyspaceId);
        for (let i = 0; i < history.length * 3; i++) {
          const news = history[(picks.next().value ?? 0) % history.length];
          if (news !== undefined) cache.applyShard(news);
          cache.checkInvariants();
        }
        // Everything once more, oldest news last: the end must not depend on it.
        for (const news of [...history].reverse()) cache.applyShard(news);
        cache.checkInvariants();
        for (let key = 0; key < 256; key++) {
          const encoded = Buffer.from([key]);
          const holding = history.filter((s) => inRange(encoded, s.startKey, s.endKey));
          const newest = Math.max(...holding.map((s) => s.epoch?.version ?? 0));
          const found = cache.find(encoded);
          if (found === null || found.version !== newest) return false;
        }
        return true;
      },
    ),
    { numRuns: 200 },
  );
});
