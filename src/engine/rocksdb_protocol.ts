import type { ArenaReader, ArenaWriter } from './arena.js';
import type { LoadTarget, PackedPage, PackOptions, ScanOptions, ScanPage } from './engine.js';
import type { EngineErrorCode } from './engine_error.js';
import { assert, must } from '../base/assert.js';
import type { OpBatch } from './op_batch.js';
import { cutChunks, nextStart, packedBytes, packRows } from './packed_rows.js';

/**
 * What the engine and its storage thread say to each other: records packed into arenas (arena.ts).
 *
 *   request:  kind u8 │ id u32 │ body                     reply:  status u8 │ id u32 │ body
 *   write     ranges u8 │ length u32 │ payload                          nothing
 *   getMany   keys u32 │ { length u32, key } …            { length u32 (absent: 2^32-1), value } …
 *   scan      view u32 │ flags u8 │ limit u32 │ maxBytes u32 │ start │ end
 *                                                         more u8 │ rows u32 │ { key u32, value u32, key, value } …
 *   pack      view u32 │ tag u8 │ skip u32 │ limit u32 │ maxBytes u32 │ start │ end
 *                                                         rows u32 │ next │ packed rows; an empty next: the last page
 *   openView  nothing (the id names the view)             nothing
 *   closeView view u32                                    nothing
 *   openLoader  targets u32 │ { tag u8 │ key bytes u32 (any: 2^32-1) │ length u32, prefix │ start │ end } …; the id names it
 *   load      loader u32 │ length u32 │ chunk             nothing
 *   finishLoader, closeLoader: loader u32                 rows f64, nothing
 *   size      start │ end                                 bytes f64 │ keys f64 │ complete f64 (0 or 1)
 *   middle    start │ end                                 { length u32 (absent: 2^32-1), key }
 *   diskBytes, sync, close: nothing                       bytes f64, nothing, nothing
 *   payload   ops u32 │ { kind u8, key u32, value u32, key, value } …
 *   a reply of status 1:                                  fatal u8 │ code u32 │ message u32 │ code │ message
 *   a reply of status 2: nothing; the last record of the last reply to a message
 */
export const requestKind = {
  write: 1,
  getMany: 2,
  scan: 3,
  openView: 4,
  closeView: 5,
  size: 6,
  diskBytes: 7,
  sync: 8,
  close: 9,
  middle: 10,
  pack: 11,
  openLoader: 12,
  load: 13,
  finishLoader: 14,
  closeLoader: 15,
} as const;

export const replyOk = 0;
export const replyError = 1;
/** Not a reply to one request: the message is done and the next may come. */
export const replyHandled = 2;

/** The length that stands for "no value". */
const absent = 0xffffffff;
const headBytes = 5;
const none = Buffer.alloc(0);
const opHeadBytes = 9;

const reverseFlag = 1;
const keysOnlyFlag = 2;

/** What the storage thread is started with. */
export interface StorageSettings {
  readonly path: string;
  readonly cacheBytes: number;
  readonly writeBufferBytes: number;
  readonly compression: boolean;
  readonly backgroundJobs: number;
}

/** The first message of the storage thread: the database is open, or why not. */
export type StorageOpened =
  { readonly opened: true } | { readonly opened: false; readonly code: EngineErrorCode; readonly message: string };

function reserveHead(out: ArenaWriter, kind: number, id: number, bodyBytes: number): number {
  const at = out.reserve(headBytes + bodyBytes);
  out.bytes[at] = kind;
  out.view.setUint32(at + 1, id, true);
  return at + headBytes;
}

export function putWrite(out: ArenaWriter, id: number, batch: OpBatch): void {
  const { kinds, keys, values } = batch;
  const count = batch.count;
  let at = reserveHead(out, requestKind.write, id, 9 + count * opHeadBytes + batch.bytes);
  const { bytes, view } = out;
  bytes[at] = batch.hasRanges ? 1 : 0;
  view.setUint32(at + 1, 4 + count * opHeadBytes + batch.bytes, true);
  view.setUint32(at + 5, count, true);
  at += 9;
  for (let i = 0; i < count; i++) {
    const key = must(keys[i], 'a key per operation');
    const value = must(values[i], 'a value per operation');
    bytes[at] = must(kinds[i], 'a kind per operation');
    view.setUint32(at + 1, key.length, true);
    view.setUint32(at + 5, value.length, true);
    at += opHeadBytes;
    bytes.set(key, at);
    at += key.length;
    bytes.set(value, at);
    at += value.length;
  }
}

/** The operations of a payload, in order. `visit` gets views into it. */
export function visitOps(payload: Buffer, visit: (kind: number, key: Buffer, value: Buffer) => void): void {
  const { buffer, byteOffset } = payload;
  let left = payload.readUInt32LE(0);
  let at = 4;
  for (; left > 0; left--) {
    const kind = payload.readUInt8(at);
    const keyLength = payload.readUInt32LE(at + 1);
    const valueLength = payload.readUInt32LE(at + 5);
    at += opHeadBytes;
    assert(at + keyLength + valueLength <= payload.length, 'an operation lies in its payload');
    const key = Buffer.from(buffer, byteOffset + at, keyLength);
    at += keyLength;
    visit(kind, key, Buffer.from(buffer, byteOffset + at, valueLength));
    at += valueLength;
  }
}

