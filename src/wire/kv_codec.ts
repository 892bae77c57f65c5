import { Reader } from './reader.js';
import { bytesFieldSize, numberFieldSize, Writer } from './writer.js';
import { WireError } from './wire_error.js';

/**
 * Frames of the batch stream: many operations one way, many results the other. The content of an
 * operation or a result stays the bytes that it is; kv_bodies.ts reads and writes those.
 */

/** What an operation is: the field number of BatchOp's oneof. `unknown`: none that this version knows. */
export const OpKind = Object.freeze({ unknown: 0, write: 8, get: 9, exists: 10, batchGet: 11, scan: 12 } as const);
export type OpKind = (typeof OpKind)[keyof typeof OpKind];

/** What a result is: the field number of BatchResult's oneof. `unknown`: none that this version knows. */
export const ResultKind = Object.freeze({ unknown: 0, error: 2, write: 3, get: 4, exists: 5, rows: 6 } as const);
export type ResultKind = (typeof ResultKind)[keyof typeof ResultKind];

/** One operation. */
export interface WireOp {
  /** Chosen by the client, unique among the outstanding operations of its stream. */
  readonly id: number;
  readonly shardId: number;
  readonly confVer: number;
  readonly version: number;
  /** 0: the store's default. */
  readonly timeoutMs: number;
  /** A number of kv.proto's Consistency. */
  readonly consistency: number;
  readonly allowForward: boolean;
  readonly kind: OpKind;
  /** The content of the oneof's field: WriteCommand, key, key, KeyList or ScanOp. A view of the frame. */
  readonly body: Buffer;
}

/** One result. */
export interface WireResult {
  readonly id: number;
  readonly kind: ResultKind;
  /** The content of the oneof's field: Error, WriteResult, ValueResult, a bool as a varint, or RowsResult. */
  readonly body: Buffer;
}

export interface WireBatchRequest {
  readonly clusterId: number;
  readonly storeId: number;
  readonly ops: WireOp[];
}

const emptyBody: Buffer = Buffer.alloc(0);

const clusterIdTag = (1 << 3) | 0;
const storeIdTag = (2 << 3) | 0;
const opsTag = (3 << 3) | 2;

/** One BatchRequest frame. */
export function encodeBatchRequest(clusterId: number, storeId: number, ops: readonly WireOp[]): Buffer {
  let size = numberFieldSize(clusterId) + numberFieldSize(storeId);
  for (const op of ops) size += bytesFieldSize(opSize(op));
  const writer = new Writer(size);
  writer.numberField(clusterIdTag, clusterId);
  writer.numberField(storeIdTag, storeId);
  for (const op of ops) {
    writer.messageHead(opsTag, opSize(op));
    writeOp(writer, op);
  }
  return writer.finish();
}

/** @throws WireError */
export function decodeBatchRequest(frame: Buffer): WireBatchRequest {
  const reader = new Reader(frame);
  const ops: WireOp[] = [];
  let clusterId = 0;
  let storeId = 0;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case clusterIdTag:
        clusterId = reader.varint();
        break;
      case storeIdTag:
        storeId = reader.varint();
        break;
      case opsTag: {
        reader.countItem();
        const outerEnd = reader.enter();
        ops.push(readOp(reader));
        reader.leave(outerEnd);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  return { clusterId, storeId, ops };
}

/** One BatchOp by itself, as it is forwarded. */
export function encodeOp(op: WireOp): Buffer {
  const writer = new Writer(opSize(op));
  writeOp(writer, op);
  return writer.finish();
}

/** @throws WireError */
export function decodeOp(bytes: Buffer): WireOp {
  return readOp(new Reader(bytes));
}

const opIdTag = (1 << 3) | 0;
const opShardIdTag = (2 << 3) | 0;
const opConfVerTag = (3 << 3) | 0;
const opVersionTag = (4 << 3) | 0;
const opTimeoutTag = (5 << 3) | 0;
const opConsistencyTag = (6 << 3) | 0;
const opAllowForwardTag = (7 << 3) | 0;
const opWriteTag = (8 << 3) | 2;
const opGetTag = (9 << 3) | 2;
const opExistsTag = (10 << 3) | 2;
const opBatchGetTag = (11 << 3) | 2;
const opScanTag = (12 << 3) | 2;

function opSize(op: WireOp): number {
  return (
    numberFieldSize(op.id) +
    numberFieldSize(op.shardId) +
    numberFieldSize(op.confVer) +
    numberFieldSize(op.version) +
    numberFieldSize(op.timeoutMs) +
    numberFieldSize(op.consistency) +
    (op.allowForward ? 2 : 0) +
    (op.kind === OpKind.unknown ? 0 : bytesFieldSize(op.body.length))
  );
}

function writeOp(writer: Writer, op: WireOp): void {
  writer.numberField(opIdTag, op.id);
  writer.numberField(opShardIdTag, op.shardId);
  writer.numberField(opConfVerTag, op.confVer);
  writer.numberField(opVersionTag, op.version);
  writer.numberField(opTimeoutTag, op.timeoutMs);
  writer.numberField(opConsistencyTag, op.consistency);
  writer.boolField(opAllowForwardTag, op.allowForward);
  if (op.kind !== OpKind.unknown) writer.bytesField((op.kind << 3) | 2, op.body);
}

function readOp(reader: Reader): WireOp {
  let id = 0;
  let shardId = 0;
  let confVer = 0;
  let version = 0;
  let timeoutMs = 0;
  let consistency = 0;
  let allowForward = false;
  let kind: OpKind = OpKind.unknown;
  let body = emptyBody;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case opIdTag:
        id = reader.varint();
        break;
      case opShardIdTag:
        shardId = reader.varint();
        break;
      case opConfVerTag:
        confVer = reader.varint();
        break;
      case opVersionTag:
        version = reader.varint();
        break;
      case opTimeoutTag:
        timeoutMs = reader.uint32();
        break;
      case opConsistencyTag:
        consistency = reader.uint32();
        break;
      case opAllowForwardTag:
        allowForward = reader.bool();
        break;
      case opWriteTag:
      case opGetTag:
      case opExistsTag:
      case opBatchGetTag:
      case opScanTag:
        kind = opKindOf(tag);
        body = reader.bytes();
        break;
      default:
        reader.skip(tag);
    }
  }
  return { id, shardId, confVer, version, timeoutMs, consistency, allowForward, kind, body };
}

