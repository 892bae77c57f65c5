import { assert } from '../base/assert.js';
import type { Entry, EntryType, HardState } from '../raft/message.js';
import { crc32, entrySeed } from './checksum.js';
import type { LogBuffer } from './log_buffer.js';

/**
 * Records of a frame. Every record carries the whole state of its group (hard state, base, last index),
 * besides the entries that it brings. So the newest record of a group says all about it but its older
 * entries, one rule replays appends, truncations, compactions, resets and moved entries alike, and after
 * damage the log can tell exactly which groups lost something.
 *
 *   record   flags u8 ‖ group ‖ [term ‖ vote ‖ commit] ‖ base ‖ base term ‖ last - base ‖ count ‖ [first - base] ‖ entries
 *   entry    crc u32 ‖ data length u32 ‖ type u8 ‖ term u64 ‖ data          (other numbers are varints)
 */
export const RecordFlags = Object.freeze({ hardState: 1, dropped: 2, damaged: 4 } as const);
const knownFlags = RecordFlags.hardState | RecordFlags.dropped | RecordFlags.damaged;

export const entryHeaderBytes = 17;
const varintBytesMax = 8;
/** The longest record without its entries. */
export const recordHeaderBytesMax = 1 + 9 * varintBytesMax;
/** What one record may add to its frame's table. */
export const tableItemBytesMax = varintBytesMax;

/** A group's state as a record holds it. */
export interface GroupState {
  readonly groupId: number;
  readonly hardState: HardState | null;
  readonly baseIndex: number;
  readonly baseTerm: number;
  readonly damaged: boolean;
}

export function putVarint(b: Uint8Array, at: number, value: number): number {
  let v = value;
  while (v >= 0x80000000) {
    b[at++] = (v % 128) | 128;
    v = Math.floor(v / 128);
  }
  while (v >= 128) {
    b[at++] = (v & 127) | 128;
    v >>>= 7;
  }
  b[at++] = v;
  return at;
}

export function varintBytes(value: number): number {
  let bytes = 1;
  for (let v = value; v >= 128; v = Math.floor(v / 128)) bytes++;
  return bytes;
}

/** Writes what comes before a record's entries; returns its address. `first` is ignored when `count` is 0. */
export function putRecordHeader(
  out: LogBuffer,
  group: GroupState,
  lastIndex: number,
  first: number,
  count: number,
): number {
  out.ensure(recordHeaderBytesMax);
  const address = out.address;
  const b = out.buffer;
  let at = out.pos;
  const hs = group.hardState;
  b[at++] = (hs === null ? 0 : RecordFlags.hardState) | (group.damaged ? RecordFlags.damaged : 0);
  at = putVarint(b, at, group.groupId);
  if (hs !== null) {
    at = putVarint(b, at, hs.term);
    at = putVarint(b, at, hs.vote);
    at = putVarint(b, at, hs.commit);
  }
  at = putVarint(b, at, group.baseIndex);
  at = putVarint(b, at, group.baseTerm);
  at = putVarint(b, at, lastIndex - group.baseIndex);
  at = putVarint(b, at, count);
  if (count > 0) at = putVarint(b, at, first - group.baseIndex);
  out.pos = at;
  return address;
}

export function putDroppedRecord(out: LogBuffer, groupId: number): void {
  out.ensure(recordHeaderBytesMax);
  out.buffer[out.pos++] = RecordFlags.dropped;
  out.pos = putVarint(out.buffer, out.pos, groupId);
}

/** Writes one entry; returns its address. */
export function putEntry(out: LogBuffer, groupId: number, entry: Entry): number {
  const data = entry.data;
  const length = data.length;
  out.ensure(entryHeaderBytes + length);
  const b = out.buffer;
  const at = out.pos;
  const address = out.address;
  const term = entry.term;
  b.writeUInt32LE(crc32(data, entrySeed(groupId, entry.index, term, entry.type, length)), at);
  b.writeUInt32LE(length, at + 4);
  b[at + 8] = entry.type;
  b.writeUInt32LE(term >>> 0, at + 9);
  b.writeUInt32LE(Math.floor(term / 2 ** 32), at + 13);
  b.set(data, at + entryHeaderBytes);
  out.pos = at + entryHeaderBytes + length;
  return address;
}

/** What readUInt32LE gives, without its checks: for loops over millions of entries that checked the bounds. */
function u32(b: Buffer, at: number): number {
  return ((b[at] ?? 0) | ((b[at + 1] ?? 0) << 8) | ((b[at + 2] ?? 0) << 16) | ((b[at + 3] ?? 0) << 24)) >>> 0;
}

/** The term of the entry at `at`. */
function termAt(b: Buffer, at: number): number {
  const high = u32(b, at + 13);
  // A sum with a product would be a double, and a number object wherever it is passed on.
  return high === 0 ? u32(b, at + 9) : u32(b, at + 9) + high * 2 ** 32;
}

function entryTypeOf(value: number): EntryType | null {
  return value === 0 || value === 1 || value === 2 ? value : null;
}

/** The entry at `at`, its data a view of `b`. Only for bytes whose checksum is known to be good. */
export function viewEntry(b: Buffer, at: number, index: number): Entry {
  const length = b.readUInt32LE(at + 4);
  const type = entryTypeOf(b[at + 8] ?? -1);
  assert(type !== null, 'entry type in memory is valid');
  const start = at + entryHeaderBytes;
  return { term: termAt(b, at), index, type, data: b.subarray(start, start + length) };
}

