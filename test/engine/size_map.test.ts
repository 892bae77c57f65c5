import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { sizeBucketsMax, sizeRecheckKeys, sizeRecheckQuestionsMax } from '../../src/engine/limits.js';
import { type CountedSlice, SizeMap } from '../../src/engine/size_map.js';
import { SortedMap } from '../../src/engine/sorted_map.js';

const none = Buffer.alloc(0);
const sliceRows = 400;

/** A map of sizes over rows in memory, and how many rows it has counted. */
class Rows {
  readonly map = new SortedMap();
  readonly sizes: SizeMap;
  counted = 0;

  constructor() {
    this.sizes = new SizeMap((start, end, slices) => this.count(start, end, slices));
  }

  put(key: string, valueBytes: number): void {
    const value = Buffer.alloc(valueBytes);
    this.map.put(Buffer.from(key), value);
    this.sizes.notePut(Buffer.from(key), value);
  }

  delete(key: string): void {
    this.map.delete(Buffer.from(key));
    this.sizes.noteDelete(Buffer.from(key));
  }

  deleteRange(start: string, end: string): void {
    this.map.deleteRange(Buffer.from(start), Buffer.from(end));
    this.sizes.noteRange(Buffer.from(start), Buffer.from(end));
  }

  ask(start = '', end = ''): { bytes: number; keys: number; complete: boolean } {
    return this.sizes.estimate(Buffer.from(start), Buffer.from(end));
  }

  /** Asks until nothing is left to count; returns the questions that took. */
  settle(start = '', end = ''): number {
    for (let questions = 1; ; questions++) {
      const before = this.counted;
      this.ask(start, end);
      if (this.counted === before) return questions;
    }
  }

  private count(start: Buffer, end: Buffer, slices: number): CountedSlice {
    const page = this.map.page({
      start,
      end,
      limit: slices * sliceRows,
      maxBytes: 1 << 30,
      reverse: false,
      keysOnly: false,
    });
    const bytes = page.rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    this.counted += page.rows.length + 1;
    const last = page.rows.at(-1);
    return {
      bytes,
      keys: page.rows.length,
      next: page.more && last !== undefined ? Buffer.concat([last.key, Buffer.from([0])]) : null,
      middle: page.rows[Math.max(1, page.rows.length >> 1)]?.key ?? null,
    };
  }
}

const key = (i: number): string => `k${String(i).padStart(6, '0')}`;

function filled(count: number): Rows {
  const rows = new Rows();
  // Behind the map's back: as data that was there when the engine was opened.
  for (let i = 0; i < count; i++) rows.map.put(Buffer.from(key(i)), Buffer.alloc(93));
  return rows;
}

/** Within a tenth. */
function near(t: { ok(value: boolean, message: string): void }, actual: number, expected: number): void {
  t.ok(Math.abs(actual - expected) <= expected / 10, `${actual} is near ${expected}`);
}

void t.test('one question counts one slice, and a range that is known and quiet is not counted again', (t) => {
  const rows = filled(4_000);
  const answers: number[] = [];
  for (let i = 0; i < 10; i++) {
    const before = rows.counted;
    const { keys, complete } = rows.ask();
    answers.push(keys);
    t.ok(rows.counted - before <= sliceRows + 1);
    t.equal(complete, i === 9);
  }
  t.same(
    answers,
    Array.from({ length: 10 }, (_, i) => (i + 1) * 400),
    'a lower bound until all is seen',
  );
  const { counted } = rows;
  t.same(rows.ask(), { keys: 4_000, bytes: 400_000, complete: true });
  t.equal(rows.counted, counted);
  t.end();
});

void t.test('ranges share what was counted, whatever their bounds', (t) => {
  const rows = filled(4_000);
  rows.settle();
  const { counted } = rows;
  near(t, rows.ask(key(1_000), key(3_000)).keys, 2_000);
  t.ok(rows.counted - counted <= 2 * sliceRows + 2, 'only the cut buckets are counted again');
  rows.settle(key(1_000), key(3_000));
  t.same(rows.ask(key(1_000), key(3_000)), { keys: 2_000, bytes: 200_000, complete: true });
  t.end();
});

void t.test('new rows show without a count, overwrites are told from them after some recounts', (t) => {
  const rows = filled(4_000);
  rows.settle();
  const { counted } = rows;
  for (let i = 0; i < 800; i++) rows.put(`${key(i * 5)}new`, 100);
  const before = rows.sizes.estimate(none, none);
  t.ok(rows.counted - counted <= 2 * sliceRows + 1 + sizeRecheckKeys + 1, 'the worst one, and a small one');
  near(t, before.keys, 4_800);
  const prng = new Prng(5);
  for (let round = 0; round < 60; round++) {
    for (let i = 0; i < 4_000; i++) rows.put(key(prng.int(0, 3_999)), 93);
    rows.ask();
  }
  for (let i = 0; i < 2_000; i++) rows.put(key(prng.int(0, 3_999)), 93);
  near(t, rows.ask().keys, 4_800);
  t.end();
});

void t.test('rows that are only overwritten are counted ever less often, and at once again after a surprise', (t) => {
  const rows = new Rows();
  for (let i = 0; i < 300; i++) rows.put(`k${1000 + i}`, 100);
  rows.settle();
  /** Overwrites everything so often, with a question each time; returns how many counts that took. */
  const countsOf = (rounds: number): number => {
    const before = rows.counted;
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 300; i++) rows.put(`k${1000 + i}`, 100);
      rows.ask();
    }
    return (rows.counted - before) / 301;
  };
  t.equal(countsOf(8), 8, 'it has to learn first that these are no new rows');
  countsOf(64);
  const trusting = countsOf(32);
  t.ok(trusting <= 32 / 4, `one count for several times the range's own bytes of writes, not ${trusting}`);
  // Noted deletes are trusted; rows that vanish without a note are what a recount is surprised by.
  for (let i = 0; i < 150; i++) rows.map.delete(Buffer.from(`k${1000 + i}`));
  while (rows.ask().keys > 200) for (let i = 150; i < 300; i++) rows.put(`k${1000 + i}`, 100);
  t.ok(countsOf(2) > 0, 'a surprise ends the trust');
  t.end();
});

