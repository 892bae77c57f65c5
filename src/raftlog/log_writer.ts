import { assert, must } from '../base/assert.js';
import { BucketCounts } from '../base/bucket_counts.js';
import type { Runtime } from '../base/runtime.js';
import { crc32 } from './checksum.js';
import {
  FrameKind,
  emptyFrameBytes,
  encodeFrameFooter,
  encodeFrameHeader,
  frameAlignBytes,
  frameBytes,
  frameFooterBytes,
  frameHeaderBytes,
  frameOverheadBytes,
} from './format.js';
import { batchBytesBounds, batchBytesMax, syncSecondsBounds } from './limits.js';
import type { LogBuffer } from './log_buffer.js';
import { RaftLogError } from './log_error.js';
import { putVarint, tableItemBytesMax, varintBytes } from './record_codec.js';
import type { Segment, SegmentTable } from './segment.js';
import type { SegmentFiles } from './segment_files.js';
import { SyncTimes } from './sync_times.js';

/** One batch: being filled, waiting, or on its way to disk. */
export interface Batch {
  readonly segment: Segment;
  readonly offset: number;
  readonly sequence: number;
  readonly synced: Promise<void>;
  readonly table: number[];
}

interface OpenBatch extends Batch {
  readonly sinceMs: number;
  readonly header: Buffer;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  chunks: readonly Buffer[];
  totalBytes: number;
}

/**
 * The one writer. Batches are filled in memory at the addresses that they will have on disk, and go out one by one: write,
 * sync, resolve. While one is on its way the next one fills (group commit). Two are never on their way at
 * the same time: so only the newest batch can be torn, and a bad batch with a good one behind it is damage.
 *
 * A write or sync that fails is final: the state of the file is unknown, nothing is tried again.
 */
export class LogWriter {
  readonly syncTimes = new SyncTimes();
  readonly syncSeconds = new BucketCounts(syncSecondsBounds);
  readonly batchBytes = new BucketCounts(batchBytesBounds);
  syncs = 0;
  batches = 0;
  bytesWritten = 0;
  lastSyncAtMs: number;
  /** Everything below this address is on disk. */
  syncedAddress: number;
  failure: Error | null = null;
  private nextSequence: number;
  private readonly buffer: LogBuffer;
  private readonly table: SegmentTable;
  private readonly files: SegmentFiles;
  private readonly runtime: Runtime;
  private readonly afterSync: () => void;
  private readonly onFailure: (error: Error) => void;
  /** The segment behind the last of the table, made ahead of need. */
  private ahead: Segment | null = null;
  private written: Segment;
  private queue: OpenBatch[] = [];
  private open: OpenBatch | null = null;
  private writing: OpenBatch | null = null;
  private pumping: Promise<void> | null = null;

  constructor(o: {
    buffer: LogBuffer;
    table: SegmentTable;
    files: SegmentFiles;
    runtime: Runtime;
    nextSequence: number;
    afterSync: () => void;
    onFailure: (error: Error) => void;
  }) {
    this.buffer = o.buffer;
    this.table = o.table;
    this.files = o.files;
    this.runtime = o.runtime;
    this.nextSequence = o.nextSequence;
    this.afterSync = o.afterSync;
    this.onFailure = o.onFailure;
    this.written = o.table.last;
    // Opening has synced this file.
    this.lastSyncAtMs = o.runtime.nowMs();
    this.syncedAddress = this.written.base + this.written.tail;
    this.ahead = this.files.plan(this.written, 0);
  }

  /** The batch that takes the next `bytes` of records, its buffer positioned for them. */
  reserve(bytes: number): Batch {
    const open = this.open;
    if (open !== null) {
      const records = this.buffer.address - open.segment.base - open.offset;
      const used = records + open.table.length * tableItemBytesMax;
      const closing = frameFooterBytes + frameAlignBytes;
      if (used + bytes <= batchBytesMax && used + bytes + closing <= open.segment.roomBytes) return open;
      this.finish(open);
    }
    return this.begin(bytes);
  }

