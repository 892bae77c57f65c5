import { assert, must } from '../base/assert.js';
import { Prng } from '../base/prng.js';
import type { RangeSize } from './engine.js';
import {
  sizeBucketsMax,
  sizeNoteStride,
  sizeRecheckKeys,
  sizeRecheckQuestionsMax,
  sizeSmallBucketsMax,
  sizeSmallKeys,
} from './limits.js';

/** A part of a range that was counted; `next` is where to go on, null at the end of the range. */
export interface CountedSlice {
  readonly bytes: number;
  readonly keys: number;
  readonly next: Buffer | null;
  /** The key with about half of the slice's bytes before it; null if the slice has fewer than two keys. */
  readonly middle: Buffer | null;
}

/** Counts from `start` on, up to `slices` times the rows and bytes of a slice. */
export type CountSlice = (start: Buffer, end: Buffer, slices: 1 | 2) => CountedSlice;

/**
 * unseen:  never counted since the engine was opened; only what was written since is known
 * guessed: its share of a bucket that was counted as a whole
 * counted: counted, and then followed by the writes to it
 */
type Knowledge = 'unseen' | 'guessed' | 'counted';

interface Bucket {
  /** The bucket goes from here to the start of the next one. */
  readonly start: Buffer;
  knowledge: Knowledge;
  /** As of the last count. */
  keys: number;
  bytes: number;
  /** Writes noted since then. */
  putKeys: number;
  putBytes: number;
  deletedKeys: number;
  /** How much longer than usual it is believed without a recount: recounts found what was expected. */
  trust: number;
  /** All writes, noted or not, to whatever bucket, as of the last count: if there were none since, the count is still exact. */
  writesThen: number;
  /** Questions since then, and how many of them it takes for a small bucket to be counted again. */
  questions: number;
  patience: number;
}

const none = Buffer.alloc(0);

/** Recount once the writes to a bucket are more than this share of what it holds. */
const churnShareMax = 0.25;
/** A recount that finds the bytes expected, to this share of them, doubles the time to the next one ... */
const surpriseMin = 0.1;
/** ... up to this factor. */
const trustMax = 16;
/** Fewer puts than this teach nothing about how many of them are new keys. */
const lessonPutsMin = 256;

/**
 * What ranges hold, from bounded work per question and none without one.
 *
 * The keys are cut into buckets, at the bounds of the ranges that are asked for and at the ends of counted slices. Each
 * question counts one slice of the bucket in its range that is known worst: unseen ones first, then guessed ones, then
 * counted ones that were much written to (twice the slice, as they may have grown); after it some small ones, which cost little and which a few
 * noted writes make a multiple of what they are: a shard made of many such buckets would be split for nothing. Between counts a bucket follows its writes, of which about one in
 * sizeNoteStride is noted (at random distances, lest a pattern in the batches hides some rows); how many puts are new keys and how many overwrite is learned from the recounts.
 * Of small buckets that says little: 90 rows may be deleted with one of the deletes noted, or none. They are counted again from time to
 * time as long as there are writes at all. A range that nobody writes to and that has been counted costs nothing, and one whose keys are
 * only overwritten little.
 */
export class SizeMap {
  private buckets: Bucket[] = [emptyBucket(none, 'unseen')];
  private readonly countSlice: CountSlice;
  /** The share of puts that are new keys. */
  private newShare = 1;
  private readonly prng = new Prng(1);
  private untilNote = 1;
  private writes = 0;

  constructor(countSlice: CountSlice) {
    this.countSlice = countSlice;
  }

  get bucketCount(): number {
    return this.buckets.length;
  }

  notePut(key: Buffer, value: Buffer): void {
    this.writes++;
    if (!this.isNoted()) return;
    const bucket = this.bucketOf(key);
    bucket.putKeys += sizeNoteStride;
    bucket.putBytes += sizeNoteStride * (key.length + value.length);
  }

  noteDelete(key: Buffer): void {
    this.writes++;
    if (!this.isNoted()) return;
    this.bucketOf(key).deletedKeys += sizeNoteStride;
  }

  /** [start, end) was deleted; an empty end is the end of the data. */
  noteRange(start: Buffer, end: Buffer): void {
    if (end.length > 0 && Buffer.compare(start, end) >= 0) return;
    const first = this.cutAt(start);
    const last = end.length === 0 ? this.buckets.length : this.cutAt(end);
    if (first >= last) return;
    this.writes++;
    const { start: from } = must(this.buckets[first], 'a bucket');
    this.buckets.splice(first, last - first, { ...emptyBucket(from, 'counted'), writesThen: this.writes });
  }

