import { crc32 } from './checksum.js';
import type { FrameHeader } from './format.js';
import {
  FrameKind,
  decodeFrameFooter,
  decodeFrameHeader,
  frameAlignBytes,
  frameBytes,
  frameHeaderBytes,
  frameMagicBytes,
  framesOffset,
} from './format.js';
import { decodeTable } from './record_codec.js';
import type { Replay } from './replay.js';
import type { Segment } from './segment.js';

/** What a segment's frames are. */
export interface SegmentScan {
  /** Good frames. */
  readonly frames: number;
  /** Good batches among them, and the numbers of the first and last one; 0 when there is none. */
  readonly batches: number;
  readonly firstBatch: number;
  readonly lastBatch: number;
  /** Where the last good frame ends. */
  readonly end: number;
  /** The last good frame is the seal: the next segment must be there. */
  readonly sealed: boolean;
  /** The last good frame is a close mark. */
  readonly closed: boolean;
  /** Length that a bad batch behind `end` claims; 0 when there is nothing that looks like one. */
  readonly tornBytes: number;
}

interface FoundFrame {
  readonly at: number;
  readonly header: FrameHeader;
}

/**
 * Reads all frames of a segment into `replay`. A bad frame is damage if a good one with a higher number
 * comes behind it, here or in a later segment; otherwise it is a torn tail, which ends the log.
 */
export function scanSegment(segment: Segment, bytes: Buffer, replay: Replay): SegmentScan {
  let at = framesOffset;
  let frames = 0;
  let batches = 0;
  let firstBatch = 0;
  let lastBatch = 0;
  let kind: FrameKind = FrameKind.batch;
  while (kind !== FrameKind.seal) {
    const header = goodFrame(segment, bytes, at, replay.nextSequence);
    if (header === null) {
      const found = findFrame(segment, bytes, at + frameAlignBytes, replay.nextSequence);
      if (found === null) break;
      loseBetween(segment, bytes, at, found, replay);
      at = found.at;
      continue;
    }
    if (replay.nextSequence !== 0 && header.sequence > replay.nextSequence) replay.lose(null, segment, at);
    const total = frameBytes(header.recordsBytes, header.tableBytes);
    takeFrame(segment, bytes, at, total, header, replay);
    kind = header.kind;
    frames++;
    at += total;
    if (kind !== FrameKind.batch) continue;
    batches++;
    lastBatch = header.sequence;
    if (batches === 1) firstBatch = lastBatch;
  }
  return {
    frames,
    batches,
    firstBatch,
    lastBatch,
    end: at,
    sealed: kind === FrameKind.seal,
    closed: kind === FrameKind.close,
    tornBytes: kind === FrameKind.seal ? 0 : claimedBytes(segment, bytes, at, replay.nextSequence),
  };
}

function takeFrame(
  segment: Segment,
  bytes: Buffer,
  at: number,
  total: number,
  header: FrameHeader,
  replay: Replay,
): void {
  replay.firstSegment = header.firstSegment;
  replay.nextSequence = header.sequence;
  if (header.kind !== FrameKind.batch) return;
  replay.nextSequence = header.sequence + 1;
  replay.lastBatch = { segment, offset: at, bytes: total };
  const start = at + frameHeaderBytes;
  const whole = replay.batch(bytes, start, start + header.recordsBytes, segment.base + start);
  // The checksum was good, so the writer was wrong or is newer; which groups it meant is in the table, if anywhere.
  if (!whole) replay.lose(tableOf(segment, bytes, at + total, header.sequence)?.groupIds ?? null, segment, at);
}

/** The header of the frame at `at` if all of its records are good and its number is not one that was there before. */
function goodFrame(segment: Segment, bytes: Buffer, at: number, nextSequence: number): FrameHeader | null {
  const header = headerAt(segment, bytes, at, nextSequence);
  if (header === null) return null;
  const start = at + frameHeaderBytes;
  const crc = crc32(bytes.subarray(start, start + header.recordsBytes), segment.seed);
  return crc === header.recordsCrc ? header : null;
}

function headerAt(segment: Segment, bytes: Buffer, at: number, nextSequence: number): FrameHeader | null {
  const header = decodeFrameHeader(bytes, at, segment.seed);
  if (header === null || header.sequence < nextSequence) return null;
  return at + frameBytes(header.recordsBytes, header.tableBytes) <= bytes.length ? header : null;
}

/** The first frame from `from` on whose header and records are good. */
function findFrame(segment: Segment, bytes: Buffer, from: number, nextSequence: number): FoundFrame | null {
  let at = bytes.indexOf(frameMagicBytes, from);
  while (at !== -1) {
    if (at % frameAlignBytes === 0) {
      const header = goodFrame(segment, bytes, at, nextSequence);
      if (header !== null) return { at, header };
    }
    at = bytes.indexOf(frameMagicBytes, at + 1);
  }
  return null;
}

/** Tells which groups the bad stretch before `found` touched, by walking back over the footers. */
function loseBetween(segment: Segment, bytes: Buffer, from: number, found: FoundFrame, replay: Replay): void {
  const expected = replay.nextSequence;
  let sequence = found.header.sequence;
  if (sequence === expected) return; // Only a close mark was hit: it says nothing about groups.
  let end = found.at;
  const groupIds = new Set<number>();
  while (end > from) {
    // The frame before this one is the batch before it, or a close mark with the same number.
    const mark = tableOf(segment, bytes, end, sequence);
    const footer = mark ?? tableOf(segment, bytes, end, sequence - 1);
    if (footer === null || footer.totalBytes > end - from) break;
    for (const id of footer.groupIds) groupIds.add(id);
    if (mark === null) sequence--;
    end -= footer.totalBytes;
  }
  const attributed = end === from && (expected === 0 || sequence === expected);
  replay.lose(attributed ? [...groupIds] : null, segment, from);
  replay.nextSequence = found.header.sequence;
}

function tableOf(
  segment: Segment,
  bytes: Buffer,
  end: number,
  sequence: number,
): { totalBytes: number; groupIds: number[] } | null {
  const footer = decodeFrameFooter(bytes, end, sequence, segment.seed);
  return footer === null ? null : { totalBytes: footer.totalBytes, groupIds: decodeTable(footer.table) };
}

function claimedBytes(segment: Segment, bytes: Buffer, at: number, nextSequence: number): number {
  const header = headerAt(segment, bytes, at, nextSequence);
  return header === null ? 0 : frameBytes(header.recordsBytes, header.tableBytes);
}
