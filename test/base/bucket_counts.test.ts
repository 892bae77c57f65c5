import t from 'tap';
import { BucketCounts } from '../../src/base/bucket_counts.js';

t.test('a value counts for the first bound that it does not exceed and for all above, or for none', (t) => {
  const counts = new BucketCounts([1, 10, 100]);
  t.strictSame(counts.cumulative, [0, 0, 0, 0]);
  for (const value of [0, 1, 1.5, 10, 100, 101]) counts.add(value);
  t.strictSame(counts.cumulative, [2, 4, 5, 6]);
  t.equal(counts.sum, 213.5);
  t.end();
});

t.test('bounds ascend', (t) => {
  t.throws(() => new BucketCounts([1, 1]), /bounds ascend/);
  t.throws(() => new BucketCounts([]), /bounds ascend/);
  t.end();
});
