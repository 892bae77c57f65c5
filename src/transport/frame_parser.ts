import { frameBytesMax } from '../base/limits.js';
import {
  decodeFrameHead,
  decodePreamble,
  frameHeadBytes,
  preambleBytes,
  type FrameKind,
  type StreamKind,
} from './frame_format.js';

import { firstFrameBytesMax } from './limits.js';

export interface FrameTaker {
  preamble(stream: StreamKind): void;
  frame(kind: FrameKind, payload: Buffer): void;
}

/**
 * Cuts what a socket reads into preamble and frames, wherever the reads begin and end. A frame that lies within one
 * read is a view of it, as short-lived as the frame is: what outlives a turn is copied by who keeps it, and the Raft log
 * copies entries anyway. One that spans reads is put together once, when its last byte is there; nothing
 * is allocated for bytes that were only announced.
 */
export class FrameParser {
  private readonly taker: FrameTaker;
  private expected: 'preamble' | 'head' | FrameKind = 'preamble';
  /** Bytes of what is expected. */
  private neededBytes = preambleBytes;
  /** The beginning of it, as it came. */
  private held: Buffer[] = [];
  private heldBytes = 0;
  /** Nobody has looked at who is speaking before the first frame is through. */
  private lengthBytesMax: number;

  constructor(taker: FrameTaker, firstBytesMax = firstFrameBytesMax) {
    this.taker = taker;
    this.lengthBytesMax = firstBytesMax;
  }

  /** True when nothing is missing of what began. */
  isBetweenFrames(): boolean {
    return this.heldBytes === 0 && this.expected === 'head';
  }

  /** @throws FramingError, after which the parser is of no use. */
  push(chunk: Buffer): void {
    let position = 0;
    for (;;) {
      const end = position + this.neededBytes - this.heldBytes;
      if (end > chunk.length) break;
      const unit = this.assemble(chunk.subarray(position, end));
      position = end;
      this.step(unit);
    }
    if (position === chunk.length) return;
    this.held.push(position === 0 ? chunk : chunk.subarray(position));
    this.heldBytes += chunk.length - position;
  }

  private assemble(last: Buffer): Buffer {
    if (this.heldBytes === 0) return last;
    this.held.push(last);
    const unit = Buffer.concat(this.held, this.neededBytes);
    this.held = [];
    this.heldBytes = 0;
    return unit;
  }

  private step(unit: Buffer): void {
    const { expected } = this;
    if (expected === 'head') {
      const { kind, lengthBytes } = decodeFrameHead(unit, this.lengthBytesMax);
      this.expect(kind, lengthBytes);
      return;
    }
    this.expect('head', frameHeadBytes);
    if (expected === 'preamble') {
      this.taker.preamble(decodePreamble(unit));
      return;
    }
    if (expected === 'data') this.lengthBytesMax = frameBytesMax;
    this.taker.frame(expected, unit);
  }

  private expect(what: 'head' | FrameKind, neededBytes: number): void {
    this.expected = what;
    this.neededBytes = neededBytes;
  }
}
