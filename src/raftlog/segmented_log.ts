import { assert, must, unreachable } from '../base/assert.js';
import type { Disk } from '../base/disk.js';
import type { Logger } from '../base/logger.js';
import type { Runtime } from '../base/runtime.js';
import type { Entry } from '../raft/message.js';
import { Collector } from './collector.js';
import { frameOverheadBytes } from './format.js';
import { Group } from './group.js';
import type { GroupHost } from './group.js';
import {
  arenaBytesMax,
  cacheBytesMaxDefault,
  loadEntriesMax,
  loadedBytesMax,
  logBytesHardMaxDefault,
  logBytesMaxDefault,
  nearlyFullShare,
  pressureShare,
  reserveSegments,
  segmentBytesDefault,
  segmentBytesMin,
  writeBytesMax,
} from './limits.js';
import { LoadedEntries } from './loaded_entries.js';
import type { WantedEntry } from './loader.js';
import { planReads, readRun } from './loader.js';
import { LogBuffer } from './log_buffer.js';
import { RaftLogError } from './log_error.js';
import type { Batch } from './log_writer.js';
import { LogWriter } from './log_writer.js';
import type { GroupLog, LogRecord, RaftLog, RaftLogStats } from './raft_log.js';
import {
  entryHeaderBytes,
  putDroppedRecord,
  putEntry,
  putRecordHeader,
  recordHeaderBytesMax,
  tableItemBytesMax,
  viewEntry,
} from './record_codec.js';
import type { Recovered } from './recovery.js';
import { recover } from './recovery.js';
import { SegmentTable } from './segment.js';
import { SlotPool } from './slot_pool.js';

export interface RaftLogOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Size of a segment; a log opened with another size keeps its old segments as they are. */
  readonly segmentBytes?: number;
  /** Bound of the memory for recent entries. */
  readonly cacheBytesMax?: number;
  /** The size that garbage collection works to stay below. Entries that are needed can exceed it. */
  readonly logBytesMax?: number;
  /** The size that the log's files never exceed as long as every write fits a segment; at least `reserveSegments` + 2 segments. */
  readonly logBytesHardMax?: number;
  /** Called once, when a write or sync failed. The process must end: nothing is acknowledged after it. */
  onFatal(error: Error): void;
  /** Called when an entry turns out damaged while the log is open: the group is in `damaged` from then on. */
  onDamaged?(groupId: number): void;
}

/**
 * Opens the log in `directory`, or makes one where there is none. Cuts a torn tail off, marks groups that lost
 * something to damage. Throws RaftLogError when the directory's contents cannot be a log that may be used.
 */
export async function openRaftLog(options: RaftLogOptions): Promise<SegmentedLog> {
  const segmentBytes = options.segmentBytes ?? segmentBytesDefault;
  assert(segmentBytes >= segmentBytesMin && segmentBytes < 2 ** 32, 'a segment has between 4 KiB and 4 GiB');
  const hardMax = options.logBytesHardMax ?? logBytesHardMaxDefault;
  assert(hardMax >= (reserveSegments + 2) * segmentBytes, 'the hard bound holds the reserve and two segments');
  const table = new SegmentTable();
  const loaded = new LoadedEntries(Math.min(loadedBytesMax, options.cacheBytesMax ?? cacheBytesMaxDefault));
  const buffer = new LogBuffer(options.cacheBytesMax ?? cacheBytesMaxDefault, arenaBytesMax);
  const host = new EntryAccess(table, buffer, loaded);
  const recovered = await recover({ ...options, segmentBytes, table, host });
  const log = new SegmentedLog(options, recovered, table, buffer, loaded, host);
  await log.settle(recovered);
  return log;
}

/** What groups need of the log: entries in memory, entries on disk, and the books of what is needed. */
class EntryAccess implements GroupHost {
  onDamagedEntry: (group: Group, index: number) => void = () => undefined;
  failure: () => Error | null = () => null;
  readonly slots = new SlotPool();
  private readonly table: SegmentTable;
  private readonly buffer: LogBuffer;
  private readonly loaded: LoadedEntries;

  constructor(table: SegmentTable, buffer: LogBuffer, loaded: LoadedEntries) {
    this.table = table;
    this.buffer = buffer;
    this.loaded = loaded;
  }

