import type { Disk, DiskFile } from '../base/disk.js';
import type { Logger } from '../base/logger.js';
import { must } from '../base/assert.js';
import type { Runtime } from '../base/runtime.js';
import type { LogId } from './format.js';
import {
  decodeIdentity,
  decodeSegmentHeader,
  encodeIdentity,
  formatVersion,
  frameHeaderBytes,
  headerCopyOffset,
  identityName,
  parseSegmentName,
  segmentHeaderBytes,
  segmentName,
  segmentSeed,
} from './format.js';
import type { SegmentHeader } from './format.js';
import type { Group, GroupHost } from './group.js';
import { spareSegmentsMax } from './limits.js';
import { RaftLogError } from './log_error.js';
import { Replay } from './replay.js';
import { scanSegment } from './segment_scan.js';
import type { SegmentScan } from './segment_scan.js';
import { Segment } from './segment.js';
import type { SegmentTable } from './segment.js';
import { SegmentFiles } from './segment_files.js';

/** What opening found. The segments are in the table that was given. */
export interface Recovered {
  readonly files: SegmentFiles;
  readonly groups: Map<number, Group>;
  /** Groups that lost something, in this opening or an earlier one. */
  readonly damaged: readonly number[];
  /** Sequence number of the next batch. */
  readonly nextSequence: number;
  /** Segments that the log had given up but not yet recycled. */
  readonly obsolete: readonly Segment[];
}

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly segmentBytes: number;
  readonly table: SegmentTable;
  readonly host: GroupHost;
}

/** Reads the directory, rebuilds the groups, and leaves the log's end ready for new batches. */
export async function recover(o: RecoveryOptions): Promise<Recovered> {
  await o.disk.makeDirectory(o.directory);
  const names = await o.disk.list(o.directory);
  // A killed process may have renamed without syncing: nothing is built on names that a power cut could take back.
  await o.disk.syncDirectory(o.directory);
  const held = names.includes(identityName);
  const identity = held ? await readIdentity(o) : null;
  const sequences = names.flatMap((name) => {
    const parsed = parseSegmentName(name);
    return parsed?.kind === 'log' ? [parsed.sequence] : [];
  });
  sequences.sort((a, b) => a - b);
  if (held && sequences.length === 0) {
    throw new RaftLogError('segmentMissing', `${o.directory} held a Raft log, but none of its segments is there`);
  }
  const opened = await openSegments(o, sequences, identity);
  const logId = identity ?? opened[0]?.header.logId ?? newLogId(o.runtime);
  const files = new SegmentFiles(o.disk, o.directory, logId, o.segmentBytes);
  await collectSpares(o, names, files);
  if (opened.length === 0) await makeFirst(o, files);
  const result = opened.length === 0 ? empty(files) : await replayAll(o, opened, files);
  if (identity === null) await writeIdentity(o, logId);
  return result;
}

interface OpenedSegment {
  readonly header: SegmentHeader;
  readonly segment: Segment;
}

function newLogId(runtime: Runtime): LogId {
  return { high: Math.floor(runtime.random() * 2 ** 32), low: Math.floor(runtime.random() * 2 ** 32) };
}

function empty(files: SegmentFiles): Recovered {
  return { files, groups: new Map(), damaged: [], nextSequence: 1, obsolete: [] };
}

async function makeFirst(o: RecoveryOptions, files: SegmentFiles): Promise<void> {
  const segment = files.plan(null, 0);
  await segment.ready;
  o.table.push(segment);
}

async function readIdentity(o: RecoveryOptions): Promise<LogId | null> {
  const file = await o.disk.open(`${o.directory}/${identityName}`, { create: false });
  const bytes = await file.read(0, 64);
  await file.close();
  const identity = decodeIdentity(bytes);
  if (identity === null) {
    // Every segment's header has the id too.
    o.logger.warn({ directory: o.directory }, 'raft log: the identity file is damaged and is written anew');
    return null;
  }
  checkVersion(identity.version, identityName);
  return identity.id;
}

function checkVersion(version: number, name: string): void {
  if (version === formatVersion) return;
  throw new RaftLogError(
    'formatVersion',
    `${name} has format ${version}; this version of Skerry reads ${formatVersion}`,
  );
}

/** Written once the first segment is there: from then on an empty directory is a loss. */
async function writeIdentity(o: RecoveryOptions, id: LogId): Promise<void> {
  const path = `${o.directory}/${identityName}`;
  const file = await o.disk.open(`${path}.new`, { create: true });
  await file.write([encodeIdentity(id)], 0);
  await file.datasync();
  await file.close();
  await o.disk.rename(`${path}.new`, path);
  await o.disk.syncDirectory(o.directory);
}

async function openSegments(
  o: RecoveryOptions,
  sequences: readonly number[],
  identity: LogId | null,
): Promise<OpenedSegment[]> {
  const opened: OpenedSegment[] = [];
  for (const sequence of sequences) {
    const name = segmentName(sequence, 'log');
    const file = await o.disk.open(`${o.directory}/${name}`, { create: false });
    const header = await readHeader(file, name);
    const logId = identity ?? opened[0]?.header.logId ?? header.logId;
    const previous = opened.at(-1)?.header;
    const fits = previous === undefined || header.base >= previous.base + previous.sizeBytes;
    const same = header.logId.high === logId.high && header.logId.low === logId.low;
    if (header.sequence !== sequence || !same || !fits || (await file.size()) !== header.sizeBytes) {
      throw new RaftLogError(
        'segmentForeign',
        `${name} is not segment ${sequence} of this log: renamed, cut or foreign`,
      );
    }
    const segment = new Segment(sequence, header.base, header.sizeBytes, segmentSeed(logId, sequence));
    segment.file = file;
    opened.push({ header, segment });
  }
  return opened;
}