  /** Notes that the batch has records of this group. */
  tableGroup(batch: Batch, groupId: number): void {
    batch.table.push(groupId);
  }

  /** Sees to it that open batches go out. */
  kick(): void {
    if (this.pumping !== null || this.failure !== null || this.queue.length === 0) return;
    // In a microtask, so that all calls of one turn share the batch even when nothing is on its way.
    this.pumping = Promise.resolve()
      .then(() => this.pump())
      .catch((error: unknown) => this.fail(error instanceof Error ? error : new Error(String(error))));
  }

  /** Resolves when everything reserved so far is on disk, writing an empty batch if nothing is waiting. */
  flush(): Promise<void> {
    const batch = this.reserve(0);
    this.kick();
    return batch.synced;
  }

  /** Writes the close mark. The log can then tell a torn tail from a damaged last batch. */
  async close(): Promise<void> {
    while (this.pumping !== null && this.failure === null) await this.pumping;
    if (this.failure !== null) return;
    await this.ahead?.ready;
    const mark = this.bareFrame(FrameKind.close);
    const segment = this.written;
    assert(segment === this.table.last, 'all batches are written');
    // The room of the seal: a segment whose rest is smaller than a mark was sealed before.
    if (segment.tail + mark.length > segment.sizeBytes - emptyFrameBytes) return;
    await segment.openFile().writeThrough([mark], segment.tail);
  }

  /** The files of segments that are not in the table. */
  async closeAhead(): Promise<void> {
    await this.ahead?.file?.close();
  }

  hasFailed(): boolean {
    return this.failure !== null;
  }

  /** When the oldest batch that is not on disk yet was begun; null when all is on disk. */
  get pendingSinceMs(): number | null {
    return this.writing?.sinceMs ?? this.queue[0]?.sinceMs ?? null;
  }

  /** Bytes of the segment that is made ahead of need. */
  get aheadBytes(): number {
    return this.ahead?.sizeBytes ?? 0;
  }

  /** The segment that batches go to now; later ones in the table are still empty on disk. */
  get writtenSegment(): Segment {
    return this.written;
  }

  private begin(bytes: number): OpenBatch {
    const segment = this.segmentFor(bytes + frameOverheadBytes);
    const sequence = this.nextSequence++;
    this.buffer.beginFrame(segment.base + segment.tail, frameHeaderBytes);
    const header = this.buffer.buffer.subarray(this.buffer.pos, this.buffer.pos + frameHeaderBytes);
    this.buffer.pos += frameHeaderBytes;
    let resolve: () => void = () => undefined;
    let reject: (error: Error) => void = () => undefined;
    const synced = new Promise<void>((ok, no) => {
      resolve = ok;
      reject = no;
    });
    // A failure is told through onFatal too; a batch that nobody waits for must not add an unhandled rejection.
    synced.catch(() => undefined);
    const batch: OpenBatch = {
      segment,
      offset: segment.tail,
      sequence,
      synced,
      table: [],
      sinceMs: this.runtime.nowMs(),
      header,
      resolve,
      reject,
      chunks: [],
      totalBytes: 0,
    };
    this.open = batch;
    this.queue.push(batch);
    return batch;
  }

  private segmentFor(bytes: number): Segment {
    let segment = this.table.last;
    while (segment.roomBytes < bytes) {
      segment = this.ahead ?? this.files.plan(segment, bytes);
      this.ahead = null;
      this.table.push(segment);
    }
    return segment;
  }

