import type { Logger } from '../base/logger.js';
import { must } from '../base/assert.js';
import type { GroupHost } from './group.js';
import { Group } from './group.js';
import type { DecodedState, RecordSink } from './record_codec.js';
import { lossesToldMax } from './limits.js';
import { decodeRecords } from './record_codec.js';
import type { Segment } from './segment.js';

/** A power of two. */
const nearGroups = 1 << 14;

/** A batch before the end that was found damaged. */
export interface Loss {
  readonly segment: number;
  readonly offset: number;
  /** The groups that it touched; null: nobody knows, so all groups that were known. */
  readonly groupIds: readonly number[] | null;
}

/** Where the newest batch lies. */
export interface BatchPlace {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Rebuilds the groups from the batches of the log, oldest first. Older segments are gone, so a group may
 * first show up with entries whose predecessors were moved behind them: those are missing until they come.
 *
 * When a batch is lost, everything known of the groups that it touched is forgotten. Later records may make up for it (they carry the
 * whole state, and a compaction may have passed what was lost); a group that still lacks something at the end is damaged.
 */
export class Replay implements RecordSink {
  readonly groups = new Map<number, Group>();
  /** Groups of `groups` by the low bits of their ids: found faster than in a map, for ids close together. */
  private readonly near = new Array<Group | undefined>(nearGroups).fill(undefined);
  /** The oldest segment that the newest batch calls needed. */
  firstSegment = 1;
  /** Number of the next batch; 0 where the log begins in the middle of its life and any may come. */
  nextSequence: number;
  lastBatch: BatchPlace | null = null;
  /** The first damaged stretches, for people; what they cost is in `finish()`. */
  readonly losses: Loss[] = [];
  /** All damaged stretches, counted. */
  lossCount = 0;
  private readonly host: GroupHost;
  private readonly logger: Logger;
  private readonly stateLost = new Set<number>();
  private group: Group | null = null;
  private address = 0;

  constructor(host: GroupHost, logger: Logger, nextSequence: number) {
    this.host = host;
    this.logger = logger;
    this.nextSequence = nextSequence;
  }

  /** Takes the records in b[start, end), whose first byte has this address. False: they make no sense. */
  batch(b: Buffer, start: number, end: number, address: number): boolean {
    this.address = address - start;
    return decodeRecords(b, start, end, this);
  }

  dropped(groupId: number): void {
    const group = this.groups.get(groupId);
    this.stateLost.delete(groupId);
    if (group === undefined) return;
    group.reset(0, 0);
    group.moveAnchor(0);
    this.groups.delete(groupId);
    this.near[groupId % nearGroups] = undefined;
  }

  state(record: DecodedState, position: number): void {
    const group = this.groupFor(record.groupId);
    if (record.hasHardState) group.restoreHardState(record.term, record.vote, record.commit);
    else group.hardState = null;
    group.damaged = record.damaged;
    // The entries of an append come after what is kept; those of a rewrite exist already, somewhere in the log.
    const appends = record.count > 0 && record.first + record.count - 1 === record.lastIndex;
    group.restoreBounds(record.baseIndex, record.baseTerm, appends ? record.first - 1 : record.lastIndex);
    group.moveAnchor(this.address + position);
    if (this.stateLost.size > 0) this.stateLost.delete(record.groupId);
    this.group = group;
  }

  entry(index: number, term: number, length: number, position: number): void {
    const group = must(this.group, 'group of an entry');
    if (index > group.lastIndex()) group.push(this.address + position, length, term);
    else group.place(index, this.address + position, length, term);
  }

  /** A batch that touched these groups is lost; null: nobody knows which ones. */
  lose(groupIds: readonly number[] | null, segment: Segment, offset: number): void {
    this.lossCount++;
    if (this.losses.length < lossesToldMax) this.losses.push({ segment: segment.sequence, offset, groupIds });
    const lost = groupIds ?? [...this.groups.keys()];
    this.logger.error(
      { segment: segment.sequence, offset, groups: groupIds === null ? 'all' : lost },
      'raft log: a batch before the end is damaged',
    );
    for (const groupId of lost) {
      const group = this.groupFor(groupId);
      group.forgetEntries();
      group.moveAnchor(segment.base + offset);
      this.stateLost.add(groupId);
    }
  }

  /** Everything before a gap in the segments. */
  forgetAll(): void {
    for (const groupId of [...this.groups.keys()]) this.dropped(groupId);
    this.stateLost.clear();
    this.nextSequence = 0;
  }

  /** The damaged groups. Their entries are given up. */
  finish(): number[] {
    const damaged: number[] = [];
    for (const group of this.groups.values()) {
      if (!group.damaged && !this.stateLost.has(group.groupId) && !group.hasMissing()) continue;
      group.reset(group.baseIndex, group.baseTerm);
      damaged.push(group.groupId);
    }
    return damaged;
  }

  private groupFor(groupId: number): Group {
    const near = this.near[groupId % nearGroups];
    if (near?.groupId === groupId) return near;
    let group = this.groups.get(groupId);
    if (group === undefined) {
      group = new Group(groupId, this.host);
      this.groups.set(groupId, group);
    }
    this.near[groupId % nearGroups] = group;
    return group;
  }
}