void t.test('a range of many small buckets whose keys are only overwritten does not seem to grow', (t) => {
  const rows = new Rows();
  const bounds = Array.from({ length: 13 }, (_, i) => `k${String(i).padStart(2, '0')}`);
  for (const bound of bounds.slice(0, 12)) rows.put(`${bound}/hot`, 10);
  // As shards that were split and merged again leave it: a bucket for each.
  for (let i = 0; i < 12; i++) rows.ask(bounds[i], bounds[i + 1]);
  let most = 0;
  for (let round = 0; round < 60; round++) {
    for (let n = 0; n < 40; n++) for (const bound of bounds.slice(0, 12)) rows.put(`${bound}/hot`, 10);
    most = Math.max(most, rows.ask('k00', 'k12').keys);
  }
  t.ok(most <= 24, `twelve keys never look like more than twice as many: ${most}`);
  t.end();
});

void t.test('deletes and deleted ranges show', (t) => {
  const rows = filled(16_000);
  rows.settle();
  for (let i = 0; i < 8_000; i += 2) rows.delete(key(i));
  near(t, rows.ask().keys, 12_000);
  rows.deleteRange(key(8_000), key(16_000));
  near(t, rows.ask().keys, 4_000);
  const { counted } = rows;
  t.same(rows.ask(key(8_000), key(16_000)), { keys: 0, bytes: 0, complete: true });
  t.equal(rows.counted, counted, 'a deleted range is known to be empty');
  rows.deleteRange('', '');
  t.same(rows.ask(), { keys: 0, bytes: 0, complete: true });
  t.equal(rows.sizes.bucketCount, 1);
  t.end();
});

void t.test('a small range that is emptied is known to be empty, whichever of the writes were noted', (t) => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= 100; seed++) {
    const prng = new Prng(seed);
    const rows = new Rows();
    const ask = (): number => rows.ask('row', 'rox').keys;
    const others = (most: number): void => {
      for (let i = prng.int(0, most); i > 0; i--) rows.put('z', 10);
    };
    const names = Array.from({ length: 90 }, (_, i) => `row/${i}`);
    for (const name of names) rows.put(name, 10);
    for (let i = 0; i < 10; i++) ask();
    for (const name of names) {
      rows.delete(name);
      others(6);
      if (prng.int(0, 30) === 0) ask();
    }
    for (let i = 0; i < 2 * sizeRecheckQuestionsMax; i++) ask();
    const { counted } = rows;
    if (ask() !== 0) wrong.push(`seed ${seed}: ${ask()} keys`);
    t.equal(rows.counted, counted, 'it is not counted any more');
  }
  t.same(wrong, []);
  t.end();
});

void t.test('the middle of a large range is found without counting it', (t) => {
  const rows = filled(10_000);
  rows.settle();
  const { counted } = rows;
  const middle = must(rows.sizes.middle(none, none), 'a middle').toString();
  t.ok(middle > key(4_800) && middle < key(5_200), middle);
  t.ok(rows.counted - counted <= 2 * sliceRows + 1);
  const part = must(rows.sizes.middle(Buffer.from(key(9_000)), none), 'a middle').toString();
  t.ok(part > key(9_300) && part < key(9_700), part);
  t.equal(rows.sizes.middle(Buffer.from('x'), none), null);
  t.equal(rows.sizes.middle(Buffer.from('x'), Buffer.from('a')), null);
  t.end();
});

void t.test('random writes, splits and questions keep the sizes near the truth', (t) => {
  const prng = new Prng(99);
  const rows = filled(3_000);
  for (let step = 0; step < 300; step++) {
    const from = prng.int(0, 9_000);
    for (let i = 0; i < 40; i++) {
      if (prng.chance(0.7)) rows.put(key(prng.int(from, from + 999)), prng.int(50, 150));
      else rows.delete(key(prng.int(from, from + 999)));
    }
    if (prng.chance(0.02)) rows.deleteRange(key(from), key(from + 500));
    const start = prng.int(0, 9) * 1_000;
    for (let i = 0; i < 3; i++) rows.ask(key(start), key(start + 1_000));
  }
  for (let start = 0; start < 10_000; start += 1_000) rows.settle(key(start), key(start + 1_000));
  const { keys, bytes } = rows.ask(key(0), key(10_000));
  const truth = rows.map.measure(none, none);
  near(t, keys, truth.keys);
  near(t, bytes, truth.bytes);
  t.end();
});

void t.test('past sizeBucketsMax buckets are joined and the sums stay', (t) => {
  const rows = filled(500);
  rows.settle();
  const cut = (i: number): Buffer => Buffer.from(`z${String(i).padStart(8, '0')}`);
  for (let i = 0; rows.sizes.bucketCount < sizeBucketsMax; i++) rows.sizes.noteRange(cut(2 * i), cut(2 * i + 1));
  const most = rows.sizes.bucketCount;
  for (let i = 0; i < 20; i++) rows.ask(key(0), key(1_000));
  rows.put('y', 93);
  for (let i = 0; i < 2_000; i++) rows.put(key(i), 93);
  rows.ask(key(0), key(9_000));
  t.ok(rows.sizes.bucketCount < most, 'joined');
  rows.settle(key(0), key(9_000));
  t.equal(rows.ask(key(0), key(9_000)).keys, 2_000);
  t.end();
});
