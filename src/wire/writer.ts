import { assert } from '../base/assert.js';

const twoTo31 = 2 ** 31;

/** Bytes that a number takes as a varint. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  if (value < 2 ** 35) return 5;
  if (value < 2 ** 42) return 6;
  if (value < 2 ** 49) return 7;
  return 8;
}

/** Bytes of a number's field with a one-byte tag; zero is not written. */
export function numberFieldSize(value: number): number {
  return value === 0 ? 0 : 1 + varintSize(value);
}

/** Bytes of a length-delimited field with a one-byte tag, present even when it is empty. */
export function bytesFieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

/**
 * Fills a buffer whose size was computed first: one allocation per frame, whatever is in it. Tags
 * are single bytes, because no field number of the protocol's hot messages passes 15.
 */
export class Writer {
  private readonly buffer: Buffer;
  private pos = 0;

  constructor(sizeBytes: number) {
    this.buffer = Buffer.allocUnsafe(sizeBytes);
  }

  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'numbers on the wire lie in [0, 2^53)');
    const { buffer } = this;
    let pos = this.pos;
    let rest = value;
    while (rest >= twoTo31) {
      buffer[pos++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 0x80) {
      buffer[pos++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    buffer[pos++] = rest;
    this.pos = pos;
  }

  tag(tag: number): void {
    this.buffer[this.pos++] = tag;
  }

  /** A number's field; nothing when it is zero. */
  numberField(tag: number, value: number): void {
    if (value === 0) return;
    this.tag(tag);
    this.varint(value);
  }

  boolField(tag: number, value: boolean): void {
    if (value) this.numberField(tag, 1);
  }

  /** A length-delimited field, written even when it is empty. */
  bytesField(tag: number, value: Buffer): void {
    this.tag(tag);
    this.varint(value.length);
    this.raw(value);
  }

  /** Tag and length of a nested message; its fields follow. */
  messageHead(tag: number, sizeBytes: number): void {
    this.tag(tag);
    this.varint(sizeBytes);
  }

  /** Bytes as they are. */
  raw(value: Buffer): void {
    this.buffer.set(value, this.pos);
    this.pos += value.length;
  }

  /** The full buffer. The size computed first and the bytes written must agree. */
  finish(): Buffer {
    assert(this.pos === this.buffer.length, () => `wrote ${this.pos} bytes of ${this.buffer.length}`);
    return this.buffer;
  }
}
