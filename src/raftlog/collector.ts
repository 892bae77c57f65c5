import type { Logger } from '../base/logger.js';
import { assert } from '../base/assert.js';
import type { Runtime } from '../base/runtime.js';
import type { Entry } from '../raft/message.js';
import { framesOffset } from './format.js';
import type { Group } from './group.js';
import { collectorGroupsPerTurn } from './limits.js';
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
 * That happens while at least half of the sealed log is garbage, or an eighth when it is above `logBytesMax`. What is
 * rewritten never exceeds what was written otherwise (plus one segment), so a log of tiny
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
  private rewrittenBytes = 0;
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
    const worthIt = above ? garbage * 8 >= sealed : garbage * 2 >= sealed;
    const credit = this.writer.bytesWritten - this.rewrittenBytes * 2 + first.sizeBytes;
    return worthIt && first.liveBytes <= credit;
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
    const wanted: WantedEntry[] = [];
    const resting: Group[] = [];
    let seen = 0;
    for (const group of this.groups.values()) {
      if (++seen % collectorGroupsPerTurn === 0) await this.turn();
      if (this.groups.get(group.groupId) !== group) continue;
      if (group.anchor >= segment.base && group.anchor < segment.end) resting.push(group);
      group.eachEntryIn(segment.base + framesOffset, segment.end, (index, address) => {
        wanted.push({ group, index, address, length: group.dataLengthOf(index) });
      });
    }
    wanted.sort((a, b) => a.address - b.address);
    for (const run of planReads(wanted, this.table)) {
      const found = await readRun(run, this.table);
      if (this.writer.hasFailed()) return;
      await this.settle(this.rewriteFound(found));
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
      this.rewrittenBytes += f.length + entryHeaderBytes;
    }
    put();
    return batch;
  }

  private rewriteResting(resting: readonly Group[], segment: Segment): Batch | null {
    let batch: Batch | null = null;
    for (const group of resting) {
      const rests = group.anchor >= segment.base && group.anchor < segment.end;
      if (rests && this.groups.get(group.groupId) === group) batch = this.rewrite(group, []);
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
