import { assert, must } from '../base/assert.js';
import type { LoadTarget } from './engine.js';
import { packedRowBytesMax } from './limits.js';

/**
 * Rows as a run of bytes, version 1, for moving a range from one engine to another: rows, then a closing count, cut into
 * chunks anywhere (a value may be larger than a chunk). Integers are big-endian.
 *
 *   tag u8 ‖ key length u32 ‖ value length u32 ‖ key ‖ value
 *     endTag          key = rows before it u64, no value; the last row
 *     any other tag   the range that the row is of, and with it what stands before its key in the engine
 *
 * The storage thread packs and unpacks, so that the event loop handles chunks alone. What comes in is checked as if anybody
 * had sent it.
 */
export const endTag = 3;

/** Bytes of a row before its key. */
const headBytes = 9;
const countBytes = 8;

/** Bytes that are no packed rows, or not of the ranges that were named. */
export class PackedRowsError extends Error {
  override readonly name = 'PackedRowsError';
}

interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Bytes that rows take, each without the first `skip` bytes of its key. */
export function packedBytes(rows: readonly Row[], skip: number): number {
  let bytes = 0;
  for (const { key, value } of rows) bytes += headBytes + key.length - skip + value.length;
  return bytes;
}

/** Writes rows to `out` from `at` on; returns where they end. */
export function packRows(out: Buffer, at: number, rows: readonly Row[], tag: number, skip: number): number {
  assert(tag !== endTag, 'a tag that rows may have');
  for (const { key, value } of rows) {
    const keyLength = key.length - skip;
    out[at] = tag;
    out.writeUInt32BE(keyLength, at + 1);
    out.writeUInt32BE(value.length, at + 5);
    at += headBytes;
    key.copy(out, at, skip);
    at += keyLength;
    out.set(value, at);
    at += value.length;
  }
  return at;
}

/** The closing count. */
export function packedEnd(rows: number): Buffer {
  const out = Buffer.alloc(headBytes + countBytes);
  out[0] = endTag;
  out.writeUInt32BE(countBytes, 1);
  out.writeBigUInt64BE(BigInt(rows), headBytes);
  return out;
}

/** Takes the row that begins at `at`: key and value lie behind its head. It may write to the row's bytes. */
type TakeRow = (tag: number, bytes: Buffer, at: number, keyLength: number, valueLength: number) => void;

/** Rows from chunks, whatever the cuts. Holds no more than the row that a cut goes through. */
export class RowUnpacker {
  private readonly take: TakeRow;
  /** What there is of a row whose rest is to come, and its bytes; how many it needs: all, or those of its head. */
  private begun: Buffer[] = [];
  private begunBytes = 0;
  private neededBytes = headBytes;
  private rows = 0;
  private ended = false;

  constructor(take: TakeRow) {
    this.take = take;
  }

  /** @throws PackedRowsError on bytes that cannot be */
  push(chunk: Buffer): void {
    let at = this.begunBytes === 0 ? 0 : this.complete(chunk);
    while (chunk.length - at >= headBytes) {
      const length = rowBytes(chunk, at);
      if (chunk.length - at < length) break;
      this.row(chunk, at);
      at += length;
    }
    if (at < chunk.length) this.begin(chunk.subarray(at));
  }

  /** The number of rows. @throws PackedRowsError unless the closing count was there and right */
  finish(): number {
    if (!this.ended || this.begunBytes > 0) throw new PackedRowsError('the packed rows end early');
    return this.rows;
  }

  private begin(part: Buffer): void {
    this.begun = [part];
    this.begunBytes = part.length;
    this.neededBytes = part.length < headBytes ? headBytes : rowBytes(part, 0);
  }

