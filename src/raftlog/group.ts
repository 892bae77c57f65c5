import { assert, must } from '../base/assert.js';
import type { Entry, HardState } from '../raft/message.js';
import type { EntriesUnavailable } from '../raft/storage.js';
import type { GroupLog } from './raft_log.js';
import { entryHeaderBytes } from './record_codec.js';
import type { SlotPool } from './slot_pool.js';
import { blockSlots } from './slot_pool.js';

/** What all groups of a log share. */
export interface GroupHost {
  readonly slots: SlotPool;
  /** An entry that is in memory, or null. */
  cachedEntry(group: Group, index: number, address: number): Entry | null;
  loadEntries(group: Group, lo: number, hi: number, maxBytes: number): Promise<void>;
  /** Bookkeeping of what each segment still holds that is needed. */
  addLive(address: number, bytes: number): void;
  removeLive(address: number, bytes: number): void;
  /** A group's newest record moved; 0: none. */
  moveAnchor(from: number, to: number): void;
}

/** The address of an entry that is known to exist but was not found (yet) while opening. */
const missing = 0;

/** A group's state in memory and the index of its entries. */
export class Group implements GroupLog {
  readonly groupId: number;
  hardState: HardState | null = null;
  baseIndex = 0;
  baseTerm = 0;
  damaged = false;
  /** Address of the newest record; the segment that holds it is needed. */
  anchor = 0;
  /** The last batch whose table has this group. */
  tabledSequence = 0;
  /** The hard state that opening fills in, over and over. */
  private restored: { term: number; vote: number; commit: number } | null = null;
  private readonly host: GroupHost;
  private readonly slots: SlotPool;
  /** Blocks of slots with the places of the entries, in order. */
  private blocks: number[] = [];
  /** Slots of compacted entries at the front of the first block. */
  private head = 0;
  private count = 0;
  private dataBytes = 0;

  constructor(groupId: number, host: GroupHost) {
    this.groupId = groupId;
    this.host = host;
    this.slots = host.slots;
  }

  firstIndex(): number {
    return this.baseIndex + 1;
  }

  lastIndex(): number {
    return this.baseIndex + this.count;
  }

  bytes(): number {
    return this.dataBytes;
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    if (index === this.baseIndex) return this.baseTerm;
    if (index < this.baseIndex) return 'compacted';
    return index > this.lastIndex() ? 'unavailable' : this.slots.term(this.slotOf(index));
  }

  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable {
    if (lo <= this.baseIndex) return 'compacted';
    if (hi > this.lastIndex() + 1) return 'unavailable';
    const out: Entry[] = [];
    let bytes = 0;
    for (let index = lo; index < hi; index++) {
      const slot = this.slotOf(index);
      bytes += this.slots.length(slot);
      if (bytes > maxBytes && out.length > 0) break;
      const entry = this.host.cachedEntry(this, index, this.slots.address(slot));
      if (entry === null) return out.length > 0 ? out : 'pending';
      out.push(entry);
    }
    return out;
  }

  load(lo: number, hi: number, maxBytes: number): Promise<void> {
    return this.host.loadEntries(this, lo, hi, maxBytes);
  }

  /** Where the entry lies; undefined if there is no such entry. */
  addressOf(index: number): number | undefined {
    if (index <= this.baseIndex || index > this.lastIndex()) return undefined;
    return this.slots.address(this.slotOf(index));
  }

  dataLengthOf(index: number): number {
    return this.slots.length(this.slotOf(index));
  }

  /** Adds the entry after the last one. */
  push(address: number, length: number, term: number): void {
    this.slots.set(this.nextSlot(), address, length, term);
    this.dataBytes += length;
    this.host.addLive(address, length + entryHeaderBytes);
  }

  /** Puts an entry that exists at its (new) place. */
  place(index: number, address: number, length: number, term: number): void {
    assert(index > this.baseIndex && index <= this.lastIndex(), 'entry is within the log');
    const slot = this.slotOf(index);
    this.release(slot);
    this.slots.set(slot, address, length, term);
    this.dataBytes += length;
    this.host.addLive(address, length + entryHeaderBytes);
  }

