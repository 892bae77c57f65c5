import fc from 'fast-check';
import t from 'tap';
import { inRange, rangesOverlap } from '../../src/base/encoded_key.js';
import { RangeIndex } from '../../store/range_index.js';

const key = (text: string): Buffer => Buffer.from(text);
const range = (shardId: number, start: string, end: string, keyspaceId = 1) => ({
  shardId,
  keyspaceId,
  startKey: key(start),
  endKey: key(end),
});

t.test('a key is found in the shard whose range holds it', async (t) => {
  const index = new RangeIndex();
  index.set(range(1, '', 'd'));
  index.set(range(3, 'm', ''));
  index.set(range(2, 'd', 'g'));
  t.equal(index.find(1, key(''))?.shardId, 1);
  t.equal(index.find(1, key('c\xff'))?.shardId, 1);
  t.equal(index.find(1, key('d'))?.shardId, 2);
  t.equal(index.find(1, key('h')), undefined, 'a hole belongs to nobody');
  t.equal(index.find(1, key('zzz'))?.shardId, 3);
  t.equal(index.find(2, key('d')), undefined, 'another keyspace');
});

t.test('a shard that is set again has its new range only', async (t) => {
  const index = new RangeIndex();
  index.set(range(1, 'a', 'z'));
  index.set(range(1, 'a', 'm'));
  index.set(range(2, 'm', 'z'));
  t.equal(index.find(1, key('x'))?.shardId, 2);
  index.delete(1);
  t.equal(index.find(1, key('b')), undefined);
  index.delete(1);
  index.delete(2);
  t.equal(index.anyOf(1), undefined);
});

t.test('a reverse scan begins in the last shard below its end', async (t) => {
  const index = new RangeIndex();
  for (const r of [range(1, '', 'd'), range(2, 'd', 'm'), range(3, 'm', '')]) index.set(r);
  t.equal(index.below(1, key(''))?.shardId, 3);
  t.equal(index.below(1, key('m'))?.shardId, 2);
  t.equal(index.below(1, key('n'))?.shardId, 3);
});

t.test('the index answers as a list that is searched from end to end', async () => {
  const bound = fc.stringMatching(/^[a-e]{0,3}$/);
  fc.assert(
    fc.property(
      fc.uniqueArray(bound, { minLength: 2, maxLength: 8 }),
      fc.array(fc.boolean()),
      bound,
      bound,
      (cuts, keep, a, b) => {
        const sorted = [...cuts].sort();
        const ranges = sorted
          .slice(0, -1)
          .map((start, at) => range(at + 1, start, sorted[at + 1] ?? ''))
          .filter((_, at) => keep[at] ?? true);
        const index = new RangeIndex();
        for (const r of [...ranges].reverse()) index.set(r);
        const expected = ranges.find((r) => inRange(key(a), r.startKey, r.endKey))?.shardId;
        if (index.find(1, key(a))?.shardId !== expected) throw new Error('find');
        const [low, high] = [a, b].sort() as [string, string];
        const touched = ranges.filter((r) => rangesOverlap(r.startKey, r.endKey, key(low), key(high)));
        const found = index.overlapping(1, key(low), key(high), 100);
        // An empty interval touches nothing in the one and may be said to touch in the other.
        if (low !== high && found.map((r) => r.shardId).join() !== touched.map((r) => r.shardId).join())
          throw new Error('overlap');
      },
    ),
  );
});
