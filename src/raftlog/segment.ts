import { assert, must } from '../base/assert.js';
import type { DiskFile } from '../base/disk.js';
import { emptyFrameBytes, framesOffset } from './format.js';

/**
 * One segment. Its life:
 *
 *   planned ──prepare──▶ ready ──frames──▶ sealed ──collected──▶ spare ──prepare──▶ ready (another number)
 *
 * A segment is planned, and addresses in it are given out, before its file is there; the writer waits for `ready`.
 */
export class Segment {
  readonly sequence: number;
  readonly base: number;
  readonly sizeBytes: number;
  readonly seed: number;
  file: DiskFile | null = null;
  ready: Promise<void> = Promise.resolve();
  /** Where the next frame goes. */
  tail = framesOffset;
  /** Bytes of entries in it that are needed. */
  liveBytes = 0;
  /** Groups whose newest record is in it. */
  anchors = 0;
  private readers = 0;
  private idleWaiters: (() => void)[] = [];

  constructor(sequence: number, base: number, sizeBytes: number, seed: number) {
    this.sequence = sequence;
    this.base = base;
    this.sizeBytes = sizeBytes;
    this.seed = seed;
  }

  /** First address behind the segment. */
  get end(): number {
    return this.base + this.sizeBytes;
  }

  /** Bytes for frames that are left, the seal's room set aside. */
  get roomBytes(): number {
    return this.sizeBytes - emptyFrameBytes - this.tail;
  }

  get needed(): boolean {
    return this.liveBytes > 0 || this.anchors > 0;
  }

  openFile(): DiskFile {
    return must(this.file, 'file of a ready segment');
  }

  /** Reads from the segment, see DiskFile.read; its file stays what it is until the read is over. */
  async read(address: number, bytes: number, into?: Buffer): Promise<Buffer> {
    this.readers++;
    try {
      return await this.openFile().read(address - this.base, bytes, into);
    } finally {
      this.readers--;
      if (this.readers === 0) for (const wake of this.idleWaiters.splice(0)) wake();
    }
  }

  /** Resolves when no read is going on. */
  idle(): Promise<void> {
    if (this.readers === 0) return Promise.resolve();
    return new Promise((resolve) => this.idleWaiters.push(resolve));
  }
}

/** The segments of a log in order, by number and by address, and how much of each is needed. */
export class SegmentTable {
  readonly list: Segment[] = [];
  liveBytes = 0;
  /** Bytes of entries ever added; an entry that was moved counts each time. */
  addedBytes = 0;
  /** Sizes of all segments. */
  sizeBytes = 0;
  /** What was found last, of addresses of any age and of new ones. */
  private hit: Segment | null = null;
  private newest: Segment | null = null;

  get first(): Segment {
    return must(this.list[0], 'first segment');
  }

  get last(): Segment {
    return must(this.list.at(-1), 'last segment');
  }

  /** Bytes for frames in all segments but the last. */
  get sealedBytes(): number {
    let bytes = 0;
    for (let i = 0; i < this.list.length - 1; i++) bytes += must(this.list[i], 'segment').sizeBytes - framesOffset;
    return bytes;
  }

  push(segment: Segment): void {
    const last = this.list.at(-1);
    assert(last === undefined || (last.end <= segment.base && last.sequence < segment.sequence), 'segments ascend');
    this.list.push(segment);
    this.sizeBytes += segment.sizeBytes;
  }

  shift(): Segment {
    const first = must(this.list.shift(), 'first segment');
    return this.removed(first);
  }

  pop(): Segment {
    return this.removed(must(this.list.pop(), 'last segment'));
  }

  private removed(segment: Segment): Segment {
    if (this.hit === segment) this.hit = null;
    if (this.newest === segment) this.newest = null;
    this.sizeBytes -= segment.sizeBytes;
    return segment;
  }

  find(address: number): Segment | undefined {
    const hit = this.hit;
    if (hit !== null && address >= hit.base && address < hit.end) return hit;
    for (let i = this.list.length - 1; i >= 0; i--) {
      const segment = must(this.list[i], 'segment');
      if (address >= segment.base) {
        if (address >= segment.end) return undefined;
        this.hit = segment;
        return segment;
      }
    }
    return undefined;
  }

  addLive(address: number, bytes: number): void {
    this.findNew(address).liveBytes += bytes;
    this.liveBytes += bytes;
    this.addedBytes += bytes;
  }

  removeLive(address: number, bytes: number): void {
    const segment = must(this.find(address), 'segment of a live entry');
    segment.liveBytes -= bytes;
    this.liveBytes -= bytes;
    assert(segment.liveBytes >= 0, 'live bytes are not negative');
  }

  moveAnchor(from: number, to: number): void {
    if (to !== 0) {
      const target = this.findNew(to);
      if (from >= target.base && from < target.end && from !== 0) return;
      target.anchors++;
    }
    if (from !== 0) must(this.find(from), 'segment of an anchor').anchors--;
  }

  /** What is added lies in one segment for long. */
  private findNew(address: number): Segment {
    const { newest } = this;
    if (newest !== null && address >= newest.base && address < newest.end) return newest;
    this.newest = must(this.find(address), 'segment of something new');
    return this.newest;
  }
}
