import { must } from '../base/assert.js';
import { silentLogger } from '../base/logger.js';
import type { Entry, HardState } from '../raft/message.js';
import type { SegmentHeader } from './format.js';
import { formatVersion, identityName, parseSegmentName, segmentName } from './format.js';
import type { Group, GroupHost } from './group.js';
import { inspectEntriesMax } from './limits.js';
import type { WantedEntry } from './loader.js';
import { planReads, readRun } from './loader.js';
import type { LogSource } from './log_directory.js';
import { openSegments, readIdentity, segmentSequences } from './log_directory.js';
import { RaftLogError } from './log_error.js';
import type { ScannedLog } from './log_scan.js';
import { scanLog, whatIsMissing } from './log_scan.js';
import type { Loss } from './replay.js';
import { SegmentTable } from './segment.js';
import { SlotPool } from './slot_pool.js';

/**
 * Reads the log of a stopped store as opening would, and changes nothing: no tail is cut, no
 * damage is marked, no file is recycled. What it shows is what opening would find.
 */

/** What a file is to the log. */
export type InspectedState =
  /** Full; the next segment follows. */
  | 'sealed'
  /** The log ends here. */
  | 'current'
  /** Made ahead of need, empty. */
  | 'ahead'
  /** No longer needed, not recycled yet. */
  | 'givenUp'
  /** Recycled, to be used again. */
  | 'spare'
  /** Being made when the process ended; opening removes it. */
  | 'unfinished'
  /** Not a file of a Raft log. */
  | 'unknown';

export interface InspectedSegment {
  readonly name: string;
  readonly bytes: number;
  readonly state: InspectedState;
  /** Good batches, and the numbers of the first and last one; 0 when there is none. */
  readonly batches: number;
  readonly firstBatch: number;
  readonly lastBatch: number;
  /** Bytes up to the end of the last good frame. */
  readonly usedBytes: number;
  /** Bytes of entries in it that a shard still needs. */
  readonly neededBytes: number;
}

export interface InspectedGroup {
  readonly groupId: number;
  readonly firstIndex: number;
  /** firstIndex - 1: no entries. */
  readonly lastIndex: number;
  /** Term of the last entry, or of the index that the log begins after. */
  readonly lastTerm: number;
  /** null: the group never had one. */
  readonly hardState: HardState | null;
  /** Bytes of entry data. */
  readonly bytes: number;
  /** The group lost something to damage, now or in an earlier life: it will neither vote nor lead. */
  readonly damaged: boolean;
}

/** How the log ends. */
export interface InspectedTail {
  readonly segment: number;
  readonly offset: number;
  /** closed: the process closed its log. open: it did not, but no batch is torn. torn: its last batch is not whole. */
  readonly state: 'closed' | 'open' | 'torn';
  /** Length that the torn batch claims. */
  readonly tornBytes: number;
}

export interface LogReport {
  readonly formatVersion: number;
  readonly directory: string;
  /** False: the file that names the log is damaged; opening writes it anew. */
  readonly identityGood: boolean;
  readonly segments: readonly InspectedSegment[];
  readonly groups: readonly InspectedGroup[];
  readonly tail: InspectedTail | null;
  /** Damaged stretches before the end, the first ones; `damagedStretches` counts all. */
  readonly losses: readonly Loss[];
  readonly damagedStretches: number;
  /** Why the log cannot be opened, or null. */
  readonly missing: string | null;
}

/** An entry that is wanted, and what was found: null when its checksum does not fit. */
export interface InspectedEntry {
  readonly index: number;
  readonly entry: Entry | null;
}

/**
 * @throws RaftLogError noLog when `directory` holds none, segmentForeign, segmentHeaderDamaged, formatVersion when
 * what it holds cannot be read as one log
 */
export async function inspectRaftLog(source: LogSource, directory: string): Promise<LogInspection> {
  const names = await source.list(directory);
  const held = names.includes(identityName);
  const sequences = segmentSequences(names);
  if (!held && sequences.length === 0) throw new RaftLogError('noLog', `${directory} holds no Raft log`);
  const identity = held ? await readIdentity(source, directory) : null;
  const opened = await openSegments(source, directory, sequences, identity);
  const table = new SegmentTable();
  const segments = opened.map((s) => s.segment);
  const others = await otherFiles(source, directory, names);
  const scanned =
    segments.length === 0 ? null : await scanLog({ segments, table, host: bookkeeper(table), logger: silentLogger });
  const headers = opened.map((s) => s.header);
  return new LogInspection({ directory, identityGood: identity !== null, headers, others, scanned, table });
}

/** What groups need of a log that is only looked at. */
function bookkeeper(table: SegmentTable): GroupHost {
  return {
    slots: new SlotPool(),
    cachedEntry: () => null,
    loadEntries: () => Promise.reject(new RaftLogError('closed', 'the log is only inspected')),
    addLive: (address, bytes) => table.addLive(address, bytes),
    removeLive: (address, bytes) => table.removeLive(address, bytes),
    moveAnchor: (from, to) => table.moveAnchor(from, to),
  };
}

