import { assert, must } from '../base/assert.js';
import {
  cacheBytesMin,
  cacheBytesPerSlot,
  cachedRangesMax,
  cacheGuardsMax,
  cacheSlabBytesMax,
  cacheSlabsMin,
} from './limits.js';

/**
 * Values in the event loop's memory, by key; "no such key" is a value, too. Bounded in bytes, everything included.
 *
 *   table   buckets of 8 slots, each the hash and the place of an entry; a key can only be in its bucket
 *   slabs   a ring of buffers that entries are appended to:  hash │ epoch │ key length, mark │ value length │ key │ value
 *
 * Nothing of an entry is an object of its own: two hundred thousand of them cost the garbage collector nothing, and a hit
 * makes one view. Eviction is CLOCK by slab: when the ring is full, the entries of the oldest slab that were read since
 * they were put there move to the new one, up to half of it, and the others are gone. So the work for an entry is
 * bounded, and entries that nobody reads cannot drive out those that are read.
 *
 * A slab is never written twice, because callers may still hold views into it; it is let go, and the last view frees it.
 *
 * TRUTH. put() and dropRange() are called in the order of the writes, with every write. What a read found is put in with
 * fill(), which refuses it when the key may have been written after the read was asked for (stamp).
 */
const ways = 8;
const headBytes = 16;
const keyLengthMask = 0xffff;
/** Of the word with the key's length: the entry was read since it was put where it is. */
const mark = 0x8000_0000;
/** The length that stands for "no such key". */
const absent = 0xffff_ffff;

interface Slab {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
}

/** A range that was deleted. Entries of an earlier epoch that lie in it do not count. */
interface DroppedRange {
  readonly start: Buffer;
  readonly end: Buffer;
  readonly epoch: number;
}

export class ValueCache {
  /** Entries larger than this are not kept. */
  readonly entryBytesMax: number;
  private readonly slabBytes: number;
  private readonly slabs: (Slab | null)[];
  /** Bytes used of each slab. */
  private readonly ends: number[];
  private head = 0;
  /** By slot. A place is 1 + the entry's position in all slabs, in units of 8 bytes; 0: the slot is free. */
  private readonly hashes: Uint32Array;
  private readonly places: Uint32Array;
  private readonly bucketMask: number;
  private entries = 0;
  /** Counts writes. By hash: the count at the last write of a key with such a hash. */
  private sequence = 0;
  private readonly lastWrites: Float64Array;
  private lastRangeSequence = 0;
  private epoch = 0;
  /** Entries of earlier epochs do not count. */
  private oldestEpoch = 0;
  private ranges: DroppedRange[] = [];

  constructor(bytes: number) {
    assert(bytes >= cacheBytesMin, `a cache has at least ${cacheBytesMin} bytes`);
    const slots = powerOfTwoUpTo(bytes / cacheBytesPerSlot);
    const guards = Math.min(slots, cacheGuardsMax);
    const tableBytes = 8 * slots + 8 * guards;
    this.slabBytes = Math.min(cacheSlabBytesMax, powerOfTwoUpTo((bytes - tableBytes) / cacheSlabsMin));
    const slabCount = Math.floor((bytes - tableBytes) / this.slabBytes);
    assert(slabCount >= cacheSlabsMin, 'a cache has a few slabs');
    assert((slabCount * this.slabBytes) / 8 < absent, 'every place has a number');
    this.entryBytesMax = this.slabBytes / 4;
    this.slabs = new Array<Slab | null>(slabCount).fill(null);
    this.ends = new Array<number>(slabCount).fill(0);
    this.hashes = new Uint32Array(slots);
    this.places = new Uint32Array(slots);
    this.bucketMask = slots / ways - 1;
    this.lastWrites = new Float64Array(guards);
  }

  /** Entries that the table knows. */
  get size(): number {
    return this.entries;
  }

  /** Bytes of the slabs in use. */
  get bytes(): number {
    let used = 0;
    for (const slab of this.slabs) if (slab !== null) used += this.slabBytes;
    return used;
  }

  /** What fill() is to be given with the answer to a read that is asked for now. */
  get stamp(): number {
    return this.sequence;
  }

