import type { Logger } from '../base/logger.js';
import { must } from '../base/assert.js';
import type { GroupHost } from './group.js';
import { Replay } from './replay.js';
import { scanSegment } from './segment_scan.js';
import type { SegmentScan } from './segment_scan.js';
import type { Segment, SegmentTable } from './segment.js';

/** A log as its segments tell it, before anything is mended. */
export interface ScannedLog {
  readonly replay: Replay;
  readonly segments: readonly Segment[];
  /** One for each segment. */
  readonly scans: readonly SegmentScan[];
  /** The segment that the log ends in. Segments behind it were made ahead of need and are empty. */
  readonly tail: Segment;
  readonly tailScan: SegmentScan;
  /** Number of the first segment behind the last gap in the numbers; 1 if there is no gap. */
  readonly firstAfterGap: number;
}

/**
 * Reads all segments, at least one, into a replay. Puts them into the table. Changes nothing on disk.
 */
export async function scanLog(o: {
  segments: readonly Segment[];
  table: SegmentTable;
  host: GroupHost;
  logger: Logger;
}): Promise<ScannedLog> {
  const { segments, table } = o;
  const replay = new Replay(o.host, o.logger, must(segments[0], 'first segment').sequence === 1 ? 1 : 0);
  for (const segment of segments) table.push(segment);
  const scans: SegmentScan[] = [];
  let end: { segment: Segment; scan: SegmentScan } | null = null;
  let previous: Segment | null = null;
  let firstAfterGap = 1;
  const reader = new SegmentReader();
  let reading = reader.read(segments[0]);
  for (const [i, segment] of segments.entries()) {
    const bytes = must(await reading, 'bytes of a segment');
    reading = reader.read(segments[i + 1]);
    if (previous !== null && segment.sequence !== previous.sequence + 1) {
      // Allowed only when the log had given up everything before the gap: whatIsMissing tells.
      firstAfterGap = segment.sequence;
      replay.forgetAll();
    }
    previous = segment;
    const scan = scanSegment(segment, bytes, replay);
    scans.push(scan);
    if (end === null || scan.frames > 0 || end.scan.sealed) end = { segment, scan };
  }
  const { segment: tail, scan: tailScan } = must(end, 'end of the log');
  return { replay, segments, scans, tail, tailScan, firstAfterGap };
}

/**
 * Reads whole segments, each while the one before it is replayed. Two pieces of memory take turns: what a read returned is
 * overwritten by the second read after it.
 */
class SegmentReader {
  private memory: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)];

  read(segment: Segment | undefined): Promise<Buffer | null> {
    if (segment === undefined) return Promise.resolve(null);
    const [oldest, other] = this.memory;
    const into = oldest.length >= segment.sizeBytes ? oldest : Buffer.allocUnsafeSlow(segment.sizeBytes);
    this.memory = [other, into];
    return segment.read(segment.base, segment.sizeBytes, into);
  }
}

/** Segments that must be there and are not, in words; null if the log is all there. */
export function whatIsMissing({ replay, segments, tail, tailScan, firstAfterGap }: ScannedLog): string | null {
  const lowest = Math.max(must(segments[0], 'first segment').sequence, firstAfterGap);
  if (replay.firstSegment < lowest) {
    return `segments ${replay.firstSegment} to ${lowest - 1} are needed but not all there`;
  }
  if (tailScan.sealed) return `segment ${tail.sequence + 1} is missing: the one before it says it was there`;
  return null;
}
