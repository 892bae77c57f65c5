import type { Logger } from '../base/logger.js';
import { assert } from '../base/assert.js';
import type { Runtime } from '../base/runtime.js';
import type { Entry } from '../raft/message.js';
import { framesOffset } from './format.js';
import type { Group } from './group.js';
import { collectorGroupsPerTurn, collectorSlotsPerTurn, collectorWindowBytes, restingRecordBytes } from './limits.js';
import type { FoundEntry, WantedEntry } from './loader.js';
import { planReads, readRun } from './loader.js';
import type { Batch, LogWriter } from './log_writer.js';
import { entryHeaderBytes } from './record_codec.js';
import type { Segment, SegmentTable } from './segment.js';
import type { SegmentFiles } from './segment_files.js';

/**
 * Garbage collection. Segments are freed from the front only, so the log is always an unbroken run of
 * segments and a dropped group's tombstone always outlives what it drops.
 *
 * A front segment that nothing needs is freed at once. One that is needed is emptied first: its needed
 * entries and the newest records of groups that rest in it are written again at the end of the log.
 * That happens while at least half of the sealed log is garbage, above `logBytesMax` an eighth; and in a log half as
 * large as that, when no more than a quarter of the front segment is needed: the few groups that pin it are moved out. What may be
 * rewritten is bounded by what was written and what groups gave up, so a log of tiny
 * entries, whose frames alone look like garbage, cannot keep the collector spinning.
 *
 *   empty the front segment ─▶ sync ─▶ leave it out of `firstSegment` of a batch ─▶ sync ─▶ recycle its file
 */
export class Collector {
  private readonly groups: ReadonlyMap<number, Group>;
  private readonly table: SegmentTable;
  private readonly files: SegmentFiles;
  private readonly writer: LogWriter;
  private readonly runtime: Runtime;
  private readonly logger: Logger;
  private readonly logBytesMax: number;
  private readonly rewrite: (group: Group, entries: readonly Entry[]) => Batch;
  private readonly onDamagedEntry: (group: Group, index: number) => void;
  private running: Promise<void> | null = null;
  private stopped = false;
  /** Bytes of entries moved, and of groups' newest records. */
  private movedBytes = 0;
  private restingBytes = 0;
  private saidFull = false;

  constructor(o: {
    groups: ReadonlyMap<number, Group>;
    table: SegmentTable;
    files: SegmentFiles;
    writer: LogWriter;
    runtime: Runtime;
    logger: Logger;
    logBytesMax: number;
    rewrite: (group: Group, entries: readonly Entry[]) => Batch;
    onDamagedEntry: (group: Group, index: number) => void;
  }) {
    this.groups = o.groups;
    this.table = o.table;
    this.files = o.files;
    this.writer = o.writer;
    this.runtime = o.runtime;
    this.logger = o.logger;
    this.logBytesMax = o.logBytesMax;
    this.rewrite = o.rewrite;
    this.onDamagedEntry = o.onDamagedEntry;
  }

  /** Starts a collection if there is something to collect and none is running. Cheap when there is not. */
  maybeStart(): void {
    if (this.running !== null || this.stopped || !this.wanted()) return;
    this.running = this.run()
      .catch((error: unknown) => this.writer.fail(error instanceof Error ? error : new Error(String(error))))
      .finally(() => {
        this.running = null;
      });
  }