  addLive(address: number, bytes: number): void {
    this.table.addLive(address, bytes);
  }

  removeLive(address: number, bytes: number): void {
    this.table.removeLive(address, bytes);
  }

  moveAnchor(from: number, to: number): void {
    this.table.moveAnchor(from, to);
  }

  cachedEntry(group: Group, index: number, address: number): Entry | null {
    const piece = this.buffer.find(address);
    if (piece !== null) return viewEntry(piece.buffer, piece.offset + (address - piece.start), index);
    return this.loaded.find(group.groupId, index, address);
  }

  async loadEntries(group: Group, lo: number, hi: number, maxBytes: number): Promise<void> {
    const failure = this.failure();
    if (failure !== null) throw failure;
    const wanted: WantedEntry[] = [];
    let bytes = 0;
    for (let index = lo; index < hi; index++) {
      const address = group.addressOf(index);
      if (address === undefined) throw new RaftLogError('entriesGone', `entry ${index} is not in the log`);
      const length = group.dataLengthOf(index);
      bytes += length;
      if (wanted.length > 0 && bytes > Math.min(maxBytes, loadedBytesMax)) break;
      if (wanted.length >= loadEntriesMax) break;
      if (this.cachedEntry(group, index, address) === null) wanted.push({ group, index, address, length });
      else if (wanted.length > 0) break;
    }
    for (const run of planReads(wanted, this.table)) await this.loadRun(group, run);
  }

  private async loadRun(group: Group, run: readonly WantedEntry[]): Promise<void> {
    // The group may have changed while the run before this one was read.
    const current = run.filter((w) => group.addressOf(w.index) === w.address);
    if (current.length === 0) return;
    const found = await readRun(current, this.table);
    const entries: Entry[] = [];
    for (const { index, address, entry } of found) {
      if (entry === null && group.addressOf(index) === address) {
        this.onDamagedEntry(group, index);
        throw new RaftLogError('entryDamaged', `group ${group.groupId}: entry ${index} does not fit its checksum`);
      }
      if (entry === null) return;
      entries.push(entry);
    }
    this.loaded.add(
      group.groupId,
      entries,
      found.map((f) => f.address),
    );
  }
}

/** The most bytes that a record can take in its batch. */
function recordBytesMax(record: LogRecord): number {
  let bytes = recordHeaderBytesMax + tableItemBytesMax;
  if (record.kind === 'append') for (const entry of record.entries) bytes += entryHeaderBytes + entry.data.length;
  return bytes;
}

/** The most bytes that records can take, and how many entries there are among them. */
function sizeOf(records: readonly LogRecord[]): { bytes: number; entries: number } {
  let bytes = 0;
  let entries = 0;
  for (const record of records) {
    bytes += recordBytesMax(record);
    if (record.kind === 'append') entries += record.entries.length;
  }
  return { bytes, entries };
}

/** RaftLog over segments. See index.ts for how it works. */
export class SegmentedLog implements RaftLog {
  private readonly groups: Map<number, Group>;
  private readonly damagedIds = new Set<number>();
  private readonly options: RaftLogOptions;
  private readonly table: SegmentTable;
  private readonly buffer: LogBuffer;
  private readonly loaded: LoadedEntries;
  private readonly host: EntryAccess;
  private readonly files: Recovered['files'];
  private readonly writer: LogWriter;
  private readonly collector: Collector;
  /** What the files may take, and of that what segments may take for entries. */
  private readonly hardMaxBytes: number;
  private readonly entriesMaxBytes: number;
  private entriesWritten = 0;
  private closing: Promise<void> | null = null;

  constructor(
    options: RaftLogOptions,
    recovered: Recovered,
    table: SegmentTable,
    buffer: LogBuffer,
    loaded: LoadedEntries,
    host: EntryAccess,
  ) {
    this.options = options;
    this.table = table;
    this.buffer = buffer;
    this.loaded = loaded;
    this.host = host;
    this.groups = recovered.groups;
    this.files = recovered.files;
    this.hardMaxBytes = options.logBytesHardMax ?? logBytesHardMaxDefault;
    this.entriesMaxBytes = this.hardMaxBytes - reserveSegments * (options.segmentBytes ?? segmentBytesDefault);
    this.writer = new LogWriter({
      buffer,
      table,
      files: recovered.files,
      runtime: options.runtime,
      nextSequence: recovered.nextSequence,
      afterSync: () => this.collector.maybeStart(),
      onFailure: (error) => this.onFailure(error),
    });
    this.collector = new Collector({
      groups: this.groups,
      table,
      files: recovered.files,
      writer: this.writer,
      runtime: options.runtime,
      logger: options.logger,
      logBytesMax: options.logBytesMax ?? logBytesMaxDefault,
      rewrite: (group, entries) => this.rewrite(group, entries),
      onDamagedEntry: (group, index) => this.onDamagedEntry(group, index),
    });
    host.onDamagedEntry = (group, index) => this.onDamagedEntry(group, index);
    host.failure = () => this.refusal();
  }

