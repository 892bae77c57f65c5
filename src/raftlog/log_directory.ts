import type { Disk, DiskFile } from '../base/disk.js';
import type { LogId, SegmentHeader } from './format.js';
import {
  decodeIdentity,
  decodeSegmentHeader,
  formatVersion,
  headerCopyOffset,
  identityName,
  parseSegmentName,
  segmentHeaderBytes,
  segmentName,
  segmentSeed,
} from './format.js';
import { RaftLogError } from './log_error.js';
import { Segment } from './segment.js';

/** What reading a log's directory needs of a disk. Nothing in this file changes anything. */
export type LogSource = Pick<Disk, 'open' | 'list'>;

/** Numbers of the segments among these names, ascending. Spares and unfinished files are none. */
export function segmentSequences(names: readonly string[]): number[] {
  const sequences = names.flatMap((name) => {
    const parsed = parseSegmentName(name);
    return parsed?.kind === 'log' ? [parsed.sequence] : [];
  });
  return sequences.sort((a, b) => a - b);
}

/** The id of the log in `directory`; null if the file that has it is damaged. @throws RaftLogError formatVersion */
export async function readIdentity(source: LogSource, directory: string): Promise<LogId | null> {
  const file = await source.open(`${directory}/${identityName}`, { create: false });
  const bytes = await file.read(0, 64);
  await file.close();
  const identity = decodeIdentity(bytes);
  if (identity === null) return null;
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

/** A segment whose header is good, its file open. */
export interface OpenedSegment {
  readonly header: SegmentHeader;
  readonly segment: Segment;
}

/**
 * Opens these segments, which must be of the log `identity` (null: of the log that the first one is of).
 * @throws RaftLogError segmentForeign, segmentHeaderDamaged, formatVersion
 */
export async function openSegments(
  source: LogSource,
  directory: string,
  sequences: readonly number[],
  identity: LogId | null,
): Promise<OpenedSegment[]> {
  const opened: OpenedSegment[] = [];
  const files: DiskFile[] = [];
  try {
    for (const sequence of sequences) {
      const name = segmentName(sequence, 'log');
      const file = await source.open(`${directory}/${name}`, { create: false });
      files.push(file);
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
  } catch (error) {
    for (const file of files) await file.close();
    throw error;
  }
}

async function readHeader(file: DiskFile, name: string): Promise<SegmentHeader> {
  const bytes = await file.read(0, headerCopyOffset + segmentHeaderBytes);
  const decoded = decodeSegmentHeader(bytes) ?? decodeSegmentHeader(bytes.subarray(headerCopyOffset));
  if (decoded === null)
    throw new RaftLogError('segmentHeaderDamaged', `both copies of the header of ${name} are damaged`);
  checkVersion(decoded.version, name);
  return decoded.header;
}