  /** Drops the entries above `lastIndex`. */
  truncate(lastIndex: number): void {
    const kept = Math.max(0, lastIndex - this.baseIndex);
    if (kept >= this.count) return;
    for (let index = this.baseIndex + kept + 1; index <= this.lastIndex(); index++) this.release(this.slotOf(index));
    this.count = kept;
    if (kept === 0) this.head = 0;
    const blocksKept = Math.ceil((this.head + kept) / blockSlots);
    while (this.blocks.length > blocksKept) this.slots.give(must(this.blocks.pop(), 'last block'));
  }

  /** Moves the base up to `index`, which may lie past the last entry. */
  compact(index: number, term: number): void {
    if (index >= this.lastIndex()) this.truncate(this.baseIndex);
    else this.dropFront(index - this.baseIndex);
    this.baseIndex = index;
    this.baseTerm = term;
  }

  /** Drops all entries; the log begins after `index`. */
  reset(index: number, term: number): void {
    this.truncate(this.baseIndex);
    this.baseIndex = index;
    this.baseTerm = term;
  }

  /** While opening: takes a hard state from a record. It is one object for all records: nobody has been given it yet. */
  restoreHardState(term: number, vote: number, commit: number): void {
    if (this.restored === null || this.hardState !== this.restored) {
      this.restored = { term, vote, commit };
      this.hardState = this.restored;
      return;
    }
    this.restored.term = term;
    this.restored.vote = vote;
    this.restored.commit = commit;
  }

  /** While opening: takes bounds from a record. Entries that they imply and that are not known are missing. */
  restoreBounds(baseIndex: number, baseTerm: number, lastIndex: number): void {
    if (baseIndex < this.baseIndex) this.reset(baseIndex, baseTerm);
    else if (baseIndex > this.baseIndex) this.compact(baseIndex, baseTerm);
    this.baseTerm = baseTerm;
    let more = lastIndex - this.lastIndex();
    if (more < 0) this.truncate(lastIndex);
    for (; more > 0; more--) this.slots.set(this.nextSlot(), missing, 0, 0);
  }

  /** While opening: something about this group is lost, so nothing known before may be believed. */
  forgetEntries(): void {
    for (let index = this.baseIndex + 1; index <= this.lastIndex(); index++) {
      const slot = this.slotOf(index);
      this.release(slot);
      this.slots.set(slot, missing, 0, 0);
    }
  }

  hasMissing(): boolean {
    for (let index = this.baseIndex + 1; index <= this.lastIndex(); index++) {
      if (this.slots.address(this.slotOf(index)) === missing) return true;
    }
    return false;
  }

  moveAnchor(address: number): void {
    this.host.moveAnchor(this.anchor, address);
    this.anchor = address;
  }

  /** Calls back for every entry that lies in [start, end). */
  eachEntryIn(start: number, end: number, visit: (index: number, address: number) => void): void {
    for (let index = this.baseIndex + 1; index <= this.lastIndex(); index++) {
      const address = this.slots.address(this.slotOf(index));
      if (address >= start && address < end) visit(index, address);
    }
  }

  private slotOf(index: number): number {
    const at = this.head + index - this.baseIndex - 1;
    return must(this.blocks[Math.floor(at / blockSlots)], 'block') + (at % blockSlots);
  }

  /** The slot of the entry after the last one, which there is from now on. */
  private nextSlot(): number {
    const at = (this.head + this.count++) % blockSlots;
    if (at === 0) this.addBlock();
    return must(this.blocks.at(-1), 'last block') + at;
  }

  /** Most groups have one block: a list of exactly one takes a sixth of one that was pushed to. */
  private addBlock(): void {
    const block = this.slots.take();
    if (this.blocks.length === 0) this.blocks = [block];
    else this.blocks.push(block);
  }

  /** The entry in this slot is no longer needed. */
  private release(slot: number): void {
    const address = this.slots.address(slot);
    if (address === missing) return;
    const length = this.slots.length(slot);
    this.dataBytes -= length;
    this.host.removeLive(address, length + entryHeaderBytes);
  }

  private dropFront(count: number): void {
    for (let n = 1; n <= count; n++) this.release(this.slotOf(this.baseIndex + n));
    this.head += count;
    this.count -= count;
    if (this.head < blockSlots) return;
    for (const block of this.blocks.splice(0, Math.floor(this.head / blockSlots))) this.slots.give(block);
    this.head %= blockSlots;
  }
}
