import { smallInteger } from '../base/small_integer.js';
import { crc32 } from './checksum.js';

/**
 * Bytes on disk. Integers are little-endian; u64 fields hold numbers below 2^53.
 *
 *   segment   header ‖ copy of the header at 512 ‖ frames from 1024 on ‖ zeros or remains of an earlier life
 *   frame     frame header (40) ‖ records ‖ padding ‖ table ‖ footer (16); starts and ends on 8 bytes
 *
 * The table names the groups that the frame touches. It is only read when the frame is damaged: the
 * footer lies at the end, so that it can be found from the frame behind it, and carries the frame's
 * length, so that a damaged stretch can be walked backwards.
 *
 * Every checksum of a frame is seeded with the log's id and the segment's number: what an earlier life of
 * a recycled file left behind, and what a client may have stored as a value, never passes for a frame.
 */
export const formatVersion = 1;
export const segmentHeaderBytes = 64;
export const headerCopyOffset = 512;
export const framesOffset = 1024;
export const frameHeaderBytes = 40;
export const frameFooterBytes = 16;
export const frameAlignBytes = 8;
/** What a frame takes besides its records and its table. */
export const frameOverheadBytes = frameHeaderBytes + frameFooterBytes + frameAlignBytes - 1;
/** A frame without records or table: the seal at the end of a segment, for which room is kept. */
export const emptyFrameBytes = frameHeaderBytes + frameFooterBytes;

const segmentMagic = Buffer.from('SKRYRLOG', 'latin1');
const identityMagic = Buffer.from('SKRYRLID', 'latin1');
const frameMagic = 0x52464b53;
export const frameMagicBytes = Buffer.from('SKFR', 'latin1');

/** batch carries records and takes a sequence number; a seal ends a segment, a close mark a run of the process. */
export const FrameKind = Object.freeze({ batch: 0, seal: 1, close: 2 } as const);
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** 64 random bits that tell this log from any other. */
export interface LogId {
  readonly high: number;
  readonly low: number;
}

export interface SegmentHeader {
  readonly logId: LogId;
  readonly sequence: number;
  /** Address of the segment's first byte: addresses run on from segment to segment and are never used twice. */
  readonly base: number;
  readonly sizeBytes: number;
}

export interface FrameHeader {
  /** Batches count up by one; a seal or close mark has the number of the batch after it. */
  readonly sequence: number;
  /** Number of the oldest segment that the log still needs. */
  readonly firstSegment: number;
  readonly kind: FrameKind;
  readonly recordsBytes: number;
  readonly tableBytes: number;
  readonly recordsCrc: number;
}