function opKindOf(tag: number): OpKind {
  switch (tag) {
    case opWriteTag:
      return OpKind.write;
    case opGetTag:
      return OpKind.get;
    case opExistsTag:
      return OpKind.exists;
    case opBatchGetTag:
      return OpKind.batchGet;
    default:
      return OpKind.scan;
  }
}

const resultsTag = (1 << 3) | 2;

/** One BatchResponse frame. */
export function encodeBatchResponse(results: readonly WireResult[]): Buffer {
  let size = 0;
  for (const result of results) size += bytesFieldSize(resultSize(result));
  const writer = new Writer(size);
  for (const result of results) {
    writer.messageHead(resultsTag, resultSize(result));
    writeResult(writer, result);
  }
  return writer.finish();
}

/** @throws WireError */
export function decodeBatchResponse(frame: Buffer): WireResult[] {
  const reader = new Reader(frame);
  const results: WireResult[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === resultsTag) {
      reader.countItem();
      const outerEnd = reader.enter();
      results.push(readResult(reader));
      reader.leave(outerEnd);
    } else {
      reader.skip(tag);
    }
  }
  return results;
}

/** One BatchResult by itself, as the answer to a forwarded operation. */
export function encodeResult(result: WireResult): Buffer {
  const writer = new Writer(resultSize(result));
  writeResult(writer, result);
  return writer.finish();
}

/** @throws WireError */
export function decodeResult(bytes: Buffer): WireResult {
  return readResult(new Reader(bytes));
}

const resultIdTag = (1 << 3) | 0;
const resultErrorTag = (2 << 3) | 2;
const resultWriteTag = (3 << 3) | 2;
const resultGetTag = (4 << 3) | 2;
const resultExistsTag = (5 << 3) | 0;
const resultRowsTag = (6 << 3) | 2;

function resultSize({ id, kind, body }: WireResult): number {
  const idSize = numberFieldSize(id);
  if (kind === ResultKind.unknown) return idSize;
  if (kind === ResultKind.exists) return idSize + 1 + body.length;
  return idSize + bytesFieldSize(body.length);
}

function writeResult(writer: Writer, { id, kind, body }: WireResult): void {
  writer.numberField(resultIdTag, id);
  if (kind === ResultKind.unknown) return;
  if (kind === ResultKind.exists) {
    writer.tag(resultExistsTag);
    writer.raw(body);
  } else {
    writer.bytesField((kind << 3) | 2, body);
  }
}

function readResult(reader: Reader): WireResult {
  let id = 0;
  let kind: ResultKind = ResultKind.unknown;
  let body = emptyBody;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case resultIdTag:
        id = reader.varint();
        break;
      case resultErrorTag:
        kind = ResultKind.error;
        body = reader.bytes();
        break;
      case resultWriteTag:
        kind = ResultKind.write;
        body = reader.bytes();
        break;
      case resultGetTag:
        kind = ResultKind.get;
        body = reader.bytes();
        break;
      case resultRowsTag:
        kind = ResultKind.rows;
        body = reader.bytes();
        break;
      case resultExistsTag: {
        const start = reader.pos;
        reader.varint();
        kind = ResultKind.exists;
        body = reader.buffer.subarray(start, reader.pos);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  return { id, kind, body };
}

export * from './kv_bodies.js';
export { WireError };