  /** The value, null: there is none, undefined: not known here. A view: copy what is kept for long. */
  get(key: Buffer): Buffer | null | undefined {
    const slot = this.find(hashOf(key), key);
    if (slot < 0) return undefined;
    const { slab, at } = this.entryAt(slot);
    const { words } = slab;
    const word = at >>> 2;
    if (words[word + 1] !== this.epoch) {
      if (!this.outlived(words[word + 1] ?? 0, key)) {
        this.remove(slot);
        return undefined;
      }
      words[word + 1] = this.epoch;
    }
    const keyLength = words[word + 2] ?? 0;
    words[word + 2] = keyLength | mark;
    const length = words[word + 3] ?? 0;
    if (length === absent) return null;
    const from = at + headBytes + (keyLength & keyLengthMask);
    return slab.bytes.subarray(from, from + length);
  }

  /** The key was written; null: deleted. */
  put(key: Buffer, value: Buffer | null): void {
    const hash = hashOf(key);
    this.noteWrite(hash);
    this.insert(hash, key, value);
  }

  /** The key was written, and is not to be kept. */
  forget(key: Buffer): void {
    const hash = hashOf(key);
    this.noteWrite(hash);
    const slot = this.find(hash, key);
    if (slot >= 0) this.remove(slot);
  }

  /** What a read found that was asked for when `stamp` was the stamp. */
  fill(key: Buffer, value: Buffer | null, stamp: number): void {
    const hash = hashOf(key);
    // A key of the same hash may have been written instead; then this one is not kept, for once.
    const lastWrite = this.lastWrites[hash & (this.lastWrites.length - 1)] ?? 0;
    if (this.lastRangeSequence > stamp || lastWrite > stamp) return;
    if (this.get(key) === undefined) this.insert(hash, key, value);
  }

  /** All keys of [start, end) were deleted or written; an empty end is the end of the data. */
  dropRange(start: Buffer, end: Buffer): void {
    this.lastRangeSequence = ++this.sequence;
    this.ranges.push({ start: Buffer.from(start), end: Buffer.from(end), epoch: ++this.epoch });
    if (this.ranges.length > cachedRangesMax) this.oldestEpoch = must(this.ranges.shift(), 'a range').epoch;
  }

  /** Keys may have been written that nobody named: no read that is under way is believed. */
  refuseFills(): void {
    this.lastRangeSequence = ++this.sequence;
  }

  private noteWrite(hash: number): void {
    this.lastWrites[hash & (this.lastWrites.length - 1)] = ++this.sequence;
  }

  /** An entry of this epoch still counts: no range that was deleted since holds its key. */
  private outlived(epoch: number, key: Buffer): boolean {
    if (epoch < this.oldestEpoch) return false;
    for (const range of this.ranges) {
      if (range.epoch <= epoch || Buffer.compare(key, range.start) < 0) continue;
      if (range.end.length === 0 || Buffer.compare(key, range.end) < 0) return false;
    }
    return true;
  }

  private insert(hash: number, key: Buffer, value: Buffer | null): void {
    const bytes = sizeOf(key.length, value === null ? 0 : value.length);
    if (bytes > this.entryBytesMax) {
      const old = this.find(hash, key);
      if (old >= 0) this.remove(old);
      return;
    }
    const at = this.reserve(bytes);
    // Only now: making room may have moved or removed what the key had.
    const old = this.find(hash, key);
    const slot = old >= 0 ? old : this.freeSlot(hash);
    const slab = must(this.slabs[this.head], 'the slab that is being filled');
    const word = at >>> 2;
    slab.words[word] = hash;
    slab.words[word + 1] = this.epoch;
    slab.words[word + 2] = key.length;
    slab.words[word + 3] = value === null ? absent : value.length;
    slab.bytes.set(key, at + headBytes);
    if (value !== null) slab.bytes.set(value, at + headBytes + key.length);
    this.hashes[slot] = hash;
    this.places[slot] = this.placeOf(this.head, at);
  }

  private find(hash: number, key: Buffer): number {
    const first = (hash & this.bucketMask) * ways;
    for (let slot = first; slot < first + ways; slot++) {
      if (this.hashes[slot] === hash && this.places[slot] !== 0 && this.hasKey(slot, key)) return slot;
    }
    return -1;
  }