  estimate(start: Buffer, end: Buffer): RangeSize {
    if (end.length > 0 && Buffer.compare(start, end) >= 0) return { bytes: 0, keys: 0, complete: true };
    let small = this.recountWorst(start, end, Infinity) ? sizeSmallBucketsMax : 0;
    while (small > 0 && this.recountWorst(start, end, sizeSmallKeys)) small--;
    this.recheckSmall(start, end);
    const { first, last } = this.cutOut(start, end);
    let bytes = 0;
    let keys = 0;
    let complete = true;
    for (let i = first; i < last; i++) {
      const bucket = must(this.buckets[i], 'a bucket');
      bytes += this.bytesOf(bucket);
      keys += this.keysOf(bucket);
      if (bucket.knowledge === 'unseen') complete = false;
    }
    return { bytes: Math.round(bytes), keys: Math.round(keys), complete };
  }

  /** A key of the range with about half of its bytes before it; null if there is none. */
  middle(start: Buffer, end: Buffer): Buffer | null {
    const half = this.estimate(start, end).bytes / 2;
    const { first, last } = this.cutOut(start, end);
    let before = 0;
    for (let i = first; i < last; i++) {
      const bucket = must(this.buckets[i], 'a bucket');
      before += this.bytesOf(bucket);
      if (before < half && i < last - 1) continue;
      const { middle } = this.countSlice(bucket.start, this.endOf(i), 2);
      // A bucket that turns out to be empty: its neighbour starts where it ends.
      const key = middle ?? this.endOf(i);
      const inside = Buffer.compare(key, start) > 0 && (end.length === 0 || Buffer.compare(key, end) < 0);
      return inside ? key : null;
    }
    return null;
  }

  private isNoted(): boolean {
    if (--this.untilNote > 0) return false;
    this.untilNote = this.prng.int(1, 2 * sizeNoteStride - 1);
    return true;
  }

  /** Counts a slice where [start, end) is known worst, or, with keysMax, among buckets that had no more keys than that when they were counted. False: there is none to count. */
  private recountWorst(start: Buffer, end: Buffer, keysMax: number): boolean {
    const { first, last } = this.cutOut(start, end);
    let worst = -1;
    let worstScore = 0;
    for (let i = first; i < last; i++) {
      const bucket = must(this.buckets[i], 'a bucket');
      const score = this.doubtOf(bucket);
      const isEligible = keysMax === Infinity || (bucket.knowledge === 'counted' && bucket.keys <= keysMax);
      if (isEligible && score > worstScore) {
        worst = i;
        worstScore = score;
      }
    }
    if (worst < 0) return false;
    if (this.buckets.length >= sizeBucketsMax) {
      this.coarsen();
      return false;
    }
    // Neighbours that were never counted as such are taken along, as far as the slice reaches.
    let to = worst + 1;
    if (this.buckets[worst]?.knowledge !== 'counted') {
      while (to < last && this.buckets[to]?.knowledge !== 'counted') to++;
    }
    this.recount(worst, to);
    return true;
  }

  /** Counts one small bucket of which few notes, or none, can have missed what matters, if it is due. */
  private recheckSmall(start: Buffer, end: Buffer): void {
    const { first, last } = this.cutOut(start, end);
    let due = -1;
    for (let i = first; i < last; i++) {
      const bucket = must(this.buckets[i], 'a bucket');
      if (bucket.knowledge !== 'counted' || bucket.keys > sizeRecheckKeys || bucket.writesThen === this.writes)
        continue;
      if (++bucket.questions >= bucket.patience && due < 0) due = i;
    }
    if (due >= 0) this.recount(due, due + 1);
  }

  /** How much a recount of the bucket is worth; 0 for one that is known well. */
  private doubtOf(bucket: Bucket): number {
    if (bucket.knowledge === 'unseen') return Number.MAX_VALUE;
    if (bucket.knowledge === 'guessed') return Number.MAX_SAFE_INTEGER + this.bytesOf(bucket);
    const rowBytes = bucket.keys === 0 ? 0 : bucket.bytes / bucket.keys;
    const churn = bucket.putBytes + bucket.deletedKeys * rowBytes;
    return churn > bucket.bytes * churnShareMax * bucket.trust ? churn : 0;
  }

  /** Counts a slice of buckets [first, last); what it covers becomes one counted bucket. */
  private recount(first: number, last: number): void {
    const { start, knowledge } = must(this.buckets[first], 'a bucket');
    const slice = this.countSlice(start, this.endOf(last - 1), knowledge === 'counted' ? 2 : 1);
    const covered = this.buckets.slice(first, slice.next === null ? last : this.indexOf(slice.next) + 1);
    if (knowledge === 'counted') this.learn(must(covered[0], 'a bucket'), slice);
    const trust = knowledge === 'counted' && slice.next === null ? this.trustIn(covered, slice) : 1;
    const patience = trust === 1 ? 1 : Math.min(sizeRecheckQuestionsMax, 2 * must(covered[0], 'a bucket').patience);
    const exact = { keys: slice.keys, bytes: slice.bytes, writesThen: this.writes };
    const counted = { ...emptyBucket(start, 'counted'), ...exact, trust, patience };
    this.buckets.splice(first, covered.length, counted);
    if (slice.next === null) return;
    // The rest of the last bucket that was reached is guessed: what was thought to be there less what was found.
    const rest = emptyBucket(slice.next, covered.at(-1)?.knowledge === 'unseen' ? 'unseen' : 'guessed');
    rest.keys = Math.max(0, covered.reduce((sum, bucket) => sum + this.keysOf(bucket), 0) - slice.keys);
    rest.bytes = Math.max(0, covered.reduce((sum, bucket) => sum + this.bytesOf(bucket), 0) - slice.bytes);
    this.buckets.splice(first + 1, 0, rest);
  }

