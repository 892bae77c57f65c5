import { assert, must } from '../base/assert.js';
import type { ScanOptions, ScanPage } from './engine.js';

/** Keys of one chunk before it is cut in two. Small enough to copy, large enough that the list of chunks stays short. */
const chunkKeysMax = 128;

const none = Buffer.alloc(0);
const wholeRange = { limit: Infinity, maxBytes: Infinity, reverse: false, keysOnly: false };

/** A run of neighbouring rows. Only the map whose `owner` mark it carries may change it. */
interface Chunk {
  readonly owner: object;
  readonly keys: Buffer[];
  readonly values: Buffer[];
  bytes: number;
}

/** A place between rows: before row `row` of chunk `chunk`. `row` is below the chunk's length, except at the end. */
interface Place {
  readonly chunk: number;
  readonly row: number;
}

/**
 * An ordered map of buffers as a sorted list of sorted chunks. copy() shares the chunks; whichever map then
 * changes one first makes its own copy of that chunk, so a copy costs what is changed after it.
 */
export class SortedMap {
  private owner: object = {};
  private chunks: Chunk[] = [];

  /** A map of the same rows; from now on neither sees changes of the other. */
  copy(): SortedMap {
    const other = new SortedMap();
    other.chunks = this.chunks.slice();
    // A new mark disowns all chunks at once: both maps must copy a chunk before they change it.
    this.owner = {};
    return other;
  }

  /** Bytes of all keys and values. */
  get bytes(): number {
    let bytes = 0;
    for (const chunk of this.chunks) bytes += chunk.bytes;
    return bytes;
  }

  get(key: Buffer): Buffer | null {
    const chunk = this.chunks[this.chunkOf(key)];
    if (chunk === undefined) return null;
    const row = lowerBound(chunk.keys, key);
    return chunk.keys[row]?.equals(key) === true ? (chunk.values[row] ?? null) : null;
  }

  put(key: Buffer, value: Buffer): void {
    if (this.chunks.length === 0) {
      this.chunks.push({ owner: this.owner, keys: [key], values: [value], bytes: key.length + value.length });
      return;
    }
    const at = this.chunkOf(key);
    const chunk = this.own(at);
    const row = lowerBound(chunk.keys, key);
    const old = chunk.keys[row]?.equals(key) === true ? chunk.values[row] : undefined;
    chunk.bytes += value.length - (old?.length ?? -key.length);
    if (old !== undefined) {
      chunk.values[row] = value;
      return;
    }
    chunk.keys.splice(row, 0, key);
    chunk.values.splice(row, 0, value);
    if (chunk.keys.length > chunkKeysMax) this.cut(at, chunk);
  }

  delete(key: Buffer): void {
    const at = this.chunkOf(key);
    const found = this.chunks[at];
    if (found === undefined) return;
    const row = lowerBound(found.keys, key);
    if (found.keys[row]?.equals(key) !== true) return;
    this.removeRows(at, row, row + 1);
    if (this.chunks[at]?.keys.length === 0) this.chunks.splice(at, 1);
  }

  /** Removes [start, end); an empty end is the end of the map. */
  deleteRange(start: Buffer, end: Buffer): void {
    const from = this.place(start);
    const to = end.length === 0 ? { chunk: this.chunks.length, row: 0 } : this.place(end);
    if (to.chunk < from.chunk || (to.chunk === from.chunk && to.row <= from.row)) return;
    if (to.chunk === from.chunk) {
      this.removeRows(from.chunk, from.row, to.row);
    } else {
      if (to.row > 0) this.removeRows(to.chunk, 0, to.row);
      const rows = must(this.chunks[from.chunk], 'the chunk of the start').keys.length;
      if (from.row < rows) this.removeRows(from.chunk, from.row, rows);
      this.chunks.splice(from.chunk + 1, to.chunk - from.chunk - 1);
    }
    if (this.chunks[from.chunk]?.keys.length === 0) this.chunks.splice(from.chunk, 1);
  }

  page(options: ScanOptions): ScanPage {
    return options.reverse ? this.pageBackward(options) : this.pageForward(options);
  }

  /** Bytes and keys in [start, end), exactly. */
  measure(start: Buffer, end: Buffer): { bytes: number; keys: number } {
    const from = this.place(start);
    let bytes = 0;
    let keys = 0;
    for (let at = from.chunk; at < this.chunks.length; at++) {
      const chunk = must(this.chunks[at], 'a chunk');
      const first = at === from.chunk ? from.row : 0;
      const last = end.length === 0 ? chunk.keys.length : lowerBound(chunk.keys, end);
      if (first === 0 && last === chunk.keys.length) {
        bytes += chunk.bytes;
        keys += last;
      } else {
        for (let row = first; row < last; row++) bytes += rowBytes(chunk, row);
        keys += Math.max(0, last - first);
      }
      if (last < chunk.keys.length) break;
    }
    return { bytes, keys };
  }

