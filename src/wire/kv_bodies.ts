import { Error as SkerryErrorMessage } from '../gen/skerry/v1/error.js';
import { Reader } from './reader.js';
import { bytesFieldSize, numberFieldSize, Writer } from './writer.js';
import { WireError } from './wire_error.js';

/** Contents of the batch stream's operations and results. Decoded byte strings are views of the body. */

/** One write. A swap's expected null means "the key has no value"; its value null means "delete". */
export type Mutation =
  | { readonly kind: 'set'; readonly key: Buffer; readonly value: Buffer }
  | { readonly kind: 'delete'; readonly key: Buffer }
  | { readonly kind: 'swap'; readonly key: Buffer; readonly expected: Buffer | null; readonly value: Buffer | null };

export interface WriteCommand {
  /** 0: no session. */
  readonly sessionId: number;
  readonly sequence: number;
  readonly ackedBelow: number;
  readonly retry: boolean;
  readonly mutations: readonly Mutation[];
}

export interface WriteResult {
  /** False when a swap failed; current is then what was there. */
  readonly applied: boolean;
  readonly current: Buffer | null;
}

export interface ScanOp {
  readonly startKey: Buffer;
  /** Empty: the end of the shard. */
  readonly endKey: Buffer;
  /** Rows at most; 0: the store's default. */
  readonly limit: number;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  readonly prefix: Buffer;
}

export interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface RowsResult {
  readonly rows: readonly Row[];
  /** True: there are more rows from nextKey on. */
  readonly more: boolean;
  readonly nextKey: Buffer;
}

const empty: Buffer = Buffer.alloc(0);

/** Bytes of a plain proto3 bytes field: nothing when it is empty. */
function plainBytesSize(value: Buffer): number {
  return value.length === 0 ? 0 : bytesFieldSize(value.length);
}

function plainBytes(writer: Writer, tag: number, value: Buffer): void {
  if (value.length !== 0) writer.bytesField(tag, value);
}

/** Bytes of an `optional bytes` field: nothing when it is null. */
function optionalBytesSize(value: Buffer | null): number {
  return value === null ? 0 : bytesFieldSize(value.length);
}

function optionalBytes(writer: Writer, tag: number, value: Buffer | null): void {
  if (value !== null) writer.bytesField(tag, value);
}

const sessionIdTag = (1 << 3) | 0;
const sequenceTag = (2 << 3) | 0;
const ackedBelowTag = (3 << 3) | 0;
const retryTag = (4 << 3) | 0;
const mutationsTag = (5 << 3) | 2;

/** The WriteCommand that a Raft entry is made of. */
export function encodeWriteCommand(command: WriteCommand): Buffer {
  let size =
    numberFieldSize(command.sessionId) +
    numberFieldSize(command.sequence) +
    numberFieldSize(command.ackedBelow) +
    (command.retry ? 2 : 0);
  for (const mutation of command.mutations) size += bytesFieldSize(mutationSize(mutation));
  const writer = new Writer(size);
  writer.numberField(sessionIdTag, command.sessionId);
  writer.numberField(sequenceTag, command.sequence);
  writer.numberField(ackedBelowTag, command.ackedBelow);
  writer.boolField(retryTag, command.retry);
  for (const mutation of command.mutations) {
    writer.messageHead(mutationsTag, mutationSize(mutation));
    writeMutation(writer, mutation);
  }
  return writer.finish();
}