  /** How long to believe what is known of a bucket from now on, by how well it was known. */
  private trustIn([bucket, ...others]: readonly Bucket[], { bytes }: CountedSlice): number {
    if (bucket === undefined || others.length > 0) return 1;
    const isSurprise = Math.abs(this.bytesOf(bucket) - bytes) > surpriseMin * bytes;
    return isSurprise ? 1 : Math.min(trustMax, bucket.trust * 2);
  }

  private learn(bucket: Bucket, slice: CountedSlice): void {
    if (bucket.putKeys < lessonPutsMin || bucket.keys === 0) return;
    const share = Math.min(1, Math.max(0, (slice.keys - bucket.keys + bucket.deletedKeys) / bucket.putKeys));
    // A slice that ended early has not found all new keys: it can only teach that there are more than thought.
    if (slice.next === null || share > this.newShare) this.newShare += (share - this.newShare) / 8;
  }

  private keysOf(bucket: Bucket): number {
    return Math.max(0, bucket.keys + this.shareOf(bucket) * bucket.putKeys - bucket.deletedKeys);
  }

  private bytesOf(bucket: Bucket): number {
    const keys = bucket.keys + bucket.putKeys;
    const rowBytes = keys === 0 ? 0 : (bucket.bytes + bucket.putBytes) / keys;
    return Math.max(0, bucket.bytes + this.shareOf(bucket) * bucket.putBytes - bucket.deletedKeys * rowBytes);
  }

  private shareOf(bucket: Bucket): number {
    return bucket.keys === 0 ? 1 : this.newShare;
  }

  /** The buckets of exactly [start, end), cut where they go beyond it. */
  private cutOut(start: Buffer, end: Buffer): { first: number; last: number } {
    const first = this.cutAt(start);
    return { first, last: end.length === 0 ? this.buckets.length : this.cutAt(end) };
  }

  /** Makes a bucket start at `key`, dividing the one that holds it in halves; returns its index. */
  private cutAt(key: Buffer): number {
    const at = this.indexOf(key);
    const bucket = must(this.buckets[at], 'a bucket');
    if (bucket.start.equals(key)) return at;
    const knowledge = bucket.knowledge === 'unseen' ? 'unseen' : 'guessed';
    const right = emptyBucket(Buffer.from(key), knowledge);
    for (const field of ['keys', 'bytes', 'putKeys', 'putBytes', 'deletedKeys'] as const) {
      right[field] = bucket[field] / 2;
      bucket[field] /= 2;
    }
    bucket.knowledge = knowledge;
    this.buckets.splice(at + 1, 0, right);
    return at + 1;
  }

  /** Joins neighbours two by two: half the buckets, the same sums. */
  private coarsen(): void {
    const joined: Bucket[] = [];
    for (let i = 0; i < this.buckets.length; i += 2) {
      const left = must(this.buckets[i], 'a bucket');
      const right = this.buckets[i + 1];
      joined.push(left);
      if (right === undefined) continue;
      for (const field of ['keys', 'bytes', 'putKeys', 'putBytes', 'deletedKeys'] as const) left[field] += right[field];
      if (right.knowledge === 'unseen') left.knowledge = 'unseen';
      else if (right.knowledge === 'guessed' && left.knowledge === 'counted') left.knowledge = 'guessed';
    }
    assert(joined.length < this.buckets.length, 'fewer buckets than before');
    this.buckets = joined;
  }

  private endOf(at: number): Buffer {
    return this.buckets[at + 1]?.start ?? none;
  }

  private bucketOf(key: Buffer): Bucket {
    return must(this.buckets[this.indexOf(key)], 'a bucket');
  }

  /** The bucket that holds `key`: the last one that does not start after it. */
  private indexOf(key: Buffer): number {
    let low = 0;
    let high = this.buckets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Buffer.compare(must(this.buckets[middle], 'a bucket').start, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

function emptyBucket(start: Buffer, knowledge: Knowledge): Bucket {
  const notes = { putKeys: 0, putBytes: 0, deletedKeys: 0 };
  return { start, knowledge, keys: 0, bytes: 0, ...notes, trust: 1, writesThen: -1, questions: 0, patience: 1 };
}