  private hasKey(slot: number, key: Buffer): boolean {
    const { slab, at } = this.entryAt(slot);
    const length = (slab.words[(at >>> 2) + 2] ?? 0) & keyLengthMask;
    if (length !== key.length) return false;
    const { bytes } = slab;
    const from = at + headBytes;
    for (let i = 0; i < length; i++) if (bytes[from + i] !== key[i]) return false;
    return true;
  }

  /** A free slot of the bucket; when there is none, one is made free, of an entry not read lately if there is one. */
  private freeSlot(hash: number): number {
    const first = (hash & this.bucketMask) * ways;
    let victim = first + (hash >>> 29);
    for (let slot = first; slot < first + ways; slot++) {
      if (this.places[slot] === 0) {
        this.entries++;
        return slot;
      }
      const { slab, at } = this.entryAt(slot);
      if (((slab.words[(at >>> 2) + 2] ?? 0) & mark) === 0) victim = slot;
    }
    return victim;
  }

  private remove(slot: number): void {
    this.places[slot] = 0;
    this.entries--;
  }

  private entryAt(slot: number): { slab: Slab; at: number } {
    const position = ((this.places[slot] ?? 0) - 1) * 8;
    const index = Math.floor(position / this.slabBytes);
    return { slab: must(this.slabs[index] ?? null, 'an entry lies in a slab'), at: position % this.slabBytes };
  }

  private placeOf(slab: number, at: number): number {
    return 1 + (slab * this.slabBytes + at) / 8;
  }

  /** Room in the slab at the head for an entry. */
  private reserve(bytes: number): number {
    if (this.slabs[this.head] === null) this.slabs[this.head] = newSlab(this.slabBytes);
    else if ((this.ends[this.head] ?? 0) + bytes > this.slabBytes) this.advance();
    const at = this.ends[this.head] ?? 0;
    this.ends[this.head] = at + bytes;
    return at;
  }

  /** Begins the next slab with what is kept of the oldest one, whose place in the ring it takes. */
  private advance(): void {
    this.head = (this.head + 1) % this.slabs.length;
    const old = this.slabs[this.head] ?? null;
    const end = this.ends[this.head] ?? 0;
    const slab = newSlab(this.slabBytes);
    this.slabs[this.head] = slab;
    this.ends[this.head] = 0;
    if (old === null) return;
    let kept = 0;
    for (let at = 0; at < end;) {
      const word = at >>> 2;
      const keyLength = old.words[word + 2] ?? 0;
      const bytes = sizeOfWords(keyLength, old.words[word + 3] ?? 0);
      const slot = this.slotOf(old.words[word] ?? 0, this.placeOf(this.head, at));
      if (slot >= 0 && (keyLength & mark) !== 0 && kept + bytes <= this.slabBytes / 2) {
        old.words[word + 2] = keyLength & keyLengthMask;
        slab.bytes.set(old.bytes.subarray(at, at + bytes), kept);
        this.places[slot] = this.placeOf(this.head, kept);
        kept += bytes;
      } else if (slot >= 0) {
        this.remove(slot);
      }
      at += bytes;
    }
    this.ends[this.head] = kept;
  }

  /** The slot that holds this place, -1 when the entry there was written again or removed. */
  private slotOf(hash: number, place: number): number {
    const first = (hash & this.bucketMask) * ways;
    for (let slot = first; slot < first + ways; slot++) if (this.places[slot] === place) return slot;
    return -1;
  }
}

function newSlab(bytes: number): Slab {
  // allocUnsafeSlow: a buffer of its own, so that views pin no more than this slab.
  const slab = Buffer.allocUnsafeSlow(bytes);
  return { bytes: slab, words: new Uint32Array(slab.buffer, 0, bytes / 4) };
}

/** Entries begin at multiples of 8. */
function sizeOf(keyLength: number, valueLength: number): number {
  return Math.ceil((headBytes + keyLength + valueLength) / 8) * 8;
}

function sizeOfWords(keyWord: number, valueWord: number): number {
  return sizeOf(keyWord & keyLengthMask, valueWord === absent ? 0 : valueWord);
}

function powerOfTwoUpTo(most: number): number {
  return 2 ** Math.floor(Math.log2(most));
}

/** FNV-1a with the finishing steps of MurmurHash3, 32 bits. A bucket bounds what colliding keys can cost. */
function hashOf(key: Buffer): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ (key[i] ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