/** @throws WireError */
export function decodeWriteCommand(body: Buffer): WriteCommand {
  const reader = new Reader(body);
  const mutations: Mutation[] = [];
  let sessionId = 0;
  let sequence = 0;
  let ackedBelow = 0;
  let retry = false;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case sessionIdTag:
        sessionId = reader.varint();
        break;
      case sequenceTag:
        sequence = reader.varint();
        break;
      case ackedBelowTag:
        ackedBelow = reader.varint();
        break;
      case retryTag:
        retry = reader.bool();
        break;
      case mutationsTag: {
        reader.countItem();
        const outerEnd = reader.enter();
        mutations.push(readMutation(reader));
        reader.leave(outerEnd);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  return { sessionId, sequence, ackedBelow, retry, mutations };
}

const mutationKeyTag = (1 << 3) | 2;
const mutationSetTag = (2 << 3) | 2;
const mutationDeleteTag = (3 << 3) | 0;
const mutationSwapTag = (4 << 3) | 2;
const swapExpectedTag = (1 << 3) | 2;
const swapValueTag = (2 << 3) | 2;

function swapSize(expected: Buffer | null, value: Buffer | null): number {
  return optionalBytesSize(expected) + optionalBytesSize(value);
}

function mutationSize(mutation: Mutation): number {
  const keySize = plainBytesSize(mutation.key);
  switch (mutation.kind) {
    case 'set':
      return keySize + bytesFieldSize(mutation.value.length);
    case 'delete':
      return keySize + 2;
    case 'swap':
      return keySize + bytesFieldSize(swapSize(mutation.expected, mutation.value));
  }
}

function writeMutation(writer: Writer, mutation: Mutation): void {
  plainBytes(writer, mutationKeyTag, mutation.key);
  switch (mutation.kind) {
    case 'set':
      writer.bytesField(mutationSetTag, mutation.value);
      return;
    case 'delete':
      writer.boolField(mutationDeleteTag, true);
      return;
    case 'swap':
      writer.messageHead(mutationSwapTag, swapSize(mutation.expected, mutation.value));
      optionalBytes(writer, swapExpectedTag, mutation.expected);
      optionalBytes(writer, swapValueTag, mutation.value);
  }
}

/** The last operation wins when there are several, as protobuf has it for a oneof. */
function readMutation(reader: Reader): Mutation {
  let key = empty;
  let kind: Mutation['kind'] | null = null;
  let expected: Buffer | null = null;
  let value: Buffer | null = null;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case mutationKeyTag:
        key = reader.bytes();
        break;
      case mutationSetTag:
        kind = 'set';
        value = reader.bytes();
        break;
      case mutationDeleteTag:
        if (!reader.bool()) throw new WireError('a delete that says false');
        kind = 'delete';
        break;
      case mutationSwapTag: {
        kind = 'swap';
        expected = null;
        value = null;
        const outerEnd = reader.enter();
        while (reader.more()) {
          const swapTag = reader.tag();
          if (swapTag === swapExpectedTag) expected = reader.bytes();
          else if (swapTag === swapValueTag) value = reader.bytes();
          else reader.skip(swapTag);
        }
        reader.leave(outerEnd);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  switch (kind) {
    case 'set':
      return { kind, key, value: value ?? empty };
    case 'delete':
      return { kind, key };
    case 'swap':
      return { kind, key, expected, value };
    case null:
      throw new WireError('a mutation without an operation');
  }
}

const writeAppliedTag = (1 << 3) | 0;
const writeCurrentTag = (2 << 3) | 2;

export function encodeWriteResult(result: WriteResult): Buffer {
  const writer = new Writer((result.applied ? 2 : 0) + optionalBytesSize(result.current));
  writer.boolField(writeAppliedTag, result.applied);
  optionalBytes(writer, writeCurrentTag, result.current);
  return writer.finish();
}

/** @throws WireError */
export function decodeWriteResult(body: Buffer): WriteResult {
  const reader = new Reader(body);
  let applied = false;
  let current: Buffer | null = null;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === writeAppliedTag) applied = reader.bool();
    else if (tag === writeCurrentTag) current = reader.bytes();
    else reader.skip(tag);
  }
  return { applied, current };
}

const valueTag = (1 << 3) | 2;

/** null: the key has no value. */
export function encodeValueResult(value: Buffer | null): Buffer {
  const writer = new Writer(optionalBytesSize(value));
  optionalBytes(writer, valueTag, value);
  return writer.finish();
}

/** @throws WireError */
export function decodeValueResult(body: Buffer): Buffer | null {
  const reader = new Reader(body);
  let value: Buffer | null = null;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === valueTag) value = reader.bytes();
    else reader.skip(tag);
  }
  return value;
}

const existsTrue = Buffer.from([1]);
const existsFalse = Buffer.from([0]);

/** Shared buffers: do not write to them. */
export function encodeExistsResult(exists: boolean): Buffer {
  return exists ? existsTrue : existsFalse;
}

/** @throws WireError */
export function decodeExistsResult(body: Buffer): boolean {
  return new Reader(body).bool();
}

const keysTag = (1 << 3) | 2;

export function encodeKeyList(keys: readonly Buffer[]): Buffer {
  let size = 0;
  for (const key of keys) size += bytesFieldSize(key.length);
  const writer = new Writer(size);
  for (const key of keys) writer.bytesField(keysTag, key);
  return writer.finish();
}