  /** After opening: puts on disk what opening found out, so that it holds for the next opening too. */
  async settle(recovered: Recovered): Promise<void> {
    for (const groupId of recovered.damaged) this.markDamaged(must(this.groups.get(groupId), 'damaged group'));
    if (recovered.damaged.length > 0) await this.writer.flush();
    for (const segment of recovered.obsolete) await this.files.recycle(segment);
    this.collector.maybeStart();
  }

  /** Groups that lost entries or state to damage. They must not vote or lead until they are reset or dropped. */
  get damaged(): ReadonlySet<number> {
    return this.damagedIds;
  }

  write(records: readonly LogRecord[]): Promise<void> {
    const refusal = this.refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const { bytes, entries } = sizeOf(records);
    assert(bytes <= writeBytesMax, 'one write() fits a batch');
    if (entries > 0 && !this.hasRoom(bytes)) return Promise.reject(this.full());
    const batch = this.writer.reserve(bytes);
    for (const record of records) this.take(record, batch);
    this.writer.kick();
    return batch.synced;
  }

  takes(records: readonly LogRecord[]): boolean {
    const { bytes, entries } = sizeOf(records);
    return entries === 0 || this.hasRoom(bytes);
  }

  get nearlyFull(): boolean {
    return this.table.sizeBytes > this.entriesMaxBytes * nearlyFullShare;
  }

  group(groupId: number): GroupLog | undefined {
    return this.groups.get(groupId);
  }

  groupIds(): IterableIterator<number> {
    return this.groups.keys();
  }

  get pendingSinceMs(): number | null {
    return this.writer.pendingSinceMs;
  }

