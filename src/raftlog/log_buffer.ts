import { assert, must } from '../base/assert.js';

/** A stretch of the log that is in memory: addresses [start, end) are buffer[offset, ...). */
interface Piece {
  readonly start: number;
  end: number;
  readonly buffer: Buffer;
  readonly offset: number;
  /** Memory that goes when this piece goes. */
  readonly heldBytes: number;
}

/**
 * The newest bytes of the log, in memory. Frames are built here, written to disk from here, and stay
 * as the entry cache until newer bytes push them out: one copy of an entry, and no bookkeeping per entry.
 * Memory comes in arenas that are never used twice, so slices handed out stay as they are for good.
 *
 * It is also the cursor with which frames are encoded: `buffer` and `pos` say where the next byte goes.
 * Only what is written to disk is forgotten, so bytes on their way there may exceed `bytesMax`.
 */
export class LogBuffer {
  buffer: Buffer = Buffer.alloc(0);
  pos = 0;
  private readonly pieces: Piece[] = [];
  private readonly bytesMax: number;
  private readonly arenaBytes: number;
  private heldBytes = 0;
  private fresh = true;
  private chunkStart = 0;
  private chunks: Buffer[] = [];
  private hit: Piece | null = null;

  constructor(bytesMax: number, arenaBytesMax: number) {
    this.bytesMax = bytesMax;
    this.arenaBytes = Math.max(4096, Math.min(arenaBytesMax, Math.floor(bytesMax / 4)));
  }

  get bytes(): number {
    return this.heldBytes;
  }

  /** The address at the cursor. */
  get address(): number {
    const piece = must(this.pieces.at(-1), 'current piece');
    return piece.start + (this.pos - piece.offset);
  }

  /** Begins a frame at this address, with room for `bytes` contiguous ones. */
  beginFrame(address: number, bytes: number): void {
    const last = this.pieces.at(-1);
    if (last !== undefined) last.end = this.address;
    if (last === undefined || this.buffer.length - this.pos < bytes) this.newArena(address, bytes);
    else if (last.end !== address) this.addPiece(address);
    this.chunkStart = this.pos;
    this.chunks = [];
  }

  /** Makes room for `bytes` contiguous bytes at the cursor. */
  ensure(bytes: number): void {
    if (this.buffer.length - this.pos >= bytes) return;
    const address = this.address;
    must(this.pieces.at(-1), 'current piece').end = address;
    if (this.pos > this.chunkStart) this.chunks.push(this.buffer.subarray(this.chunkStart, this.pos));
    this.newArena(address, bytes);
    this.chunkStart = this.pos;
  }

  /** What the frame consists of so far, in order. */
  frameChunks(): Buffer[] {
    const chunks = this.chunks.slice();
    if (this.pos > this.chunkStart) chunks.push(this.buffer.subarray(this.chunkStart, this.pos));
    return chunks;
  }

  /** Makes the frame's bytes readable by address. */
  endFrame(): void {
    must(this.pieces.at(-1), 'current piece').end = this.address;
  }

  /** The buffer that holds `address`, or null. `offsetOf` gives the position in it. */
  find(address: number): Piece | null {
    const hit = this.hit;
    if (hit !== null && address >= hit.start && address < this.endOf(hit)) return hit;
    let lo = 0;
    let hi = this.pieces.length;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if (must(this.pieces[mid], 'piece').start <= address) lo = mid + 1;
      else hi = mid;
    }
    const piece = this.pieces[lo - 1];
    if (piece === undefined || address >= this.endOf(piece)) return null;
    this.hit = piece;
    return piece;
  }

  /** Forgets the oldest bytes, of those below `writtenAddress`, until the rest fits the bound. */
  trim(writtenAddress: number): void {
    let count = 0;
    while (this.heldBytes > this.bytesMax && count < this.pieces.length - 1) {
      const piece = must(this.pieces[count], 'piece');
      if (piece.end > writtenAddress) break;
      this.heldBytes -= piece.heldBytes;
      count++;
    }
    if (count === 0) return;
    this.pieces.splice(0, count);
    this.hit = null;
  }

  private endOf(piece: Piece): number {
    return piece === this.pieces.at(-1) ? this.address : piece.end;
  }

  private newArena(address: number, bytes: number): void {
    // Outside the pool of small buffers: an arena is freed as a whole.
    this.buffer = Buffer.allocUnsafeSlow(Math.max(this.arenaBytes, bytes));
    this.pos = 0;
    this.fresh = true;
    this.addPiece(address);
  }

  private addPiece(address: number): void {
    const previous = this.pieces.at(-1);
    assert(previous === undefined || previous.end <= address, 'addresses only grow');
    const heldBytes = this.fresh ? this.buffer.length : 0;
    this.fresh = false;
    this.heldBytes += heldBytes;
    this.pieces.push({ start: address, end: address, buffer: this.buffer, offset: this.pos, heldBytes });
  }
}