async function otherFiles(source: LogSource, directory: string, names: readonly string[]): Promise<InspectedSegment[]> {
  const found: InspectedSegment[] = [];
  for (const name of names) {
    const kind = parseSegmentName(name)?.kind;
    if (kind === 'log' || name === identityName) continue;
    const state =
      kind === 'spare' ? 'spare' : kind === 'new' || name === `${identityName}.new` ? 'unfinished' : 'unknown';
    const file = await source.open(`${directory}/${name}`, { create: false });
    const bytes = await file.size();
    await file.close();
    found.push({ name, bytes, state, batches: 0, firstBatch: 0, lastBatch: 0, usedBytes: 0, neededBytes: 0 });
  }
  return found;
}

/** A log that was read, its files open for reading entries. */
export class LogInspection {
  readonly report: LogReport;
  private readonly scanned: ScannedLog | null;
  private readonly table: SegmentTable;

  constructor(o: {
    directory: string;
    identityGood: boolean;
    headers: readonly SegmentHeader[];
    others: readonly InspectedSegment[];
    scanned: ScannedLog | null;
    table: SegmentTable;
  }) {
    this.scanned = o.scanned;
    this.table = o.table;
    const { scanned } = o;
    const missing =
      scanned === null ? 'the directory held a Raft log, but none of its segments is there' : whatIsMissing(scanned);
    // Needed bytes are those before damaged groups give their entries up: that is what the files hold.
    const segments = [...(scanned === null ? [] : segmentReports(scanned)), ...o.others];
    this.report = {
      formatVersion,
      directory: o.directory,
      identityGood: o.identityGood,
      segments,
      groups: scanned === null ? [] : groupReports(scanned),
      tail: scanned === null ? null : tailReport(scanned),
      losses: scanned?.replay.losses ?? [],
      damagedStretches: scanned?.replay.lossCount ?? 0,
      missing,
    };
  }

  /** The group's entries, from the first one kept, in pages. A damaged group has none. Bounded memory whatever their size. */
  async *entries(groupId: number): AsyncGenerator<readonly InspectedEntry[]> {
    const group = this.scanned?.replay.groups.get(groupId);
    if (group === undefined) throw new RaftLogError('entriesGone', `the log does not know group ${groupId}`);
    for (let index = group.firstIndex(); index <= group.lastIndex(); index += inspectEntriesMax) {
      const wanted: WantedEntry[] = [];
      const end = Math.min(index + inspectEntriesMax, group.lastIndex() + 1);
      for (let i = index; i < end; i++) {
        const address = must(group.addressOf(i), 'address of an entry');
        wanted.push({ group, index: i, address, length: group.dataLengthOf(i) });
      }
      for (const run of planReads(wanted, this.table)) yield await readRun(run, this.table);
    }
  }

  async close(): Promise<void> {
    for (const segment of this.table.list) await segment.file?.close();
  }
}

function segmentReports({ segments, scans, tail, replay }: ScannedLog): InspectedSegment[] {
  return segments.map((segment, i) => {
    const scan = must(scans[i], 'scan of a segment');
    let state: InspectedState = 'sealed';
    if (segment === tail) state = 'current';
    else if (segment.sequence > tail.sequence) state = 'ahead';
    else if (segment.sequence < replay.firstSegment && !segment.needed) state = 'givenUp';
    return {
      name: segmentName(segment.sequence, 'log'),
      bytes: segment.sizeBytes,
      state,
      batches: scan.batches,
      firstBatch: scan.firstBatch,
      lastBatch: scan.lastBatch,
      usedBytes: state === 'ahead' ? 0 : scan.end,
      neededBytes: segment.liveBytes,
    };
  });
}

function groupReports({ replay }: ScannedLog): InspectedGroup[] {
  const damaged = new Set(replay.finish());
  return [...replay.groups.values()]
    .sort((a, b) => a.groupId - b.groupId)
    .map((group) => groupReport(group, damaged.has(group.groupId)));
}

function groupReport(group: Group, damaged: boolean): InspectedGroup {
  const lastIndex = group.lastIndex();
  const lastTerm = group.term(lastIndex);
  return {
    groupId: group.groupId,
    firstIndex: group.firstIndex(),
    lastIndex,
    lastTerm: typeof lastTerm === 'number' ? lastTerm : 0,
    hardState: group.hardState,
    bytes: group.bytes(),
    damaged,
  };
}

function tailReport({ tail, tailScan }: ScannedLog): InspectedTail {
  const torn = tailScan.tornBytes > 0;
  const state = torn ? 'torn' : tailScan.closed ? 'closed' : 'open';
  return { segment: tail.sequence, offset: tailScan.end, state, tornBytes: tailScan.tornBytes };
}
