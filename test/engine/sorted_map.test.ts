import fc from 'fast-check';
import t from 'tap';
import { SortedMap } from '../../src/engine/sorted_map.js';

const none = Buffer.alloc(0);
const all = { start: none, end: none, limit: 1_000_000, maxBytes: 1 << 30, reverse: false, keysOnly: false };

/** Enough distinct keys for several chunks. */
const anyKey = fc.integer({ min: 0, max: 999 }).map((n) => Buffer.from(String(n).padStart(3, '0')));

type Op = readonly ['put' | 'delete' | 'range' | 'copy', Buffer, Buffer];
const anyOp: fc.Arbitrary<Op> = fc
  .oneof(
    { weight: 60, arbitrary: fc.tuple(fc.constant('put' as const), anyKey, fc.uint8Array({ maxLength: 4 })) },
    { weight: 20, arbitrary: fc.tuple(fc.constant('delete' as const), anyKey, fc.constant(none)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('range' as const), anyKey, anyKey) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('copy' as const), anyKey, fc.constant(none)) },
  )
  .map(([kind, key, value]) => [kind, key, Buffer.from(value)] as const);

function rowsOf(map: SortedMap, reverse: boolean): string[] {
  return map.page({ ...all, reverse }).rows.map((row) => `${row.key.toString()}=${row.value.toString('hex')}`);
}

function modelRows(model: ReadonlyMap<string, Buffer>): string[] {
  return [...model].map(([key, value]) => `${key}=${value.toString('hex')}`).sort();
}

void t.test('any operations leave what a plain map would hold, and copies stay as they were', (t) => {
  fc.assert(
    fc.property(fc.array(anyOp, { minLength: 600, maxLength: 1_500 }), (ops) => {
      const map = new SortedMap();
      const model = new Map<string, Buffer>();
      const copies: { copy: SortedMap; rows: string[] }[] = [];
      for (const [kind, key, value] of ops) {
        if (kind === 'put') {
          map.put(key, value);
          model.set(key.toString(), value);
        } else if (kind === 'delete') {
          map.delete(key);
          model.delete(key.toString());
        } else if (kind === 'range') {
          map.deleteRange(key, value);
          for (const k of [...model.keys()]) if (k >= key.toString() && k < value.toString()) model.delete(k);
        } else {
          copies.push({ copy: map.copy(), rows: modelRows(model) });
        }
      }
      const rows = modelRows(model);
      const bytes = [...model].reduce((sum, [key, value]) => sum + key.length + value.length, 0);
      const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();
      return (
        same(rowsOf(map, false), rows) &&
        same(rowsOf(map, true).reverse(), rows) &&
        map.bytes === bytes &&
        JSON.stringify(map.measure(none, none)) === JSON.stringify({ bytes, keys: rows.length }) &&
        copies.every(({ copy, rows }) => same(rowsOf(copy, false), rows))
      );
    }),
    { numRuns: 60, seed: 11 },
  );
  t.pass('every run agreed');
  t.end();
});

void t.test('a changed copy does not change the map that it was made of', (t) => {
  const map = new SortedMap();
  for (let i = 0; i < 1_000; i++) map.put(Buffer.from(String(i).padStart(4, '0')), none);
  const copy = map.copy();
  copy.deleteRange(Buffer.from('0100'), Buffer.from('0900'));
  copy.put(Buffer.from('0050'), Buffer.from('x'));
  map.delete(Buffer.from('0000'));
  t.equal(rowsOf(map, false).length, 999);
  t.equal(map.get(Buffer.from('0050'))?.length, 0);
  t.equal(rowsOf(copy, false).length, 200);
  t.ok(copy.get(Buffer.from('0000')));
  t.end();
});
