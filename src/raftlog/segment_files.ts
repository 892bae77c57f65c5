import type { Disk, DiskFile } from '../base/disk.js';
import { assert } from '../base/assert.js';
import type { LogId } from './format.js';
import {
  emptyFrameBytes,
  encodeSegmentHeader,
  framesOffset,
  headerCopyOffset,
  segmentName,
  segmentSeed,
} from './format.js';
import { fillSyncBytes, spareSegmentsMax } from './limits.js';
import { Segment } from './segment.js';

const sizeAlignBytes = 4096;
const fillBytes = 1024 * 1024;

/** A recycled segment file, open and of full size. */
export interface Spare {
  readonly name: string;
  readonly file: DiskFile;
  readonly sizeBytes: number;
}

/**
 * Makes, recycles and removes segment files, one at a time and in order. A file is written over its whole
 * size and synced before it becomes a segment, so that syncs of frames have no sizes or extents to
 * record; it becomes a segment, or stops being one, by a rename that is synced before anything relies on it.
 */
export class SegmentFiles {
  readonly spares: Spare[] = [];
  /** Bytes of segments that are out of the log and whose files are not spares or gone yet. */
  recyclingBytes = 0;
  private readonly disk: Disk;
  private readonly directory: string;
  private readonly logId: LogId;
  private readonly segmentBytes: number;
  private chain: Promise<void> = Promise.resolve();

  constructor(disk: Disk, directory: string, logId: LogId, segmentBytes: number) {
    this.disk = disk;
    this.directory = directory;
    this.logId = logId;
    this.segmentBytes = segmentBytes;
  }

  /** Plans the segment behind `previous` that can take `frameBytes`, and begins to make its file. */
  plan(previous: Segment | null, frameBytes: number): Segment {
    const sequence = (previous?.sequence ?? 0) + 1;
    const size = this.sizeFor(frameBytes);
    const segment = new Segment(sequence, previous?.end ?? 0, size, segmentSeed(this.logId, sequence));
    segment.ready = this.enqueue(() => this.prepare(segment));
    // Whoever needs the segment waits for `ready` and learns of a failure there.
    segment.ready.catch(() => undefined);
    return segment;
  }

  /** Size of the segment that a frame of this length would get. */
  sizeFor(frameBytes: number): number {
    const needed = framesOffset + frameBytes + emptyFrameBytes;
    return Math.max(this.segmentBytes, Math.ceil(needed / sizeAlignBytes) * sizeAlignBytes);
  }

  /** Takes a segment that is no longer needed out of the log. */
  recycle(segment: Segment): Promise<void> {
    this.recyclingBytes += segment.sizeBytes;
    return this.enqueue(async () => {
      await segment.idle();
      const file = segment.openFile();
      const name = segmentName(segment.sequence, 'log');
      segment.file = null;
      if (segment.sizeBytes === this.segmentBytes && this.spares.length < spareSegmentsMax) {
        const spare = this.spareName();
        await this.disk.rename(this.path(name), this.path(spare));
        this.spares.push({ name: spare, file, sizeBytes: segment.sizeBytes });
      } else {
        await file.close();
        await this.disk.unlink(this.path(name));
      }
      await this.disk.syncDirectory(this.directory);
      this.recyclingBytes -= segment.sizeBytes;
    });
  }

  /** Waits until no file operation is under way, then closes the spares. */
  async close(): Promise<void> {
    await this.enqueue(async () => {
      for (const spare of this.spares.splice(0)) await spare.file.close();
    });
  }

  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** A spare keeps its name until it is used; a segment's number may come back, so it cannot be the name. */
  private spareName(): string {
    for (let n = 0; ; n++) {
      const name = segmentName(n, 'spare');
      if (!this.spares.some((spare) => spare.name === name)) return name;
    }
  }

  private enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.chain.then(work);
    // After a failure nothing more is done to files: every later step fails with the first one's error.
    this.chain = done;
    this.chain.catch(() => undefined);
    return done;
  }

  private async prepare(segment: Segment): Promise<void> {
    const spareAt = this.spares.findIndex((spare) => spare.sizeBytes === segment.sizeBytes);
    const spare = this.spares[spareAt];
    let name: string;
    let file: DiskFile;
    if (spare === undefined) {
      name = segmentName(segment.sequence, 'new');
      file = await this.disk.open(this.path(name), { create: true });
      await this.fill(file, segment.sizeBytes);
    } else {
      this.spares.splice(spareAt, 1);
      name = spare.name;
      file = spare.file;
    }
    const header = encodeSegmentHeader({
      logId: this.logId,
      sequence: segment.sequence,
      base: segment.base,
      sizeBytes: segment.sizeBytes,
    });
    await file.write([header], 0);
    await file.write([header], headerCopyOffset);
    await file.datasync();
    await this.disk.rename(this.path(name), this.path(segmentName(segment.sequence, 'log')));
    await this.disk.syncDirectory(this.directory);
    assert(segment.file === null, 'a segment is prepared once');
    segment.file = file;
  }

  private async fill(file: DiskFile, sizeBytes: number): Promise<void> {
    const zeros = Buffer.alloc(Math.min(fillBytes, sizeBytes));
    for (let at = 0; at < sizeBytes; at += zeros.length) {
      await file.write([zeros.subarray(0, Math.min(zeros.length, sizeBytes - at))], at);
      if ((at + zeros.length) % fillSyncBytes === 0) await file.datasync();
    }
    await file.datasync();
  }
}
