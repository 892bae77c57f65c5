import { assert, must } from '../base/assert.js';
import type { Entry, HardState } from '../raft/message.js';
import type { EntriesUnavailable } from '../raft/storage.js';
import type { GroupLog } from './raft_log.js';
import { entryHeaderBytes } from './record_codec.js';

/** What all groups of a log share. */
export interface GroupHost {
  /** An entry that is in memory, or null. */
  cachedEntry(group: Group, index: number, address: number): Entry | null;
  loadEntries(group: Group, lo: number, hi: number, maxBytes: number): Promise<void>;
  /** Bookkeeping of what each segment still holds that is needed. */
  addLive(address: number, bytes: number): void;
  removeLive(address: number, bytes: number): void;
  /** A group's newest record moved; 0: none. */
  moveAnchor(from: number, to: number): void;
}

/** Per entry: address, data length, term. One array of numbers is lean for few entries and for many. */
const slotNumbers = 3;
const slotLength = 1;
const slotTerm = 2;
/** The address of an entry that is known to exist but was not found (yet) while opening. */
const missing = 0;
/** Compacted slots at the front of the array that are tolerated before they are cut off. */
const deadSlotsMin = 64;

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
  private slots: number[] = [];
  /** Slots of compacted entries at the front of the array. */
  private head = 0;
  private dataBytes = 0;

  constructor(groupId: number, host: GroupHost) {
    this.groupId = groupId;
    this.host = host;
  }

  firstIndex(): number {
    return this.baseIndex + 1;
  }

  lastIndex(): number {
    return this.baseIndex + this.slots.length / slotNumbers - this.head;
  }

  bytes(): number {
    return this.dataBytes;
  }

  term(index: number): number | 'compacted' | 'unavailable' {
    if (index === this.baseIndex) return this.baseTerm;
    if (index < this.baseIndex) return 'compacted';
    return this.slots[this.slotOf(index) + slotTerm] ?? 'unavailable';
  }

  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | EntriesUnavailable {
    if (lo <= this.baseIndex) return 'compacted';
    if (hi > this.lastIndex() + 1) return 'unavailable';
    const out: Entry[] = [];
    let bytes = 0;
    for (let index = lo; index < hi; index++) {
      const slot = this.slotOf(index);
      bytes += this.at(slot + slotLength);
      if (bytes > maxBytes && out.length > 0) break;
      const entry = this.host.cachedEntry(this, index, this.at(slot));
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
    return index > this.baseIndex ? this.slots[this.slotOf(index)] : undefined;
  }

  dataLengthOf(index: number): number {
    return this.at(this.slotOf(index) + slotLength);
  }

  /** Adds the entry after the last one. */
  push(address: number, length: number, term: number): void {
    this.slots.push(address, length, term);
    this.dataBytes += length;
    this.host.addLive(address, length + entryHeaderBytes);
  }

  /** Puts an entry that exists at its (new) place. */
  place(index: number, address: number, length: number, term: number): void {
    const slot = this.slotOf(index);
    assert(index > this.baseIndex && slot < this.slots.length, 'entry is within the log');
    this.forget(slot);
    this.slots[slot] = address;
    this.slots[slot + slotLength] = length;
    this.slots[slot + slotTerm] = term;
    this.dataBytes += length;
    this.host.addLive(address, length + entryHeaderBytes);
  }

  /** Drops the entries above `lastIndex`. */
  truncate(lastIndex: number): void {
    const end = Math.max(this.slotOf(lastIndex + 1), this.head * slotNumbers);
    for (let slot = end; slot < this.slots.length; slot += slotNumbers) this.forget(slot);
    // Setting the length costs even when it stays.
    if (end < this.slots.length) this.slots.length = end;
  }

  /** Moves the base up to `index`, which may lie past the last entry. */
  compact(index: number, term: number): void {
    const last = this.lastIndex();
    const end = Math.min(index, last);
    for (let i = this.baseIndex + 1; i <= end; i++) this.forget(this.slotOf(i));
    if (index >= last) {
      this.slots = [];
      this.head = 0;
    } else {
      this.head += index - this.baseIndex;
      this.cutDeadSlots();
    }
    this.baseIndex = index;
    this.baseTerm = term;
  }

  /** Drops all entries; the log begins after `index`. */
  reset(index: number, term: number): void {
    this.truncate(this.baseIndex);
    this.slots = [];
    this.head = 0;
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
    for (; more > 0; more--) this.slots.push(missing, 0, 0);
  }

  /** While opening: something about this group is lost, so nothing known before may be believed. */
  forgetEntries(): void {
    for (let slot = this.head * slotNumbers; slot < this.slots.length; slot += slotNumbers) this.forget(slot);
  }

  hasMissing(): boolean {
    for (let slot = this.head * slotNumbers; slot < this.slots.length; slot += slotNumbers) {
      if (this.slots[slot] === missing) return true;
    }
    return false;
  }

  moveAnchor(address: number): void {
    this.host.moveAnchor(this.anchor, address);
    this.anchor = address;
  }

  /** Calls back for every entry that lies in [start, end). */
  eachEntryIn(start: number, end: number, visit: (index: number, address: number) => void): void {
    let index = this.baseIndex;
    for (let slot = this.head * slotNumbers; slot < this.slots.length; slot += slotNumbers) {
      index++;
      const address = this.at(slot);
      if (address >= start && address < end) visit(index, address);
    }
  }

  private slotOf(index: number): number {
    return (this.head + index - this.baseIndex - 1) * slotNumbers;
  }

  private at(slot: number): number {
    return must(this.slots[slot], 'slot');
  }

  private forget(slot: number): void {
    const address = this.at(slot);
    if (address === missing) return;
    const length = this.at(slot + slotLength);
    this.dataBytes -= length;
    this.host.removeLive(address, length + entryHeaderBytes);
    this.slots[slot] = missing;
    this.slots[slot + slotLength] = 0;
  }

  private cutDeadSlots(): void {
    if (this.head < deadSlotsMin || this.head * slotNumbers * 2 < this.slots.length) return;
    this.slots.splice(0, this.head * slotNumbers);
    this.head = 0;
  }
}
