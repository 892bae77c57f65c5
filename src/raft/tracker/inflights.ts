import { assert } from '../../base/assert.js';

/**
 * The appends on their way to one follower: a ring of (last index, bytes), limited in number and in bytes. It grows
 * as needed, so that an idle follower costs nothing.
 */
export class Inflights {
  private readonly msgsMax: number;
  private readonly bytesMax: number;
  private indexes: number[] = [];
  private sizes: number[] = [];
  private head = 0;
  private used = 0;
  private bytesUsed = 0;

  constructor(msgsMax: number, bytesMax: number) {
    this.msgsMax = msgsMax;
    this.bytesMax = bytesMax;
  }

  get count(): number {
    return this.used;
  }

  get bytes(): number {
    return this.bytesUsed;
  }

  /** A full window takes no more. One append may take it past bytesMax: windows are checked before, not after. */
  full(): boolean {
    return this.used >= this.msgsMax || this.bytesUsed >= this.bytesMax;
  }

  /** Records an append whose last entry has this index. Indexes only grow. */
  add(index: number, bytes: number): void {
    assert(!this.full(), 'raft: no append goes into a full window');
    if (this.used === this.indexes.length) this.grow();
    const at = (this.head + this.used) & (this.indexes.length - 1);
    this.indexes[at] = index;
    this.sizes[at] = bytes;
    this.used++;
    this.bytesUsed += bytes;
  }

  /** Frees all appends whose last entry is at or below index. */
  freeTo(index: number): void {
    while (this.used > 0 && (this.indexes[this.head] ?? 0) <= index) {
      this.bytesUsed -= this.sizes[this.head] ?? 0;
      this.head = (this.head + 1) & (this.indexes.length - 1);
      this.used--;
    }
  }

  reset(): void {
    this.head = 0;
    this.used = 0;
    this.bytesUsed = 0;
  }

  /** Doubles the ring; its length stays a power of two. */
  private grow(): void {
    const length = this.indexes.length;
    const indexes: number[] = new Array<number>(Math.max(4, length * 2)).fill(0);
    const sizes: number[] = new Array<number>(indexes.length).fill(0);
    for (let i = 0; i < this.used; i++) {
      const from = (this.head + i) & (length - 1);
      indexes[i] = this.indexes[from] ?? 0;
      sizes[i] = this.sizes[from] ?? 0;
    }
    this.indexes = indexes;
    this.sizes = sizes;
    this.head = 0;
  }
}
