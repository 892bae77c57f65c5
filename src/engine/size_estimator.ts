import { sizeRangesMax } from './limits.js';

/** A part of a range that was counted; `next` is where to go on, null at the end of the range. */
export interface CountedSlice {
  readonly bytes: number;
  readonly keys: number;
  readonly next: Buffer | null;
}

interface Walk {
  /** Where the walk under way goes on, and what it has counted. */
  readonly cursor: Buffer;
  readonly bytes: number;
  readonly keys: number;
  /** The result of the last complete walk; zeros before there was one. */
  readonly last: { readonly bytes: number; readonly keys: number };
}

/**
 * Estimates the size of ranges with bounded work per question: each question counts one slice of the range and
 * remembers where it stopped; the next one goes on from there. A range that fits one slice is exact. Of a
 * larger one, the answer is what has been counted so far until the first walk is through; after that it is the
 * last complete count, or the one under way once that is larger.
 */
export class SizeEstimator {
  /** Ranges whose walk is not finished in one slice, the one asked for longest ago first. */
  private readonly walks = new Map<string, Walk>();
  private readonly countSlice: (start: Buffer, end: Buffer) => CountedSlice;

  constructor(countSlice: (start: Buffer, end: Buffer) => CountedSlice) {
    this.countSlice = countSlice;
  }

  estimate(start: Buffer, end: Buffer): { bytes: number; keys: number } {
    const name = `${start.toString('latin1')}\n${end.toString('latin1')}`;
    const walk = this.walks.get(name) ?? { cursor: start, bytes: 0, keys: 0, last: { bytes: 0, keys: 0 } };
    this.walks.delete(name);
    const slice = this.countSlice(walk.cursor, end);
    const bytes = walk.bytes + slice.bytes;
    const keys = walk.keys + slice.keys;
    if (slice.next !== null) {
      this.remember(name, { cursor: slice.next, bytes, keys, last: walk.last });
      return { bytes: Math.max(bytes, walk.last.bytes), keys: Math.max(keys, walk.last.keys) };
    }
    if (walk.cursor !== start) {
      this.remember(name, { cursor: Buffer.from(start), bytes: 0, keys: 0, last: { bytes, keys } });
    }
    return { bytes, keys };
  }

  private remember(name: string, walk: Walk): void {
    this.walks.set(name, walk);
    if (this.walks.size <= sizeRangesMax) return;
    const [oldest] = this.walks.keys();
    if (oldest !== undefined) this.walks.delete(oldest);
  }
}