export function putGetMany(out: ArenaWriter, id: number, keys: readonly Buffer[]): void {
  let size = 4;
  for (const key of keys) size += 4 + key.length;
  let at = reserveHead(out, requestKind.getMany, id, size);
  out.view.setUint32(at, keys.length, true);
  at += 4;
  for (const key of keys) {
    out.view.setUint32(at, key.length, true);
    out.bytes.set(key, at + 4);
    at += 4 + key.length;
  }
}

/** Appends the keys of a getMany to `keys`; returns how many. */
export function readKeys(input: ArenaReader, keys: Buffer[]): number {
  const count = input.u32();
  for (let i = 0; i < count; i++) keys.push(input.slice(input.u32()));
  return count;
}

export function putScan(out: ArenaWriter, id: number, viewId: number, options: ScanOptions): void {
  const { start, end } = options;
  let at = reserveHead(out, requestKind.scan, id, 21 + start.length + end.length);
  const { view } = out;
  view.setUint32(at, viewId, true);
  view.setUint8(at + 4, (options.reverse ? reverseFlag : 0) | (options.keysOnly ? keysOnlyFlag : 0));
  view.setUint32(at + 5, Math.min(options.limit, 0x7fffffff), true);
  view.setUint32(at + 9, Math.min(options.maxBytes, 0x7fffffff), true);
  at = putRange(out, at + 13, start, end);
}

export function readScan(input: ArenaReader): { viewId: number; options: ScanOptions } {
  const viewId = input.u32();
  const flags = input.u8();
  const limit = input.u32();
  const maxBytes = input.u32();
  const { start, end } = readRange(input);
  const options = {
    start,
    end,
    limit,
    maxBytes,
    reverse: (flags & reverseFlag) !== 0,
    keysOnly: (flags & keysOnlyFlag) !== 0,
  };
  return { viewId, options };
}

/** size and middle name a range. */
export function putRangeRequest(
  out: ArenaWriter,
  kind: (typeof requestKind)['size' | 'middle'],
  id: number,
  start: Buffer,
  end: Buffer,
): void {
  putRange(out, reserveHead(out, kind, id, 8 + start.length + end.length), start, end);
}

function putRange(out: ArenaWriter, at: number, start: Buffer, end: Buffer): number {
  out.view.setUint32(at, start.length, true);
  out.view.setUint32(at + 4, end.length, true);
  out.bytes.set(start, at + 8);
  out.bytes.set(end, at + 8 + start.length);
  return at + 8 + start.length + end.length;
}

export function readRange(input: ArenaReader): { start: Buffer; end: Buffer } {
  const startLength = input.u32();
  const endLength = input.u32();
  return { start: input.slice(startLength), end: input.slice(endLength) };
}

export function putPack(out: ArenaWriter, id: number, viewId: number, options: PackOptions): void {
  const { start, end } = options;
  const at = reserveHead(out, requestKind.pack, id, 25 + start.length + end.length);
  const { view } = out;
  view.setUint32(at, viewId, true);
  view.setUint8(at + 4, options.tag);
  view.setUint32(at + 5, options.skip, true);
  view.setUint32(at + 9, options.limit, true);
  view.setUint32(at + 13, options.maxBytes, true);
  putRange(out, at + 17, start, end);
}

export function readPack(input: ArenaReader): { viewId: number; tag: number; skip: number; options: ScanOptions } {
  const viewId = input.u32();
  const tag = input.u8();
  const skip = input.u32();
  const limit = input.u32();
  const maxBytes = input.u32();
  const { start, end } = readRange(input);
  return { viewId, tag, skip, options: { start, end, limit, maxBytes, reverse: false, keysOnly: false } };
}

/** The rows are packed into the message itself. */
export function putPacked(out: ArenaWriter, id: number, page: ScanPage, tag: number, skip: number): void {
  const next = nextStart(page) ?? none;
  const bytes = packedBytes(page.rows, skip);
  let at = reserveHead(out, replyOk, id, 12 + next.length + bytes);
  out.view.setUint32(at, page.rows.length, true);
  out.view.setUint32(at + 4, next.length, true);
  out.view.setUint32(at + 8, bytes, true);
  at += 12;
  out.bytes.set(next, at);
  at += next.length;
  const end = packRows(Buffer.from(out.bytes.buffer, at, bytes), 0, page.rows, tag, skip);
  assert(end === bytes, 'packed rows have the length that was counted');
}

export function readPacked(input: ArenaReader, chunkBytes: number): PackedPage {
  const rows = input.u32();
  const nextLength = input.u32();
  const bytes = input.u32();
  const next = nextLength === 0 ? null : Buffer.from(input.slice(nextLength));
  return { chunks: cutChunks(input.slice(bytes), chunkBytes), rows, next };
}

