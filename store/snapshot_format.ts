import { assert } from '../src/base/assert.js';
import { snapshotRowBytesMax } from './limits.js';

/**
 * The bytes of a shard's snapshot, version 1: a run of rows and a closing count, cut into chunks
 * anywhere (a value may be larger than a chunk). Integers are big-endian.
 *
 *   kind u8 ‖ key length u32 ‖ value length u32 ‖ key ‖ value
 *     session   key = session id u64, value = SessionRecord
 *     data      key = encoded key, value = user's value
 *     end       key = rows before it u64, no value
 */
export const snapshotFormatVersion = 1;

export const RowKind = Object.freeze({ session: 1, data: 2, end: 3 } as const);
export type RowKind = (typeof RowKind)[keyof typeof RowKind];

export interface SnapshotRow {
  readonly kind: RowKind;
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Bytes that are no snapshot of a version that this one reads. */
export class SnapshotFormatError extends Error {
  override readonly name = 'SnapshotFormatError';
}

const headBytes = 9;
const empty = Buffer.alloc(0);

/** Collects rows and hands them out in chunks of equal size. */
export class SnapshotChunker {
  private parts: Buffer[] = [];
  /** Parts at the front that were handed out already. */
  private usedParts = 0;
  private bytes = 0;
  private rows = 0;
  private readonly chunkBytes: number;

  constructor(chunkBytes: number) {
    this.chunkBytes = chunkBytes;
  }

  add(kind: RowKind, key: Buffer, value: Buffer): void {
    const head = Buffer.allocUnsafe(headBytes + key.length);
    head[0] = kind;
    head.writeUInt32BE(key.length, 1);
    head.writeUInt32BE(value.length, 5);
    head.set(key, headBytes);
    this.parts.push(head, value);
    this.bytes += headBytes + key.length + value.length;
    this.rows++;
  }

  /** Adds the closing count. Nothing may be added after it. */
  end(): void {
    const count = Buffer.allocUnsafe(8);
    count.writeBigUInt64BE(BigInt(this.rows));
    this.add(RowKind.end, count, empty);
  }

  /** A full chunk, or null until there is enough for one. */
  takeFull(): Buffer | null {
    return this.bytes >= this.chunkBytes ? this.take(this.chunkBytes) : null;
  }

  /** What is left, at most one chunk; null when there is nothing. */
  takeRest(): Buffer | null {
    return this.bytes === 0 ? null : this.take(Math.min(this.bytes, this.chunkBytes));
  }

  private take(length: number): Buffer {
    const out = Buffer.allocUnsafe(length);
    let filled = 0;
    let used = this.usedParts;
    while (filled < length) {
      const part = this.parts[used];
      assert(part !== undefined, 'the parts hold the bytes that were counted');
      const taken = Math.min(part.length, length - filled);
      part.copy(out, filled, 0, taken);
      filled += taken;
      if (taken < part.length) this.parts[used] = part.subarray(taken);
      else used++;
    }
    this.bytes -= length;
    this.usedParts = used;
    // Handed out parts are let go once nothing full is left, not with every chunk of a long page.
    if (this.bytes < this.chunkBytes) {
      this.parts = this.parts.slice(used);
      this.usedParts = 0;
    }
    return out;
  }
}

/** Rows from chunks, whatever the cuts. */
export class SnapshotRowReader {
  private pending: Buffer = empty;
  private rows = 0;
  private ended = false;

  /** The rows that are complete with this chunk. Throws SnapshotFormatError on bytes that cannot be. */
  *push(chunk: Buffer): IterableIterator<SnapshotRow> {
    let bytes = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    while (bytes.length >= headBytes) {
      const keyLength = bytes.readUInt32BE(1);
      const valueLength = bytes.readUInt32BE(5);
      const length = headBytes + keyLength + valueLength;
      if (length > snapshotRowBytesMax) throw new SnapshotFormatError(`a row of ${length} bytes`);
      if (bytes.length < length) break;
      const row = this.check({
        kind: bytes[0] as RowKind,
        key: bytes.subarray(headBytes, headBytes + keyLength),
        value: bytes.subarray(headBytes + keyLength, length),
      });
      bytes = bytes.subarray(length);
      if (row !== null) yield row;
    }
    this.pending = bytes;
  }

  /** Throws SnapshotFormatError unless the closing count was there and right. */
  finish(): void {
    if (!this.ended || this.pending.length > 0) throw new SnapshotFormatError('the snapshot ends early');
  }

  private check(row: SnapshotRow): SnapshotRow | null {
    if (this.ended) throw new SnapshotFormatError('the snapshot goes on after its end');
    switch (row.kind) {
      case RowKind.session:
        if (row.key.length !== 8) throw new SnapshotFormatError('a session row has a bad key');
        break;
      case RowKind.data:
        break;
      case RowKind.end:
        if (row.key.length !== 8 || Number(row.key.readBigUInt64BE()) !== this.rows) {
          throw new SnapshotFormatError(`the snapshot's count of rows is not ${this.rows}`);
        }
        this.ended = true;
        return null;
      default:
        throw new SnapshotFormatError('a row of an unknown kind');
    }
    this.rows++;
    return row;
  }
}
