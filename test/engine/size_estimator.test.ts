import t from 'tap';
import { sizeRangesMax } from '../../src/engine/limits.js';
import { SizeEstimator } from '../../src/engine/size_estimator.js';

/** Counts rows r000, r001 … of 10 bytes each, at most 10 at a time. */
function estimatorOf(rows: { count: number }): { estimator: SizeEstimator; counted: () => number } {
  let counted = 0;
  const estimator = new SizeEstimator((start) => {
    const from = start.length === 0 ? 0 : Number(start.toString().slice(1));
    const to = Math.min(rows.count, from + 10);
    counted += to - from;
    const next = to < rows.count ? Buffer.from(`r${String(to).padStart(3, '0')}`) : null;
    return { keys: to - from, bytes: (to - from) * 10, next };
  });
  return { estimator, counted: () => counted };
}

const start = Buffer.from('r000');
const end = Buffer.from('s');

void t.test('a small range is exact at once and always', (t) => {
  const rows = { count: 10 };
  const { estimator } = estimatorOf(rows);
  t.same(estimator.estimate(start, end), { keys: 10, bytes: 100 });
  rows.count = 3;
  t.same(estimator.estimate(start, end), { keys: 3, bytes: 30 });
  t.end();
});

void t.test('a large range takes one slice per question and then holds its size', (t) => {
  const rows = { count: 35 };
  const { estimator, counted } = estimatorOf(rows);
  const answers = Array.from({ length: 8 }, () => estimator.estimate(start, end).keys);
  t.same(answers, [10, 20, 30, 35, 35, 35, 35, 35]);
  t.equal(counted(), 70, 'no question counted more than a slice');
  t.end();
});

void t.test('growth shows as soon as a walk passes the last result, shrinking when a walk ends', (t) => {
  const rows = { count: 15 };
  const { estimator } = estimatorOf(rows);
  const ask = (): number => estimator.estimate(start, end).keys;
  t.same([ask(), ask()], [10, 15]);
  rows.count = 28;
  t.same([ask(), ask(), ask()], [15, 20, 28]);
  rows.count = 12;
  t.same([ask(), ask()], [28, 12]);
  t.end();
});

void t.test('past sizeRangesMax the range asked for longest ago starts again', (t) => {
  const { estimator } = estimatorOf({ count: 35 });
  const other = (i: number): Buffer => Buffer.from(`s${String(i)}`);
  estimator.estimate(start, end);
  for (let i = 0; i < sizeRangesMax - 1; i++) estimator.estimate(start, other(i));
  t.equal(estimator.estimate(start, end).keys, 20, 'still known');
  for (let i = 0; i < sizeRangesMax; i++) estimator.estimate(start, other(i));
  t.equal(estimator.estimate(start, end).keys, 10, 'forgotten');
  t.end();
});
