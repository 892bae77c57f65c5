import type { RangeSize, ScanOptions, ScanPage } from './engine.js';
import { viewSliceBytes } from './limits.js';
import { firstKey, pastEveryKey } from './reserved_keys.js';
import type { DevDatabase, DevIterator } from './rocksdb_dev_binding.js';

const none = Buffer.alloc(0);

interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

function nextRow(iterator: DevIterator): Promise<Row | null> {
  return new Promise((resolve, reject) => {
    iterator.next((error, key, value) => {
      if (error instanceof Error) reject(error);
      else resolve(key === undefined ? null : { key, value: value ?? none });
    });
  });
}

export function endIterator(iterator: DevIterator): Promise<void> {
  return new Promise((resolve, reject) =>
    iterator.end((error) => (!(error instanceof Error) ? resolve() : reject(error))),
  );
}

export function newIterator(db: DevDatabase, reverse: boolean, values: boolean): DevIterator {
  return db.iterator({ reverse, values, highWaterMark: viewSliceBytes });
}

function bounded({ start, end }: { readonly start: Buffer; readonly end: Buffer }): { start: Buffer; end: Buffer } {
  return {
    start: Buffer.compare(start, firstKey) < 0 ? firstKey : start,
    end: end.length === 0 ? pastEveryKey : end,
  };
}

/** The rows of [start, end), from an iterator over everything. Stop it by leaving the loop. */
export async function* rowsOf(
  iterator: DevIterator,
  range: { readonly start: Buffer; readonly end: Buffer },
  reverse: boolean,
): AsyncIterable<Row> {
  const { start, end } = bounded(range);
  if (Buffer.compare(start, end) >= 0) return;
  iterator.seek(reverse ? end : start);
  for (let row = await nextRow(iterator); row !== null; row = await nextRow(iterator)) {
    if (reverse && Buffer.compare(row.key, end) >= 0) continue;
    if (reverse ? Buffer.compare(row.key, start) < 0 : Buffer.compare(row.key, end) >= 0) return;
    yield row;
  }
}

export async function readPage(iterator: DevIterator, options: ScanOptions): Promise<ScanPage> {
  const { limit, maxBytes, keysOnly, reverse } = options;
  const rows: Row[] = [];
  let bytes = 0;
  for await (const { key, value } of rowsOf(iterator, options, reverse)) {
    if (rows.length >= limit || bytes >= maxBytes) return { rows, more: true };
    rows.push({ key, value: keysOnly ? none : value });
    bytes += key.length + (keysOnly ? 0 : value.length);
  }
  return { rows, more: false };
}

/** By reading all of the range. */
export async function measure(iterator: DevIterator, start: Buffer, end: Buffer): Promise<RangeSize> {
  let bytes = 0;
  let keys = 0;
  for await (const { key, value } of rowsOf(iterator, { start, end }, false)) {
    bytes += key.length + value.length;
    keys++;
  }
  return { bytes, keys, complete: true };
}

/** The first key but one that has half of the range's bytes or more before it, or the last key. */
export async function middleOf(iterator: DevIterator, start: Buffer, end: Buffer): Promise<Buffer | null> {
  const { bytes } = await measure(iterator, start, end);
  let before = 0;
  let middle: Buffer | null = null;
  for await (const { key, value } of rowsOf(iterator, { start, end }, false)) {
    if (before > 0) middle = key;
    if (middle !== null && before >= bytes / 2) break;
    before += key.length + value.length;
  }
  return middle;
}
