import fc from 'fast-check';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import { packedRowBytesMax } from '../../src/engine/limits.js';
import {
  cutChunks,
  packedBytes,
  packedEnd,
  PackedRowsError,
  packRows,
  RowLoader,
  RowUnpacker,
} from '../../src/engine/packed_rows.js';

interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

const tag = 2;
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));

function packed(rows: readonly Row[]): Buffer {
  const out = Buffer.alloc(packedBytes(rows, 0));
  packRows(out, 0, rows, tag, 0);
  return Buffer.concat([out, packedEnd(rows.length)]);
}

function unpacked(chunks: readonly Buffer[]): Row[] {
  const rows: Row[] = [];
  const unpacker = new RowUnpacker((rowTag, from, at, keyLength, valueLength) => {
    if (rowTag !== tag) throw new PackedRowsError('another tag');
    const key = Buffer.from(from.subarray(at + 9, at + 9 + keyLength));
    rows.push({ key, value: Buffer.from(from.subarray(at + 9 + keyLength, at + 9 + keyLength + valueLength)) });
  });
  for (const chunk of chunks) unpacker.push(chunk);
  if (unpacker.finish() !== rows.length) throw new Error('the count is wrong');
  return rows;
}

void t.test('rows come out as they went in, whatever the cuts', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ key: bytes, value: bytes }), { maxLength: 20 }),
      fc.integer({ min: 1, max: 64 }),
      (rows, chunkBytes) => {
        const chunks = cutChunks(packed(rows), chunkBytes);
        if (chunks.some((chunk) => chunk.length > chunkBytes)) throw new Error('a chunk is too large');
        const found = unpacked(chunks);
        if (found.length !== rows.length) throw new Error('rows are missing');
        found.forEach((row, at) => {
          const wanted = must(rows[at], 'the row');
          if (!row.key.equals(wanted.key) || !row.value.equals(wanted.value)) throw new Error(`row ${at}`);
        });
      },
    ),
  );
  t.end();
});

void t.test('arbitrary bytes are rows or refused, and nothing else happens', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (array, chunkBytes) => {
      try {
        unpacked(cutChunks(Buffer.from(array), chunkBytes));
      } catch (error) {
        if (!(error instanceof PackedRowsError)) throw error;
      }
    }),
  );
  t.end();
});

void t.test('a row that claims more than packedRowBytesMax is refused before its bytes are there', (t) => {
  const head = Buffer.alloc(9);
  head[0] = tag;
  head.writeUInt32BE(packedRowBytesMax, 5);
  for (const chunks of [[head], [head.subarray(0, 4), head.subarray(4)]]) {
    t.throws(() => unpacked(chunks), /a packed row of \d+ bytes/);
  }
  t.end();
});

void t.test('a wrong count, rows after the end and an early end are refused', (t) => {
  const row = { key: Buffer.from('a'), value: Buffer.from('1') };
  const whole = packed([row, row]);
  t.equal(unpacked([whole]).length, 2);
  t.throws(() => unpacked([whole.subarray(0, -1)]), /end early/);
  t.throws(() => unpacked([whole, packed([])]), /after their end/);
  t.throws(() => unpacked([packed([row]).subarray(0, 11), packedEnd(2)]), /count of packed rows/);
  t.end();
});

void t.test('a loader puts its prefix before each key and takes only keys of its range and length', (t) => {
  const prefix = Buffer.from('p/');
  const target = { tag, prefix, start: Buffer.from('p/b'), end: Buffer.from('p/d') };
  const load = (row: Row, keyBytes?: number): [string, string][] => {
    const found: [string, string][] = [];
    const targets = [keyBytes === undefined ? target : { ...target, keyBytes }];
    const loader = new RowLoader(targets, (key, value) => found.push([key.toString(), value.toString()]));
    loader.load(packed([row]));
    loader.finish();
    return found;
  };
  const row = (key: string): Row => ({ key: Buffer.from(key), value: Buffer.from('value') });
  t.same(load(row('b')), [['p/b', 'value']]);
  t.same(load(row('cc')), [['p/cc', 'value']]);
  for (const key of ['a', 'd']) t.throws(() => load(row(key)), /outside of its range/);
  t.throws(() => load(row('cc'), 1), /outside of its range/);
  t.end();
});