  stats(): RaftLogStats {
    const { writer, table } = this;
    let diskBytes = table.sizeBytes + writer.aheadBytes + this.files.recyclingBytes;
    for (const spare of this.files.spares) diskBytes += spare.sizeBytes;
    return {
      groups: this.groups.size,
      segments: table.list.length,
      diskBytes,
      diskBytesMax: this.hardMaxBytes,
      underPressure: table.sizeBytes > this.entriesMaxBytes * pressureShare,
      liveBytes: table.liveBytes,
      cacheBytes: this.buffer.bytes + this.loaded.bytes,
      syncs: writer.syncs,
      batches: writer.batches,
      entries: this.entriesWritten,
      bytesWritten: writer.bytesWritten,
      syncSeconds: writer.syncSeconds,
      batchBytes: writer.batchBytes,
      syncMsP50: writer.syncTimes.percentile(0.5),
      syncMsP99: writer.syncTimes.percentile(0.99),
      lastSyncAtMs: writer.lastSyncAtMs,
    };
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private refusal(): Error | null {
    if (this.writer.failure !== null) return this.writer.failure;
    return this.closing === null ? null : new RaftLogError('closed', 'the Raft log is closed');
  }

  /** True if a write of this size leaves the reserve alone. */
  private hasRoom(bytes: number): boolean {
    if (bytes + frameOverheadBytes <= this.table.last.roomBytes) return true;
    const taken = this.table.sizeBytes + this.files.recyclingBytes;
    return taken + this.files.sizeFor(bytes + frameOverheadBytes) <= this.entriesMaxBytes;
  }

  private full(): RaftLogError {
    const { sizeBytes, liveBytes } = this.table;
    return new RaftLogError(
      'full',
      `the Raft log holds ${sizeBytes} bytes (${liveBytes} needed) of at most ${this.hardMaxBytes}: compact or drop groups`,
    );
  }

  private take(record: LogRecord, batch: Batch): void {
    switch (record.kind) {
      case 'append': {
        const group = must(this.groups.get(record.groupId), 'group of an append');
        if (record.hardState !== null) group.hardState = record.hardState;
        this.append(group, record.entries, batch);
        return;
      }
      case 'compact': {
        const group = must(this.groups.get(record.groupId), 'group of a compaction');
        if (record.index <= group.baseIndex) return;
        assert(group.term(record.index) === record.term, 'compaction ends at an entry of the log');
        group.compact(record.index, record.term);
        this.append(group, [], batch);
        return;
      }
      case 'reset': {
        const group = this.groups.get(record.groupId) ?? new Group(record.groupId, this.host);
        this.groups.set(record.groupId, group);
        if (record.hardState !== null) group.hardState = record.hardState;
        group.reset(record.index, record.term);
        group.damaged = false;
        this.damagedIds.delete(record.groupId);
        this.append(group, [], batch);
        return;
      }
      case 'drop': {
        const group = this.groups.get(record.groupId);
        if (group === undefined) return;
        group.reset(0, 0);
        group.moveAnchor(0);
        this.groups.delete(record.groupId);
        this.damagedIds.delete(record.groupId);
        this.writer.tableGroup(batch, record.groupId);
        putDroppedRecord(this.buffer, record.groupId);
        return;
      }
      default:
        unreachable(record);
    }
  }

  private append(group: Group, entries: readonly Entry[], batch: Batch): void {
    const first = entries[0]?.index ?? 0;
    const count = entries.length;
    if (count > 0) {
      assert(first > group.baseIndex && first <= group.lastIndex() + 1, 'appended entries leave no gap');
      if (first <= group.lastIndex()) group.truncate(first - 1);
    }
    // The record names the last index, so the header goes first but counts the entries behind it.
    const address = this.beginRecord(group, batch, first, count, group.lastIndex() + count);
    for (let i = 0; i < count; i++) {
      const entry = must(entries[i], 'entry');
      assert(entry.index === first + i, 'appended entries are consecutive');
      group.push(putEntry(this.buffer, group.groupId, entry), entry.data.length, entry.term);
    }
    this.entriesWritten += count;
    group.moveAnchor(address);
  }

  /** Garbage collection: writes entries of the group, which exist already, once more. */
  private rewrite(group: Group, entries: readonly Entry[]): Batch {
    const bytes = entries.reduce((sum, e) => sum + entryHeaderBytes + e.data.length, recordHeaderBytesMax);
    const batch = this.writer.reserve(bytes + tableItemBytesMax);
    const address = this.beginRecord(group, batch, entries[0]?.index ?? 0, entries.length, group.lastIndex());
    for (const entry of entries) {
      group.place(entry.index, putEntry(this.buffer, group.groupId, entry), entry.data.length, entry.term);
    }
    group.moveAnchor(address);
    return batch;
  }

  private beginRecord(group: Group, batch: Batch, first: number, count: number, lastIndex: number): number {
    if (group.tabledSequence !== batch.sequence) {
      group.tabledSequence = batch.sequence;
      this.writer.tableGroup(batch, group.groupId);
    }
    return putRecordHeader(this.buffer, group, lastIndex, first, count);
  }

  private onDamagedEntry(group: Group, index: number): void {
    if (this.refusal() !== null || this.groups.get(group.groupId) !== group) return;
    this.options.logger.error({ group: group.groupId, index }, 'raft log entry does not fit its checksum');
    this.markDamaged(group);
    this.writer.kick();
    this.options.onDamaged?.(group.groupId);
  }

  /** The group's entries are given up; the mark stays until the group is reset or dropped. */
  private markDamaged(group: Group): void {
    group.damaged = true;
    this.damagedIds.add(group.groupId);
    group.reset(group.baseIndex, group.baseTerm);
    this.rewrite(group, []);
  }

  private onFailure(error: Error): void {
    this.options.logger.fatal({ err: error }, 'raft log failed; nothing is acknowledged after this');
    this.options.onFatal(error);
  }

  private async shutDown(): Promise<void> {
    await this.collector.stop();
    await this.writer.close();
    // A failed log has released its waiters; what the files hold is for the next opening to find out.
    if (this.writer.failure === null) await this.files.close();
    await this.writer.closeAhead();
    for (const segment of this.table.list) await segment.file?.close();
  }
}