async function readHeader(file: DiskFile, name: string): Promise<SegmentHeader> {
  const bytes = await file.read(0, headerCopyOffset + segmentHeaderBytes);
  const decoded = decodeSegmentHeader(bytes) ?? decodeSegmentHeader(bytes.subarray(headerCopyOffset));
  if (decoded === null)
    throw new RaftLogError('segmentHeaderDamaged', `both copies of the header of ${name} are damaged`);
  checkVersion(decoded.version, name);
  return decoded.header;
}

/** Takes over spares of the right size; removes the others and what was never finished. */
async function collectSpares(o: RecoveryOptions, names: readonly string[], files: SegmentFiles): Promise<void> {
  let removed = false;
  for (const name of names) {
    const kind = parseSegmentName(name)?.kind;
    if (kind !== 'spare' && kind !== 'new' && name !== `${identityName}.new`) continue;
    const path = files.path(name);
    if (kind === 'spare' && files.spares.length < spareSegmentsMax) {
      const file = await o.disk.open(path, { create: false });
      if ((await file.size()) === o.segmentBytes) {
        files.spares.push({ name, file, sizeBytes: o.segmentBytes });
        continue;
      }
      await file.close();
    }
    await o.disk.unlink(path);
    removed = true;
  }
  if (removed) await o.disk.syncDirectory(o.directory);
}

async function replayAll(
  o: RecoveryOptions,
  opened: readonly OpenedSegment[],
  files: SegmentFiles,
): Promise<Recovered> {
  const segments = opened.map((s) => s.segment);
  const replay = new Replay(o.host, o.logger, must(segments[0], 'first segment').sequence === 1 ? 1 : 0);
  for (const segment of segments) o.table.push(segment);
  let end: { segment: Segment; scan: SegmentScan } | null = null;
  let previous: Segment | null = null;
  let firstNeeded = 1;
  let reading = readWhole(segments[0]);
  for (const [i, segment] of segments.entries()) {
    const bytes = must(await reading, 'bytes of a segment');
    reading = readWhole(segments[i + 1]);
    if (previous !== null && segment.sequence !== previous.sequence + 1) {
      // Allowed only when the log had given up everything before the gap; checked below.
      firstNeeded = segment.sequence;
      replay.forgetAll();
    }
    previous = segment;
    const scan = scanSegment(segment, bytes, replay);
    if (end === null || scan.frames > 0 || end.scan.sealed) end = { segment, scan };
  }
  const { segment: tail, scan } = must(end, 'end of the log');
  checkComplete(segments, scan, tail, replay.firstSegment, firstNeeded);
  await mendTail(tail, scan, replay, o.logger);
  const obsolete = dropUnneeded(o.table, tail, replay.firstSegment);
  const damaged = replay.finish();
  // A segment made ahead of need is taken apart first, so that its number is free for the next one.
  for (const segment of obsolete.ahead) await files.recycle(segment);
  return { files, groups: replay.groups, damaged, nextSequence: replay.nextSequence, obsolete: obsolete.old };
}

/** Reads a segment while the one before it is replayed. */
function readWhole(segment: Segment | undefined): Promise<Buffer | null> {
  return segment === undefined ? Promise.resolve(null) : segment.read(segment.base, segment.sizeBytes);
}

function checkComplete(
  segments: readonly Segment[],
  scan: SegmentScan,
  tail: Segment,
  firstSegment: number,
  firstAfterGap: number,
): void {
  const first = must(segments[0], 'first segment').sequence;
  const lowest = Math.max(first, firstAfterGap);
  if (firstSegment < lowest) {
    throw new RaftLogError('segmentMissing', `segments ${firstSegment} to ${lowest - 1} are needed but not all there`);
  }
  if (scan.sealed) {
    throw new RaftLogError(
      'segmentMissing',
      `segment ${tail.sequence + 1} is missing: the one before it says it was there`,
    );
  }
}

/**
 * Makes the end of the log good. The newest batch may be in the page cache only (the process died between
 * write and sync, or the sync failed): it is written once more and synced, since what replay believed must hold.
 * What lies behind it is cut: a torn batch is never looked at again.
 */
async function mendTail(tail: Segment, scan: SegmentScan, replay: Replay, logger: Logger): Promise<void> {
  tail.tail = scan.end;
  if (scan.closed && scan.tornBytes === 0) return;
  const file = tail.openFile();
  const last = replay.lastBatch;
  if (last !== null) {
    const segment = last.segment;
    await segment.openFile().write([await segment.openFile().read(last.offset, last.bytes)], last.offset);
    if (segment !== tail) await segment.openFile().datasync();
  }
  const cut = Math.min(Math.max(scan.tornBytes, frameHeaderBytes), tail.sizeBytes - scan.end);
  if (scan.tornBytes > 0) {
    logger.warn({ segment: tail.sequence, offset: scan.end, bytes: scan.tornBytes }, 'raft log: torn tail cut off');
  }
  await file.write([Buffer.alloc(cut)], scan.end);
  await file.datasync();
}

/** Takes segments out of the table that the log does not need: given up ones, and empty ones behind its end. */
function dropUnneeded(table: SegmentTable, tail: Segment, firstSegment: number): { old: Segment[]; ahead: Segment[] } {
  const ahead: Segment[] = [];
  while (table.last !== tail) ahead.push(must(table.list.pop(), 'segment behind the end'));
  const old: Segment[] = [];
  while (table.first.sequence < firstSegment && table.first !== tail && !table.first.needed) old.push(table.shift());
  return { old, ahead };
}