  /** Goes on with the row that is begun; returns how many bytes of the chunk it took. */
  private complete(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.begunBytes > 0) {
      const part = chunk.subarray(at, at + this.neededBytes - this.begunBytes);
      this.begun.push(part);
      this.begunBytes += part.length;
      at += part.length;
      if (this.begunBytes < this.neededBytes) continue;
      const bytes = Buffer.concat(this.begun);
      const length = rowBytes(bytes, 0);
      if (length > bytes.length) {
        this.begin(bytes);
      } else {
        this.begun = [];
        this.begunBytes = 0;
        this.row(bytes, 0);
      }
    }
    return at;
  }

  private row(bytes: Buffer, at: number): void {
    if (this.ended) throw new PackedRowsError('packed rows go on after their end');
    const tag = bytes[at] ?? 0;
    const keyLength = bytes.readUInt32BE(at + 1);
    if (tag !== endTag) {
      this.take(tag, bytes, at, keyLength, bytes.readUInt32BE(at + 5));
      this.rows++;
      return;
    }
    if (keyLength !== countBytes || Number(bytes.readBigUInt64BE(at + headBytes)) !== this.rows) {
      throw new PackedRowsError(`the count of packed rows is not ${this.rows}`);
    }
    this.ended = true;
  }
}

function rowBytes(bytes: Buffer, at: number): number {
  const length = headBytes + bytes.readUInt32BE(at + 1) + bytes.readUInt32BE(at + 5);
  if (length > packedRowBytesMax) throw new PackedRowsError(`a packed row of ${length} bytes`);
  return length;
}

/** Packed rows on their way into an engine: each row's key is checked and gets the prefix of its target. */
export class RowLoader {
  private readonly targets = new Map<number, LoadTarget>();
  private readonly put: (key: Buffer, value: Buffer) => void;
  private readonly unpacker = new RowUnpacker((tag, bytes, at, keyLength, valueLength) =>
    this.row(tag, bytes, at, keyLength, valueLength),
  );

  constructor(targets: readonly LoadTarget[], put: (key: Buffer, value: Buffer) => void) {
    for (const target of targets) {
      assert(target.prefix.length <= headBytes && target.tag !== endTag, 'a target that rows can have');
      this.targets.set(target.tag, target);
    }
    this.put = put;
  }

  /** Puts the rows that are complete with this chunk, which it overwrites. @throws PackedRowsError */
  load(chunk: Buffer): void {
    this.unpacker.push(chunk);
  }

  /** The number of rows. @throws PackedRowsError unless they were all of them */
  finish(): number {
    return this.unpacker.finish();
  }

  private row(tag: number, bytes: Buffer, at: number, keyLength: number, valueLength: number): void {
    const target = this.targets.get(tag);
    if (target === undefined) throw new PackedRowsError('a packed row of an unknown kind');
    const { prefix, start, end } = target;
    const keyAt = at + headBytes;
    // The head has been read: the prefix takes its last bytes, so that the key need not be copied.
    bytes.set(prefix, keyAt - prefix.length);
    const key = bytes.subarray(keyAt - prefix.length, keyAt + keyLength);
    const fits = target.keyBytes === undefined || target.keyBytes === keyLength;
    if (!fits || Buffer.compare(key, start) < 0 || Buffer.compare(key, end) >= 0) {
      throw new PackedRowsError('a packed row lies outside of its range');
    }
    this.put(key, bytes.subarray(keyAt + keyLength, keyAt + keyLength + valueLength));
  }
}

/** A page of packed rows as chunks of equal size, at most chunkBytes. */
export function cutChunks(bytes: Buffer, chunkBytes: number): Buffer[] {
  const chunks: Buffer[] = [];
  const size = Math.ceil(bytes.length / Math.ceil(bytes.length / chunkBytes));
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}

/** Where a scan of a range goes on after a page; null: it was the last one. */
export function nextStart(page: { readonly rows: readonly Row[]; readonly more: boolean }): Buffer | null {
  return page.more ? Buffer.concat([must(page.rows.at(-1), 'a row').key, Buffer.from([0])]) : null;
}