  /** Closes the batch: table, footer, checksums, header. */
  private finish(batch: OpenBatch): void {
    assert(batch === this.open, 'the open batch is the one to finish');
    this.open = null;
    const out = this.buffer;
    let recordsCrc = 0;
    let bytes = -frameHeaderBytes;
    const chunks = out.frameChunks();
    for (const [i, chunk] of chunks.entries()) {
      recordsCrc = crc32(i === 0 ? chunk.subarray(frameHeaderBytes) : chunk, i === 0 ? batch.segment.seed : recordsCrc);
      bytes += chunk.length;
    }
    let tableBytes = 0;
    for (const id of batch.table) tableBytes += varintBytes(id);
    const total = frameBytes(bytes, tableBytes);
    const rest = total - frameHeaderBytes - bytes;
    out.ensure(rest);
    const tail = out.buffer.subarray(out.pos, out.pos + rest);
    const tableAt = rest - frameFooterBytes - tableBytes;
    tail.fill(0, 0, tableAt);
    let at = tableAt;
    for (const id of batch.table) at = putVarint(tail, at, id);
    encodeFrameFooter(tail.subarray(tableAt), total, tableBytes, batch.sequence, batch.segment.seed);
    out.pos += rest;
    encodeFrameHeader(
      batch.header,
      {
        sequence: batch.sequence,
        firstSegment: this.table.first.sequence,
        kind: FrameKind.batch,
        recordsBytes: bytes,
        tableBytes,
        recordsCrc,
      },
      batch.segment.seed,
    );
    batch.chunks = out.frameChunks();
    batch.totalBytes = total;
    out.endFrame();
    batch.segment.tail = batch.offset + total;
    assert(batch.segment.roomBytes >= 0, 'the seal keeps its room');
  }

  private async pump(): Promise<void> {
    for (;;) {
      const batch = this.queue[0];
      if (batch === undefined) break;
      if (batch === this.open) this.finish(batch);
      this.queue.shift();
      this.writing = batch;
      try {
        if (batch.segment !== this.written) await this.roll(batch);
        await this.writeBatch(batch);
      } catch (error) {
        batch.reject(failedError(error));
        throw error;
      }
      this.writing = null;
      batch.resolve();
      this.afterSync();
    }
    this.pumping = null;
  }

  private async writeBatch(batch: OpenBatch): Promise<void> {
    const startMs = this.runtime.nowMs();
    await batch.segment.openFile().writeThrough(batch.chunks, batch.offset);
    const endMs = this.runtime.nowMs();
    this.syncTimes.add(endMs - startMs);
    this.syncSeconds.add((endMs - startMs) / 1_000);
    this.batchBytes.add(batch.totalBytes);
    this.lastSyncAtMs = endMs;
    this.syncs++;
    this.batches++;
    this.bytesWritten += batch.totalBytes;
    this.syncedAddress = batch.segment.base + batch.offset + batch.totalBytes;
    this.buffer.trim(this.syncedAddress);
  }

  /** Goes on to the batch's segment: the next segment is durable before the seal that calls for it is written. */
  private async roll(batch: OpenBatch): Promise<void> {
    while (this.written !== batch.segment) {
      // Looked up anew each time: the collector takes segments off the front meanwhile.
      const list = this.table.list;
      const next = must(list[list.indexOf(this.written) + 1], 'segment behind the current one');
      await next.ready;
      const seal = this.bareFrame(FrameKind.seal, batch.sequence);
      await this.written.openFile().writeThrough([seal], this.written.tail);
      this.written = next;
    }
    if (this.ahead === null && this.written === this.table.last) this.ahead = this.files.plan(this.written, 0);
  }

  private bareFrame(kind: FrameKind, sequence = this.nextSequence): Buffer {
    const b = Buffer.alloc(emptyFrameBytes);
    const seed = this.written.seed;
    const firstSegment = this.table.first.sequence;
    encodeFrameHeader(b, { sequence, firstSegment, kind, recordsBytes: 0, tableBytes: 0, recordsCrc: seed }, seed);
    encodeFrameFooter(b.subarray(frameHeaderBytes), b.length, 0, sequence, seed);
    return b;
  }

  /** Latches: rejects what waits, tells the owner once. */
  fail(error: Error): void {
    if (this.failure !== null) return;
    this.failure = failedError(error);
    const waiting = this.queue;
    this.queue = [];
    this.open = null;
    for (const batch of waiting) batch.reject(this.failure);
    this.onFailure(error);
  }
}

function failedError(cause: unknown): RaftLogError {
  return new RaftLogError('failed', 'the Raft log failed to write or sync; the process must end', { cause });
}
