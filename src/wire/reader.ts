import { assert } from '../base/assert.js';
import { frameItemsMax, varintBytesMax } from './limits.js';
import { WireError } from './wire_error.js';

/** Wire types of the protobuf encoding that proto3 uses. Groups (3 and 4) are refused. */
export const wireVarint = 0;
export const wireFixed64 = 1;
export const wireBytes = 2;
export const wireFixed32 = 5;

const twoTo28 = 2 ** 28;

/**
 * Reads one protobuf message, and the messages nested in it, from a buffer. Every byte string that it
 * returns is a view of that buffer: a copy is the business of whoever keeps it for long.
 *
 * All methods throw WireError when the bytes end early or a number passes 2^53 - 1.
 */
export class Reader {
  readonly buffer: Buffer;
  /** Position of the next byte. */
  pos = 0;
  /** End of the message that is being read. */
  end: number;
  private itemsLeft = frameItemsMax;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
    this.end = buffer.length;
  }

  /** True while the present message has more fields. */
  more(): boolean {
    return this.pos < this.end;
  }

  /** The next field's tag: field number times 8 plus wire type. Never 0. */
  tag(): number {
    const tag = this.varint();
    if (tag < 8 || tag > 0xffff_ffff) throw new WireError(`bad tag ${tag} at byte ${this.pos}`);
    return tag;
  }

  /** An unsigned number below 2^53. */
  varint(): number {
    const { buffer, end } = this;
    let pos = this.pos;
    if (pos >= end) throw new WireError('the message ends inside a number');
    let byte = buffer[pos++] ?? 0;
    if (byte < 0x80) {
      this.pos = pos;
      return byte;
    }
    let value = byte & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      if (pos >= end) throw new WireError('the message ends inside a number');
      byte = buffer[pos++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.pos = pos;
        return value;
      }
    }
    return this.longVarint(pos, value);
  }

  /** The rest of a number from its fifth byte on, where 32-bit operations no longer hold it. */
  private longVarint(from: number, low: number): number {
    let pos = from;
    let value = low;
    let factor = twoTo28;
    for (let read = 4; read < varintBytesMax; read++) {
      if (pos >= this.end) throw new WireError('the message ends inside a number');
      const byte = this.buffer[pos++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (value > Number.MAX_SAFE_INTEGER) throw new WireError('a number passes 2^53 - 1');
      if (byte < 0x80) {
        this.pos = pos;
        return value;
      }
      factor *= 128;
    }
    throw new WireError('a number takes more than ten bytes');
  }

  /** An unsigned number below 2^32. */
  uint32(): number {
    const value = this.varint();
    if (value > 0xffff_ffff) throw new WireError('a 32-bit number passes 2^32 - 1');
    return value;
  }

  bool(): boolean {
    return this.varint() !== 0;
  }

  /** A length-delimited field, as a view. */
  bytes(): Buffer {
    const length = this.length();
    const start = this.pos;
    this.pos = start + length;
    return this.buffer.subarray(start, this.pos);
  }

  /** A length-delimited field as text; bytes that are not UTF-8 become U+FFFD. */
  text(): string {
    const length = this.length();
    const start = this.pos;
    this.pos = start + length;
    return this.buffer.toString('utf8', start, this.pos);
  }

  /** Enters a nested message and returns what leave() needs. */
  enter(): number {
    const length = this.length();
    const outerEnd = this.end;
    this.end = this.pos + length;
    return outerEnd;
  }

  leave(outerEnd: number): void {
    assert(this.pos === this.end && this.end <= outerEnd, 'a nested message is left at its end');
    this.end = outerEnd;
  }

  /** Counts an element of a repeated field against the frame's limit. */
  countItem(): void {
    this.itemsLeft--;
    if (this.itemsLeft < 0) throw new WireError(`a frame holds more than ${frameItemsMax} elements`);
  }

  /** Appends the numbers of a repeated field that may come packed or one by one; false: neither wire type. */
  numbers(tag: number, into: number[]): boolean {
    if ((tag & 7) === wireVarint) {
      this.countItem();
      into.push(this.varint());
      return true;
    }
    if ((tag & 7) !== wireBytes) return false;
    const outerEnd = this.enter();
    while (this.more()) {
      this.countItem();
      into.push(this.varint());
    }
    this.leave(outerEnd);
    return true;
  }

  /** Passes over a field that this version does not know. */
  skip(tag: number): void {
    switch (tag & 7) {
      case wireVarint:
        this.skipVarint();
        return;
      case wireFixed64:
        this.advance(8);
        return;
      case wireBytes:
        this.advance(this.length());
        return;
      case wireFixed32:
        this.advance(4);
        return;
      default:
        throw new WireError(`bad wire type ${tag & 7}`);
    }
  }

  /** An unknown field may be negative or beyond 2^53, which is no fault as long as nobody reads it. */
  private skipVarint(): void {
    for (let read = 0; read < varintBytesMax; read++) {
      if (this.pos >= this.end) throw new WireError('the message ends inside a number');
      if ((this.buffer[this.pos++] ?? 0) < 0x80) return;
    }
    throw new WireError('a number takes more than ten bytes');
  }

  private advance(count: number): void {
    if (count > this.end - this.pos) throw new WireError('the message ends inside a field');
    this.pos += count;
  }

  private length(): number {
    const length = this.varint();
    if (length > this.end - this.pos) throw new WireError('the message ends inside a field');
    return length;
  }
}