export function putU64(b: Buffer, at: number, value: number): void {
  b.writeUInt32LE(value >>> 0, at);
  b.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

export function getU64(b: Buffer, at: number): number {
  return smallInteger(b.readUInt32LE(at) + b.readUInt32LE(at + 4) * 2 ** 32);
}

/** The identity file: proof that there was a log, and the id that its segments must have. */
export function encodeIdentity(id: LogId): Buffer {
  const b = Buffer.alloc(24);
  identityMagic.copy(b, 0);
  b.writeUInt32LE(formatVersion, 8);
  b.writeUInt32LE(id.high, 12);
  b.writeUInt32LE(id.low, 16);
  b.writeUInt32LE(crc32(b.subarray(0, 20), 0), 20);
  return b;
}

export function decodeIdentity(b: Buffer): { version: number; id: LogId } | null {
  if (b.length < 24 || !b.subarray(0, 8).equals(identityMagic)) return null;
  if (b.readUInt32LE(20) !== crc32(b.subarray(0, 20), 0)) return null;
  return { version: b.readUInt32LE(8), id: { high: b.readUInt32LE(12), low: b.readUInt32LE(16) } };
}

export function encodeSegmentHeader(h: SegmentHeader): Buffer {
  const b = Buffer.alloc(segmentHeaderBytes);
  segmentMagic.copy(b, 0);
  b.writeUInt32LE(formatVersion, 8);
  b.writeUInt32LE(h.logId.high, 16);
  b.writeUInt32LE(h.logId.low, 20);
  putU64(b, 24, h.sequence);
  putU64(b, 32, h.base);
  putU64(b, 40, h.sizeBytes);
  b.writeUInt32LE(crc32(b.subarray(0, 60), 0), 60);
  return b;
}

/** The header at the start of `b`, or null if it is damaged. */
export function decodeSegmentHeader(b: Buffer): { version: number; header: SegmentHeader } | null {
  if (b.length < segmentHeaderBytes || !b.subarray(0, 8).equals(segmentMagic)) return null;
  if (b.readUInt32LE(60) !== crc32(b.subarray(0, 60), 0)) return null;
  return {
    version: b.readUInt32LE(8),
    header: {
      logId: { high: b.readUInt32LE(16), low: b.readUInt32LE(20) },
      sequence: getU64(b, 24),
      base: getU64(b, 32),
      sizeBytes: getU64(b, 40),
    },
  };
}

/** The seed of every checksum in a segment. */
export function segmentSeed(logId: LogId, sequence: number): number {
  const b = Buffer.alloc(16);
  b.writeUInt32LE(logId.high, 0);
  b.writeUInt32LE(logId.low, 4);
  putU64(b, 8, sequence);
  return crc32(b, formatVersion);
}

/** Length of a whole frame. */
export function frameBytes(recordsBytes: number, tableBytes: number): number {
  const bytes = frameHeaderBytes + recordsBytes + tableBytes + frameFooterBytes;
  return Math.ceil(bytes / frameAlignBytes) * frameAlignBytes;
}

export function encodeFrameHeader(b: Buffer, h: FrameHeader, seed: number): void {
  b.writeUInt32LE(frameMagic, 0);
  putU64(b, 8, h.sequence);
  putU64(b, 16, h.firstSegment);
  b.writeUInt32LE(h.recordsBytes, 24);
  b.writeUInt32LE(h.tableBytes, 28);
  b.writeUInt32LE(h.recordsCrc, 32);
  b.writeUInt32LE(h.kind, 36);
  b.writeUInt32LE(crc32(b.subarray(8, frameHeaderBytes), seed), 4);
}

/** The frame header at `at`, or null if there is none that is whole. */
export function decodeFrameHeader(b: Buffer, at: number, seed: number): FrameHeader | null {
  if (at + frameHeaderBytes > b.length || b.readUInt32LE(at) !== frameMagic) return null;
  if (b.readUInt32LE(at + 4) !== crc32(b.subarray(at + 8, at + frameHeaderBytes), seed)) return null;
  const kind = b.readUInt32LE(at + 36);
  if (kind !== FrameKind.batch && kind !== FrameKind.seal && kind !== FrameKind.close) return null;
  return {
    sequence: getU64(b, at + 8),
    firstSegment: getU64(b, at + 16),
    kind,
    recordsBytes: b.readUInt32LE(at + 24),
    tableBytes: b.readUInt32LE(at + 28),
    recordsCrc: b.readUInt32LE(at + 32),
  };
}

function footerSeed(seed: number, sequence: number): number {
  return (seed ^ Math.imul(sequence | 0, 0x9e3779b1)) >>> 0;
}

/** Writes the footer at the end of `tail`, which starts with the table and ends where the frame ends. */
export function encodeFrameFooter(
  tail: Buffer,
  totalBytes: number,
  tableBytes: number,
  sequence: number,
  seed: number,
): void {
  const at = tail.length - frameFooterBytes;
  tail.writeUInt32LE(totalBytes, at);
  tail.writeUInt32LE(tableBytes, at + 4);
  tail.writeUInt32LE(sequence >>> 0, at + 8);
  tail.writeUInt32LE(crc32(tail.subarray(at - tableBytes, at + 12), footerSeed(seed, sequence)), at + 12);
}

/** Length and table of the frame that ends at `end` and has this sequence number, or null. */
export function decodeFrameFooter(
  b: Buffer,
  end: number,
  sequence: number,
  seed: number,
): { totalBytes: number; table: Buffer } | null {
  const at = end - frameFooterBytes;
  if (at < 0 || end > b.length) return null;
  const totalBytes = b.readUInt32LE(at);
  const tableBytes = b.readUInt32LE(at + 4);
  if (totalBytes > end || totalBytes < frameBytes(0, tableBytes)) return null;
  const crc = crc32(b.subarray(at - tableBytes, at + 12), footerSeed(seed, sequence));
  if (crc !== b.readUInt32LE(at + 12)) return null;
  return { totalBytes, table: b.subarray(at - tableBytes, at) };
}

const nameDigits = 12;

/** `000000000007.log`: segment 7. `.spare`: recycled, to be used again. `.new`: being filled. */
export function segmentName(sequence: number, kind: 'log' | 'spare' | 'new'): string {
  return `${String(sequence).padStart(nameDigits, '0')}.${kind}`;
}

export function parseSegmentName(name: string): { sequence: number; kind: 'log' | 'spare' | 'new' } | null {
  const match = /^(\d{12,16})\.(log|spare|new)$/.exec(name);
  if (match === null) return null;
  const kind = match[2];
  if (kind !== 'log' && kind !== 'spare' && kind !== 'new') return null;
  return { sequence: Number(match[1]), kind };
}

export const identityName = 'identity';