  /** Resolves when no collection is running; none starts after it. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private wanted(): boolean {
    const first = this.table.first;
    if (first.sequence >= this.writer.writtenSegment.sequence) return false;
    if (!first.needed) return true;
    const sealed = this.table.sealedBytes;
    const garbage = sealed - this.table.liveBytes;
    const above = sealed > this.logBytesMax;
    if (above && !this.saidFull) {
      this.saidFull = true;
      this.logger.warn({ sealed, needed: this.table.liveBytes }, 'raft log is above its size bound');
    }
    if (!above) this.saidFull = false;
    const cost = first.liveBytes + first.anchors * restingRecordBytes;
    // A few groups pin a segment that is otherwise garbage: cheap to free, but no use while the log is small.
    const pinned = sealed * 2 > this.logBytesMax && cost * 4 <= first.sizeBytes;
    const worthIt = pinned || garbage * (above ? 8 : 2) >= sealed;
    // Entries that groups gave up. Each byte of them pays for moving eight others: all there are when an eighth is garbage.
    const released = this.table.addedBytes - this.table.liveBytes - this.movedBytes;
    const earned = this.writer.bytesWritten + released * 8 + first.sizeBytes;
    const credit = earned - (this.movedBytes + this.restingBytes) * 2;
    return worthIt && cost <= credit;
  }

  private async run(): Promise<void> {
    while (!this.stopped && !this.writer.hasFailed() && this.wanted()) {
      const segment = this.table.first;
      if (segment.needed) await this.empty(segment);
      if (this.writer.hasFailed()) return;
      if (segment.needed) continue;
      this.table.shift();
      // The batch names the new first segment; only when it is on disk may the old one change.
      await this.writer.flush();
      await this.files.recycle(segment);
    }
  }

  private async empty(segment: Segment): Promise<void> {
    // By place, so that a window of the segment is read once whatever groups have entries in it.
    const windows: WantedEntry[][] = [];
    const resting: Group[] = [];
    let groupsSeen = 0;
    let slotsSeen = 0;
    for (const group of this.groups.values()) {
      slotsSeen += group.lastIndex() - group.baseIndex;
      if (++groupsSeen >= collectorGroupsPerTurn || slotsSeen >= collectorSlotsPerTurn) {
        groupsSeen = slotsSeen = 0;
        await this.turn();
      }
      if (this.groups.get(group.groupId) !== group) continue;
      if (group.anchor >= segment.base && group.anchor < segment.end) resting.push(group);
      group.eachEntryIn(segment.base + framesOffset, segment.end, (index, address) => {
        const window = Math.floor((address - segment.base) / collectorWindowBytes);
        (windows[window] ??= []).push({ group, index, address, length: group.dataLengthOf(index) });
      });
    }
    for (const window of windows.filter((w) => w.length > 0)) {
      window.sort((a, b) => a.address - b.address);
      for (const run of planReads(window, this.table)) {
        const found = await readRun(run, this.table);
        if (this.writer.hasFailed()) return;
        await this.settle(this.rewriteFound(found));
      }
    }
    await this.settle(this.rewriteResting(resting, segment));
  }

  /** Writes again what is still where it was found, consecutive entries of a group in one record. */
  private rewriteFound(found: readonly FoundEntry[]): Batch | null {
    let batch: Batch | null = null;
    let group: Group | null = null;
    let entries: Entry[] = [];
    const put = (): void => {
      if (group !== null && entries.length > 0) batch = this.rewrite(group, entries);
      entries = [];
    };
    for (const f of found) {
      if (this.groups.get(f.group.groupId) !== f.group || f.group.addressOf(f.index) !== f.address) continue;
      if (f.entry === null) {
        this.onDamagedEntry(f.group, f.index);
        if (group === f.group) entries = [];
        continue;
      }
      if (group !== f.group || entries.at(-1)?.index !== f.index - 1) put();
      group = f.group;
      entries.push(f.entry);
      this.movedBytes += f.length + entryHeaderBytes;
    }
    put();
    return batch;
  }

  private rewriteResting(resting: readonly Group[], segment: Segment): Batch | null {
    let batch: Batch | null = null;
    for (const group of resting) {
      const rests = group.anchor >= segment.base && group.anchor < segment.end;
      if (!rests || this.groups.get(group.groupId) !== group) continue;
      batch = this.rewrite(group, []);
      this.restingBytes += restingRecordBytes;
    }
    return batch;
  }

  private async settle(batch: Batch | null): Promise<void> {
    if (batch === null) return;
    this.writer.kick();
    await batch.synced;
    assert(!this.writer.hasFailed(), 'a batch that is synced did not fail');
  }

  private turn(): Promise<void> {
    return new Promise((resolve) => this.runtime.nextTurn(resolve));
  }
}