/** @throws WireError */
export function decodeKeyList(body: Buffer): Buffer[] {
  const reader = new Reader(body);
  const keys: Buffer[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === keysTag) {
      reader.countItem();
      keys.push(reader.bytes());
    } else {
      reader.skip(tag);
    }
  }
  return keys;
}

const scanStartTag = (1 << 3) | 2;
const scanEndTag = (2 << 3) | 2;
const scanLimitTag = (3 << 3) | 0;
const scanReverseTag = (4 << 3) | 0;
const scanKeysOnlyTag = (5 << 3) | 0;
const scanPrefixTag = (6 << 3) | 2;

export function encodeScanOp(scan: ScanOp): Buffer {
  const writer = new Writer(
    plainBytesSize(scan.startKey) +
      plainBytesSize(scan.endKey) +
      numberFieldSize(scan.limit) +
      (scan.reverse ? 2 : 0) +
      (scan.keysOnly ? 2 : 0) +
      plainBytesSize(scan.prefix),
  );
  plainBytes(writer, scanStartTag, scan.startKey);
  plainBytes(writer, scanEndTag, scan.endKey);
  writer.numberField(scanLimitTag, scan.limit);
  writer.boolField(scanReverseTag, scan.reverse);
  writer.boolField(scanKeysOnlyTag, scan.keysOnly);
  plainBytes(writer, scanPrefixTag, scan.prefix);
  return writer.finish();
}

/** @throws WireError */
export function decodeScanOp(body: Buffer): ScanOp {
  const reader = new Reader(body);
  let startKey = empty;
  let endKey = empty;
  let limit = 0;
  let reverse = false;
  let keysOnly = false;
  let prefix = empty;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case scanStartTag:
        startKey = reader.bytes();
        break;
      case scanEndTag:
        endKey = reader.bytes();
        break;
      case scanLimitTag:
        limit = reader.uint32();
        break;
      case scanReverseTag:
        reverse = reader.bool();
        break;
      case scanKeysOnlyTag:
        keysOnly = reader.bool();
        break;
      case scanPrefixTag:
        prefix = reader.bytes();
        break;
      default:
        reader.skip(tag);
    }
  }
  return { startKey, endKey, limit, reverse, keysOnly, prefix };
}

const rowsTag = (1 << 3) | 2;
const rowsMoreTag = (2 << 3) | 0;
const rowsNextKeyTag = (3 << 3) | 2;
const rowKeyTag = (1 << 3) | 2;
const rowValueTag = (2 << 3) | 2;

function rowSize(row: Row): number {
  return plainBytesSize(row.key) + plainBytesSize(row.value);
}

export function encodeRowsResult(result: RowsResult): Buffer {
  let size = (result.more ? 2 : 0) + plainBytesSize(result.nextKey);
  for (const row of result.rows) size += bytesFieldSize(rowSize(row));
  const writer = new Writer(size);
  for (const row of result.rows) {
    writer.messageHead(rowsTag, rowSize(row));
    plainBytes(writer, rowKeyTag, row.key);
    plainBytes(writer, rowValueTag, row.value);
  }
  writer.boolField(rowsMoreTag, result.more);
  plainBytes(writer, rowsNextKeyTag, result.nextKey);
  return writer.finish();
}

/** @throws WireError */
export function decodeRowsResult(body: Buffer): RowsResult {
  const reader = new Reader(body);
  const rows: Row[] = [];
  let more = false;
  let nextKey = empty;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case rowsTag: {
        reader.countItem();
        const outerEnd = reader.enter();
        rows.push(readRow(reader));
        reader.leave(outerEnd);
        break;
      }
      case rowsMoreTag:
        more = reader.bool();
        break;
      case rowsNextKeyTag:
        nextKey = reader.bytes();
        break;
      default:
        reader.skip(tag);
    }
  }
  return { rows, more, nextKey };
}

function readRow(reader: Reader): Row {
  let key = empty;
  let value = empty;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === rowKeyTag) key = reader.bytes();
    else if (tag === rowValueTag) value = reader.bytes();
    else reader.skip(tag);
  }
  return { key, value };
}

/** The typed error of a failed operation. */
export function encodeErrorResult(error: SkerryErrorMessage): Buffer {
  return Buffer.from(SkerryErrorMessage.encode(error).finish());
}

/** @throws WireError */
export function decodeErrorResult(body: Buffer): SkerryErrorMessage {
  try {
    return SkerryErrorMessage.decode(body);
  } catch (cause) {
    throw new WireError('a malformed error', { cause });
  }
}
