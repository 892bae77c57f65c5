import { assert } from '../base/assert.js';
import { arenaBytesGuessMax, arenaBytesMin } from './limits.js';

/** Bytes at the start of each arena that say how much of it is used. */
const headerBytes = 4;

/**
 * Packs records into buffers that can be handed to another thread without copying (transferred).
 * A record never spans two arenas: reserve() returns room for all of it.
 *
 *   arena:  used u32 │ record │ record │ …
 *
 * Integers are little-endian.
 */
export class ArenaWriter {
  /** The arena being filled, and where the record reserved last may be written. */
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(this.bytes.buffer);
  private used = 0;
  private full: ArrayBuffer[] = [];
  private guess = arenaBytesMin;

  /** Room for one record of `length` bytes in `this.bytes`; returns its offset. */
  reserve(length: number): number {
    if (this.used + length > this.bytes.length) this.next(length);
    const at = this.used;
    this.used += length;
    return at;
  }

  get empty(): boolean {
    return this.full.length === 0 && this.used === 0;
  }

  /** Takes the oldest arenas, at least one and no more than about `bytesMax` bytes. The writer must not be empty. */
  take(bytesMax: number): ArrayBuffer[] {
    if (this.used > 0) this.seal();
    let count = 0;
    let bytes = 0;
    for (const arena of this.full) {
      if (count > 0 && bytes + arena.byteLength > bytesMax) break;
      bytes += arena.byteLength;
      count++;
    }
    assert(count > 0, 'something to take');
    return this.full.splice(0, count);
  }

  private next(length: number): void {
    if (this.used > 0) this.seal();
    const size = Math.max(headerBytes + length, this.guess);
    // allocUnsafeSlow: not zeroed, not part of Node's shared pool, hence transferable.
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.view = new DataView(this.bytes.buffer, 0, size);
    this.used = headerBytes;
  }

  private seal(): void {
    const { buffer } = this.bytes;
    assert(buffer instanceof ArrayBuffer, 'an arena is a plain ArrayBuffer');
    this.view.setUint32(0, this.used, true);
    this.full.push(buffer);
    // The next arena is about as large as this one was full, so that steady traffic needs one of them per message.
    this.guess = Math.min(Math.max(arenaBytesMin, this.used + (this.used >>> 2)), arenaBytesGuessMax);
    this.bytes = new Uint8Array(0);
    this.used = 0;
  }
}

/** Reads what an ArenaWriter packed, one arena at a time. Slices are views into the arena. */
export class ArenaReader {
  readonly buffer: ArrayBuffer;
  private readonly view: DataView;
  private readonly end: number;
  private at = headerBytes;

  constructor(arena: ArrayBuffer) {
    this.buffer = arena;
    this.view = new DataView(arena);
    this.end = this.view.getUint32(0, true);
    assert(this.end >= headerBytes && this.end <= arena.byteLength, 'an arena knows its length');
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  u8(): number {
    return this.view.getUint8(this.at++);
  }

  u32(): number {
    const value = this.view.getUint32(this.at, true);
    this.at += 4;
    return value;
  }

  f64(): number {
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  slice(length: number): Buffer {
    assert(this.at + length <= this.end, 'a slice lies in its arena');
    const out = Buffer.from(this.buffer, this.at, length);
    this.at += length;
    return out;
  }
}
