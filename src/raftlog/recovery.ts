import type { Disk } from '../base/disk.js';
import type { Logger } from '../base/logger.js';
import type { Runtime } from '../base/runtime.js';
import type { LogId } from './format.js';
import { encodeIdentity, frameHeaderBytes, identityName, parseSegmentName } from './format.js';
import type { Group, GroupHost } from './group.js';
import { spareSegmentsMax } from './limits.js';
import type { OpenedSegment } from './log_directory.js';
import { openSegments, readIdentity, segmentSequences } from './log_directory.js';
import { RaftLogError } from './log_error.js';
import { scanLog, whatIsMissing } from './log_scan.js';
import type { Replay } from './replay.js';
import type { SegmentScan } from './segment_scan.js';
import type { Segment, SegmentTable } from './segment.js';
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
  const identity = held ? await readIdentity(o.disk, o.directory) : null;
  if (held && identity === null) {
    // Every segment's header has the id too.
    o.logger.warn({ directory: o.directory }, 'raft log: the identity file is damaged and is written anew');
  }
  const sequences = segmentSequences(names);
  if (held && sequences.length === 0) {
    throw new RaftLogError('segmentMissing', `${o.directory} held a Raft log, but none of its segments is there`);
  }
  const opened = await openSegments(o.disk, o.directory, sequences, identity);
  const logId = identity ?? opened[0]?.header.logId ?? newLogId(o.runtime);
  const files = new SegmentFiles(o.disk, o.directory, logId, o.segmentBytes);
  await collectSpares(o, names, files);
  if (opened.length === 0) await makeFirst(o, files);
  const result = opened.length === 0 ? empty(files) : await replayAll(o, opened, files);
  if (identity === null) await writeIdentity(o, logId);
  return result;
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
  const scanned = await scanLog({ segments, table: o.table, host: o.host, logger: o.logger });
  const { replay, tail, tailScan } = scanned;
  const gap = whatIsMissing(scanned);
  if (gap !== null) throw new RaftLogError('segmentMissing', gap);
  await mendTail(tail, tailScan, replay, o.logger);
  const obsolete = dropUnneeded(o.table, tail, replay.firstSegment);
  const damaged = replay.finish();
  // A segment made ahead of need is taken apart first, so that its number is free for the next one.
  for (const segment of obsolete.ahead) await files.recycle(segment);
  return { files, groups: replay.groups, damaged, nextSequence: replay.nextSequence, obsolete: obsolete.old };
}

/**
 * Makes the end of the log good. The newest batch may be in the page cache only (the process died between
 * write and sync, or the sync failed): it is written once more and synced, since what replay believed must hold.
 * What lies behind it is cut: a torn batch is never looked at again.
 */
async function mendTail(tail: Segment, scan: SegmentScan, replay: Replay, logger: Logger): Promise<void> {
  tail.tail = scan.end;
  const file = tail.openFile();
  if (scan.closed && scan.tornBytes === 0) {
    // The close mark may be in the page cache only, and a later batch syncs nothing but itself.
    await file.datasync();
    return;
  }
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
  while (table.last !== tail) ahead.push(table.pop());
  const old: Segment[] = [];
  while (table.first.sequence < firstSegment && table.first !== tail && !table.first.needed) old.push(table.shift());
  return { old, ahead };
}