/** The entry at `at`, or null if it is not this group's entry of this index and length, byte for byte. */
export function checkEntry(b: Buffer, at: number, groupId: number, index: number, length: number): Entry | null {
  if (at < 0 || at + entryHeaderBytes + length > b.length || b.readUInt32LE(at + 4) !== length) return null;
  if (entryTypeOf(b[at + 8] ?? -1) === null) return null;
  const entry = viewEntry(b, at, index);
  const crc = crc32(entry.data, entrySeed(groupId, index, entry.term, entry.type, length));
  return crc === b.readUInt32LE(at) ? entry : null;
}

/** Takes what a frame's records say, in order. */
export interface RecordSink {
  dropped(groupId: number): void;
  /** `position` is where the record starts in the buffer. Calls of `entry` follow, `record.count` of them. */
  state(record: DecodedState, position: number): void;
  entry(index: number, term: number, length: number, position: number): void;
}

/** A record's state. One object for all records of a batch: valid until the sink returns. */
export interface DecodedState {
  groupId: number;
  /** False: the group has no hard state, and the three numbers no meaning. */
  hasHardState: boolean;
  term: number;
  vote: number;
  commit: number;
  baseIndex: number;
  baseTerm: number;
  lastIndex: number;
  damaged: boolean;
  /** Index of the first entry that follows; without meaning when there is none. */
  first: number;
  /** Entries that follow. */
  count: number;
}

class Reader {
  at: number;
  readonly b: Buffer;
  readonly end: number;

  constructor(b: Buffer, start: number, end: number) {
    this.b = b;
    this.at = start;
    this.end = end;
  }

  byte(): number {
    return this.at < this.end ? (this.b[this.at++] ?? -1) : -1;
  }

  /** The next varint, or -1 if it is cut off, longer than it may be, or above 2^53 - 1. */
  varint(): number {
    const { at, b } = this;
    // Nearly all take one or two bytes.
    if (at + 1 < this.end) {
      const first = b[at] ?? 255;
      if (first < 128) {
        this.at = at + 1;
        return first;
      }
      const second = b[at + 1] ?? 255;
      if (second < 128) {
        this.at = at + 2;
        return (first & 127) | (second << 7);
      }
    }
    return this.longVarint();
  }

  private longVarint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < varintBytesMax; i++) {
      const byte = this.byte();
      if (byte < 0) return -1;
      value += (byte & 127) * scale;
      if (byte < 128) return value <= Number.MAX_SAFE_INTEGER ? value : -1;
      scale *= 128;
    }
    return -1;
  }
}

function emptyState(): DecodedState {
  return {
    groupId: 0,
    hasHardState: false,
    term: 0,
    vote: 0,
    commit: 0,
    baseIndex: 0,
    baseTerm: 0,
    lastIndex: 0,
    damaged: false,
    first: 0,
    count: 0,
  };
}

/** Reads what comes before a record's entries into `out`. False: it is not that. */
function decodeState(r: Reader, flags: number, out: DecodedState): boolean {
  const groupId = r.varint();
  out.hasHardState = (flags & RecordFlags.hardState) !== 0;
  if (out.hasHardState) {
    out.term = r.varint();
    out.vote = r.varint();
    out.commit = r.varint();
    if (out.term < 0 || out.vote < 0 || out.commit < 0) return false;
  }
  const baseIndex = r.varint();
  const baseTerm = r.varint();
  const length = r.varint();
  const count = r.varint();
  if (groupId < 0 || baseIndex < 0 || baseTerm < 0 || length < 0 || count < 0) return false;
  const offset = count > 0 ? r.varint() : 1;
  if (offset < 1 || (count > 0 && offset + count - 1 > length)) return false;
  out.groupId = groupId;
  out.baseIndex = baseIndex;
  out.baseTerm = baseTerm;
  out.lastIndex = baseIndex + length;
  out.damaged = (flags & RecordFlags.damaged) !== 0;
  out.first = baseIndex + offset;
  out.count = count;
  return true;
}

function decodeEntries(r: Reader, state: DecodedState, sink: RecordSink): boolean {
  for (let i = 0; i < state.count; i++) {
    if (r.at + entryHeaderBytes > r.end) return false;
    const { at, b } = r;
    const length = u32(b, at + 4);
    if (length > r.end - at - entryHeaderBytes || entryTypeOf(b[at + 8] ?? -1) === null) return false;
    sink.entry(state.first + i, termAt(b, at), length, at);
    r.at = at + entryHeaderBytes + length;
  }
  return true;
}

/** Reads b[start, end) as records. False: the bytes are not records; the sink has seen those before the fault. */
export function decodeRecords(b: Buffer, start: number, end: number, sink: RecordSink): boolean {
  const r = new Reader(b, start, end);
  const state = emptyState();
  while (r.at < r.end) {
    const position = r.at;
    const flags = r.byte();
    if ((flags & ~knownFlags) !== 0) return false;
    if (flags & RecordFlags.dropped) {
      const groupId = r.varint();
      if (groupId < 0) return false;
      sink.dropped(groupId);
      continue;
    }
    if (!decodeState(r, flags, state)) return false;
    sink.state(state, position);
    if (!decodeEntries(r, state, sink)) return false;
  }
  return true;
}

/** The group ids of a frame's table. The table's checksum was good. */
export function decodeTable(table: Buffer): number[] {
  const ids: number[] = [];
  const r = new Reader(table, 0, table.length);
  while (r.at < r.end) {
    const id = r.varint();
    if (id < 0) break;
    ids.push(id);
  }
  return ids;
}