  /** The first key of [start, end) but one that has half of its bytes or more before it, or the last one. */
  middle(start: Buffer, end: Buffer): Buffer | null {
    const half = this.measure(start, end).bytes / 2;
    const { rows } = this.pageForward({ ...wholeRange, start, end });
    let before = 0;
    let middle: Buffer | null = null;
    for (const { key, value } of rows) {
      if (before > 0) middle = key;
      if (middle !== null && before >= half) break;
      before += key.length + value.length;
    }
    return middle;
  }

  private pageForward({ start, end, limit, maxBytes, keysOnly }: ScanOptions): ScanPage {
    const rows: { key: Buffer; value: Buffer }[] = [];
    let bytes = 0;
    let { chunk: at, row } = this.place(start);
    for (; at < this.chunks.length; at++, row = 0) {
      const { keys, values } = must(this.chunks[at], 'a chunk');
      for (; row < keys.length; row++) {
        const key = must(keys[row], 'a key');
        if (end.length > 0 && Buffer.compare(key, end) >= 0) return { rows, more: false };
        if (rows.length >= limit || bytes >= maxBytes) return { rows, more: true };
        const value = keysOnly ? none : must(values[row], 'a value');
        rows.push({ key, value });
        bytes += key.length + value.length;
      }
    }
    return { rows, more: false };
  }

  private pageBackward({ start, end, limit, maxBytes, keysOnly }: ScanOptions): ScanPage {
    const rows: { key: Buffer; value: Buffer }[] = [];
    let bytes = 0;
    const from = end.length === 0 ? { chunk: this.chunks.length, row: 0 } : this.place(end);
    for (let at = from.chunk; at >= 0; at--) {
      const chunk = this.chunks[at];
      if (chunk === undefined) continue;
      const { keys, values } = chunk;
      for (let row = (at === from.chunk ? from.row : keys.length) - 1; row >= 0; row--) {
        const key = must(keys[row], 'a key');
        if (Buffer.compare(key, start) < 0) return { rows, more: false };
        if (rows.length >= limit || bytes >= maxBytes) return { rows, more: true };
        const value = keysOnly ? none : must(values[row], 'a value');
        rows.push({ key, value });
        bytes += key.length + value.length;
      }
    }
    return { rows, more: false };
  }

  /** The chunk that holds `key` or would: the last one whose first key is not greater, or the first one. */
  private chunkOf(key: Buffer): number {
    let low = 0;
    let high = this.chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const first = must(this.chunks[middle]?.keys[0], 'a chunk is not empty');
      if (Buffer.compare(first, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** The place before the first key that is not less than `key`. */
  private place(key: Buffer): Place {
    const at = this.chunkOf(key);
    const chunk = this.chunks[at];
    if (chunk === undefined) return { chunk: 0, row: 0 };
    const row = lowerBound(chunk.keys, key);
    return row < chunk.keys.length ? { chunk: at, row } : { chunk: at + 1, row: 0 };
  }

  private own(at: number): Chunk {
    const chunk = must(this.chunks[at], 'a chunk');
    if (chunk.owner === this.owner) return chunk;
    const mine = { owner: this.owner, keys: chunk.keys.slice(), values: chunk.values.slice(), bytes: chunk.bytes };
    this.chunks[at] = mine;
    return mine;
  }

  private removeRows(at: number, from: number, to: number): void {
    const chunk = this.own(at);
    assert(from < to && to <= chunk.keys.length, 'rows to remove');
    for (let row = from; row < to; row++) chunk.bytes -= rowBytes(chunk, row);
    chunk.keys.splice(from, to - from);
    chunk.values.splice(from, to - from);
  }

  private cut(at: number, chunk: Chunk): void {
    const half = chunk.keys.length >>> 1;
    const right = { owner: this.owner, keys: chunk.keys.splice(half), values: chunk.values.splice(half), bytes: 0 };
    for (let row = 0; row < right.keys.length; row++) right.bytes += rowBytes(right, row);
    chunk.bytes -= right.bytes;
    this.chunks.splice(at + 1, 0, right);
  }
}

function rowBytes(chunk: Chunk, row: number): number {
  return must(chunk.keys[row], 'a key').length + must(chunk.values[row], 'a value').length;
}

/** The first index whose key is not less than `key`. */
function lowerBound(keys: readonly Buffer[], key: Buffer): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(must(keys[middle], 'a key'), key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
