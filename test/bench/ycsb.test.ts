import t from 'tap';
import { Chooser, kinds, mixes, recordKey, recordSplitKeys, Zipfian } from '../../bench/support/ycsb.js';
import { Prng } from '../../src/base/prng.js';

const draws = 100_000;

t.test('each mix has the published proportions of operations', (t) => {
  const published: Record<string, Record<string, number>> = {
    A: { read: 50, update: 50 },
    B: { read: 95, update: 5 },
    C: { read: 100 },
    D: { read: 95, insert: 5 },
    E: { scan: 95, insert: 5 },
    F: { read: 50, readModifyWrite: 50 },
  };
  t.same(Object.keys(mixes), Object.keys(published));
  for (const [name, mix] of Object.entries(mixes)) {
    const chooser = new Chooser(mix, 1_000, 1);
    const counts = new Map<string, number>(kinds.map((kind) => [kind, 0]));
    for (let i = 0; i < draws; i++) {
      const kind = chooser.kind();
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    for (const [kind, count] of counts) {
      const percent = (count * 100) / draws;
      t.ok(Math.abs(percent - (published[name]?.[kind] ?? 0)) < 1, `${name}: ${percent.toFixed(1)}% ${kind}`);
    }
  }
  t.end();
});

t.test('a zipfian draw of n items is i with a probability in proportion to 1 / i^0.99', (t) => {
  const items = 1_000;
  const zipfian = new Zipfian(new Prng(7));
  const counts = new Float64Array(items);
  for (let i = 0; i < draws * 5; i++) {
    const item = zipfian.next(items);
    counts[item] = (counts[item] ?? 0) + 1;
  }
  const total = counts.reduce((a, b) => a + b, 0);
  const zeta = Array.from({ length: items }, (_, i) => 1 / (i + 1) ** 0.99).reduce((a, b) => a + b, 0);
  const share = (from: number, to: number): number => counts.slice(from, to).reduce((a, b) => a + b, 0) / total;
  const expected = (from: number, to: number): number => {
    let sum = 0;
    for (let i = from; i < to; i++) sum += 1 / (i + 1) ** 0.99;
    return sum / zeta;
  };
  for (const [from, to] of [
    [0, 1],
    [1, 2],
    [2, 10],
    [10, 100],
    [100, 1_000],
  ] as const) {
    // The method of Gray et al. is an approximation beyond the first two.
    const got = share(from, to);
    t.ok(Math.abs(got - expected(from, to)) < 0.03, `items ${from} to ${to}: ${got.toFixed(3)}`);
  }
  t.end();
});

t.test('records stay within those inserted, also while they grow, and the latest are asked for most', (t) => {
  const chooser = new Chooser({ about: '', read: 1, request: 'latest' }, 100, 3);
  const distances: number[] = [];
  for (let i = 0, inserted = 100; i < 10_000; i++) {
    if (i % 20 === 0) {
      t.equal(chooser.insert(), inserted, 'records are numbered in order');
      inserted++;
    }
    const record = chooser.record();
    if (record < 0 || record >= inserted) t.fail(`record ${record} of ${inserted}`);
    distances.push(inserted - 1 - record);
  }
  const near = distances.filter((distance) => distance < 10).length / distances.length;
  t.ok(near > 0.35, `${(near * 100).toFixed(0)}% ask for the last ten`);
  const scattered = new Chooser({ about: '', read: 1, request: 'zipfian' }, 1_000, 3);
  const counts = new Map<number, number>();
  for (let i = 0; i < 10_000; i++) {
    const record = scattered.record();
    counts.set(record, (counts.get(record) ?? 0) + 1);
  }
  const popular = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
  const [first, second, third] = popular.map(([record]) => record);
  t.ok(Math.abs((first ?? 0) - (second ?? 0)) + Math.abs((second ?? 0) - (third ?? 0)) > 20, 'no neighbours');
  t.end();
});

t.test('split keys cut the record keys into equal shards', (t) => {
  const splits = recordSplitKeys(16);
  t.same([...splits].sort(), splits, 'in order');
  const counts = new Array<number>(16).fill(0);
  for (let i = 0; i < 16_000; i++) {
    const key = recordKey(i);
    const shard = splits.findIndex((split) => key < split);
    const index = shard === -1 ? 15 : shard;
    counts[index] = (counts[index] ?? 0) + 1;
  }
  for (const count of counts) t.ok(count > 700 && count < 1_300, `${count} of 16,000 records in a sixteenth`);
  t.end();
});