export function putOpenLoader(out: ArenaWriter, id: number, targets: readonly LoadTarget[]): void {
  let size = 4;
  for (const { prefix, start, end } of targets) size += 17 + prefix.length + start.length + end.length;
  let at = reserveHead(out, requestKind.openLoader, id, size);
  out.view.setUint32(at, targets.length, true);
  at += 4;
  for (const { tag, prefix, start, end, keyBytes } of targets) {
    out.view.setUint8(at, tag);
    out.view.setUint32(at + 1, keyBytes ?? absent, true);
    out.view.setUint32(at + 5, prefix.length, true);
    out.bytes.set(prefix, at + 9);
    at = putRange(out, at + 9 + prefix.length, start, end);
  }
}

/** The targets are copied: they outlive the message. */
export function readOpenLoader(input: ArenaReader): LoadTarget[] {
  const targets: LoadTarget[] = [];
  for (let left = input.u32(); left > 0; left--) {
    const tag = input.u8();
    const keyBytes = input.u32();
    const prefix = Buffer.from(input.slice(input.u32()));
    const { start, end } = readRange(input);
    const target = { tag, prefix, start: Buffer.from(start), end: Buffer.from(end) };
    targets.push(keyBytes === absent ? target : { ...target, keyBytes });
  }
  return targets;
}

export function putLoad(out: ArenaWriter, id: number, loaderId: number, chunk: Buffer): void {
  const at = reserveHead(out, requestKind.load, id, 8 + chunk.length);
  out.view.setUint32(at, loaderId, true);
  out.view.setUint32(at + 4, chunk.length, true);
  out.bytes.set(chunk, at + 8);
}

/** closeView, finishLoader and closeLoader name what they are about. */
export function putNamed(
  out: ArenaWriter,
  kind: (typeof requestKind)['closeView' | 'finishLoader' | 'closeLoader'],
  id: number,
  name: number,
): void {
  const at = reserveHead(out, kind, id, 4);
  out.view.setUint32(at, name, true);
}

/** openView, diskBytes, sync and close have no body. */
export function putBare(
  out: ArenaWriter,
  kind: (typeof requestKind)['openView' | 'diskBytes' | 'sync' | 'close'],
  id: number,
): void {
  reserveHead(out, kind, id, 0);
}

export function putHandled(out: ArenaWriter): void {
  reserveHead(out, replyHandled, 0, 0);
}

export function putDone(out: ArenaWriter, id: number): void {
  reserveHead(out, replyOk, id, 0);
}

export function putNumbers(out: ArenaWriter, id: number, ...numbers: number[]): void {
  let at = reserveHead(out, replyOk, id, 8 * numbers.length);
  for (const number of numbers) {
    out.view.setFloat64(at, number, true);
    at += 8;
  }
}

export function putError(out: ArenaWriter, id: number, code: string, message: string, fatal: boolean): void {
  const codeBytes = Buffer.from(code, 'utf8');
  const messageBytes = Buffer.from(message, 'utf8');
  const at = reserveHead(out, replyError, id, 9 + codeBytes.length + messageBytes.length);
  out.bytes[at] = fatal ? 1 : 0;
  putRange(out, at + 1, codeBytes, messageBytes);
}

export function readError(input: ArenaReader): { fatal: boolean; code: EngineErrorCode; message: string } {
  const fatal = input.u8() === 1;
  const { start: code, end: message } = readRange(input);
  return { fatal, code: code.toString('utf8') as EngineErrorCode, message: message.toString('utf8') };
}

/** Values [from, from + count) as the reply of one getMany. */
export function putValues(
  out: ArenaWriter,
  id: number,
  values: readonly (Buffer | undefined)[],
  from: number,
  count: number,
): void {
  let size = 0;
  for (let i = from; i < from + count; i++) size += 4 + (values[i]?.length ?? 0);
  let at = reserveHead(out, replyOk, id, size);
  for (let i = from; i < from + count; i++) {
    const value = values[i];
    out.view.setUint32(at, value === undefined ? absent : value.length, true);
    at += 4;
    if (value !== undefined) {
      out.bytes.set(value, at);
      at += value.length;
    }
  }
}

export function readValues(input: ArenaReader, count: number): (Buffer | null)[] {
  const values = new Array<Buffer | null>(count);
  for (let i = 0; i < count; i++) {
    const length = input.u32();
    values[i] = length === absent ? null : input.slice(length);
  }
  return values;
}

export function putPage(out: ArenaWriter, id: number, page: ScanPage): void {
  let size = 5;
  for (const row of page.rows) size += 8 + row.key.length + row.value.length;
  let at = reserveHead(out, replyOk, id, size);
  out.bytes[at] = page.more ? 1 : 0;
  out.view.setUint32(at + 1, page.rows.length, true);
  at += 5;
  for (const { key, value } of page.rows) at = putRange(out, at, key, value);
}

export function readPage(input: ArenaReader): ScanPage {
  const more = input.u8() === 1;
  const count = input.u32();
  const rows = new Array<{ key: Buffer; value: Buffer }>(count);
  for (let i = 0; i < count; i++) {
    const { start, end } = readRange(input);
    rows[i] = { key: start, value: end };
  }
  return { rows, more };
}
