import type { Database, RawIterator, RocksdbBinding, RowsResult } from './rocksdb_binding.js';
import type { ScanOptions, ScanPage } from './engine.js';
import { sizeSliceBytes, sizeSliceRows, viewSliceBytes, viewSliceRows } from './limits.js';
import { firstKey, pastEveryKey } from './reserved_keys.js';
import type { CountedSlice } from './size_map.js';

const none = Buffer.alloc(0);
const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;

interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Appends key, value, key, value … to `rows`. */
function appendRows(rows: Row[], flat: readonly (Buffer | undefined)[]): void {
  for (let i = 0; i < flat.length; i += 2) rows.push({ key: flat[i] ?? none, value: flat[i + 1] ?? none });
}

/** One page as of now, on the calling thread. */
export function scanNow(binding: RocksdbBinding, db: Database, options: ScanOptions): ScanPage {
  const iterator = binding.iterator_init(db, {
    gte: options.start.length === 0 ? firstKey : options.start,
    lt: options.end.length === 0 ? pastEveryKey : options.end,
    reverse: options.reverse,
    values: !options.keysOnly,
    // The iterator stops once it has read more than this, the page once it holds maxBytes.
    highWaterMarkBytes: options.maxBytes - 1,
    ...encodings,
  });
  try {
    const rows: Row[] = [];
    const { rows: flat, finished } = binding.iterator_nextv_sync(iterator, options.limit);
    appendRows(rows, flat);
    const more = !finished && binding.iterator_nextv_sync(iterator, 1).rows.length > 0;
    return { rows, more };
  } finally {
    binding.iterator_close(iterator);
  }
}

/** Counts a bounded part of [start, end). */
export function countSlice(
  binding: RocksdbBinding,
  db: Database,
  start: Buffer,
  end: Buffer,
  slices: number,
): CountedSlice {
  const page = scanNow(binding, db, {
    start,
    end,
    limit: slices * sizeSliceRows,
    maxBytes: slices * sizeSliceBytes,
    reverse: false,
    keysOnly: false,
  });
  let bytes = 0;
  for (const { key, value } of page.rows) bytes += key.length + value.length;
  const last = page.rows.at(-1);
  const next = page.more && last !== undefined ? Buffer.concat([last.key, Buffer.from([0])]) : null;
  return { bytes, keys: page.rows.length, next, middle: middleOf(page.rows, bytes / 2) };
}

/** The first key but one that has `half` bytes or more before it, or the last key. */
function middleOf(rows: readonly Row[], half: number): Buffer | null {
  let before = 0;
  let middle: Buffer | null = null;
  for (const { key, value } of rows) {
    if (before > 0) middle = key;
    if (middle !== null && before >= half) break;
    before += key.length + value.length;
  }
  return middle;
}

/** Rows of an iterator, from one of them on. */
interface Slice extends RowsResult {
  readonly from: number;
}

/** A slice whose rows before `from` were returned; `after` is the last of them. */
interface Rest extends Slice {
  readonly after: Buffer;
}

/**
 * A consistent view: two iterators, one for each direction, made with no write between them. Pages are read on
 * libuv's threads, so that a snapshot of a large shard does not hold up writes; a view reads one page at a time.
 */
export class RocksdbView {
  private readonly binding: RocksdbBinding;
  private readonly forward: RawIterator;
  private readonly backward: RawIterator;
  /** What was read beyond the last page; the next page most often begins with it. */
  private rest: Rest | null = null;
  private last: Promise<unknown> = Promise.resolve();

  constructor(binding: RocksdbBinding, db: Database) {
    const options = { values: true, highWaterMarkBytes: viewSliceBytes, ...encodings };
    this.binding = binding;
    this.forward = binding.iterator_init(db, { ...options, reverse: false });
    this.backward = binding.iterator_init(db, { ...options, reverse: true });
  }

  scan(options: ScanOptions): Promise<ScanPage> {
    const page = this.last.then(() => this.page(options));
    // The next page waits for this one, whatever becomes of it; its failure belongs to its caller.
    this.last = page.then(
      () => undefined,
      () => undefined,
    );
    return page;
  }

  /** After the pages asked for so far. */
  close(): Promise<void> {
    return this.last.then(() => {
      this.binding.iterator_close(this.forward);
      this.binding.iterator_close(this.backward);
    });
  }

  private async page(options: ScanOptions): Promise<ScanPage> {
    const { reverse, limit, maxBytes, keysOnly } = options;
    const start = options.start.length === 0 ? firstKey : options.start;
    const end = options.end.length === 0 ? pastEveryKey : options.end;
    const iterator = reverse ? this.backward : this.forward;
    const rows: Row[] = [];
    let bytes = 0;
    let slice = this.takeRest(start, reverse);
    if (slice === null) this.binding.iterator_seek(iterator, reverse ? end : start);
    for (;;) {
      slice ??= { ...(await this.next(iterator, Math.min(limit - rows.length + 1, viewSliceRows))), from: 0 };
      const { rows: flat, finished } = slice;
      for (let i = slice.from; i < flat.length; i += 2) {
        const key = flat[i] ?? none;
        const value = keysOnly ? none : (flat[i + 1] ?? none);
        if (reverse && Buffer.compare(key, end) >= 0) continue;
        if (reverse ? Buffer.compare(key, start) < 0 : Buffer.compare(key, end) >= 0) return { rows, more: false };
        if (rows.length >= limit || bytes >= maxBytes) {
          if (!reverse) this.rest = { rows: flat, from: i, finished, after: rows.at(-1)?.key ?? none };
          return { rows, more: true };
        }
        rows.push({ key, value });
        bytes += key.length + value.length;
      }
      if (finished) return { rows, more: false };
      slice = null;
    }
  }

  /** The rows read beyond the last page, if a page from `start` on goes on right there. Forgets them in any case. */
  private takeRest(start: Buffer, reverse: boolean): Slice | null {
    const { rest } = this;
    this.rest = null;
    if (rest === null || reverse) return null;
    const { after } = rest;
    const follows =
      start.length === after.length + 1 && start[after.length] === 0 && after.equals(start.subarray(0, -1));
    return follows ? rest : null;
  }

  private next(iterator: RawIterator, rows: number): Promise<RowsResult> {
    return new Promise((resolve, reject) => {
      this.binding.iterator_nextv(iterator, rows, (error, result) => {
        if (error === null) resolve(result);
        else reject(error);
      });
    });
  }
}
