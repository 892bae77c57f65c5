import { ReplicaRecord, ReplicaState, SessionPart, SessionRecord } from '../src/gen/skerry/v1/kv.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { bytesFieldSize, numberFieldSize, varintSize, Writer } from '../src/wire/writer.js';

/**
 * Rows of the engine that are the store's own: a replica's record and a session's. Both are written
 * once per batch and shard, so they are encoded by hand; decoding happens at start only.
 */
export const recordFormatVersion = 1;

const appliedIndexTag = (5 << 3) | 0;
const appliedTermTag = (6 << 3) | 0;

/** Encodes a replica's record again and again with another applied position. */
export class ReplicaRecordWriter {
  private readonly head: Buffer;

  constructor(replicaId: number, shard: Shard) {
    this.head = encodeReplicaRecord({ replicaId, state: ReplicaState.NORMAL, shard });
  }

  /** The record with the applied position behind the fields that stay the same. */
  encode(appliedIndex: number, appliedTerm: number): Buffer {
    const tail = numberFieldSize(appliedIndex) + numberFieldSize(appliedTerm);
    const writer = new Writer(this.head.length + tail);
    writer.raw(this.head);
    writer.numberField(appliedIndexTag, appliedIndex);
    writer.numberField(appliedTermTag, appliedTerm);
    return writer.finish();
  }
}

export function encodeReplicaRecord(record: {
  readonly replicaId: number;
  readonly state: ReplicaState;
  readonly shard: Shard;
  readonly appliedIndex?: number;
  readonly appliedTerm?: number;
  readonly stagedFile?: string;
}): Buffer {
  return Buffer.from(
    ReplicaRecord.encode(ReplicaRecord.fromPartial({ ...record, formatVersion: recordFormatVersion })).finish(),
  );
}

/** Throws on a record of a format that this version does not know. */
export function decodeReplicaRecord(bytes: Buffer): ReplicaRecord {
  const record = ReplicaRecord.decode(bytes);
  if (record.formatVersion !== recordFormatVersion) {
    throw new Error(
      `a replica record has format version ${record.formatVersion}; this version reads ${recordFormatVersion}`,
    );
  }
  return record;
}

const ackedBelowTag = (1 << 3) | 0;
const sequencesAppliedTag = (2 << 3) | 2;
const lastIndexTag = (3 << 3) | 0;
const sequencesRefusedTag = (4 << 3) | 2;
const partTag = (5 << 3) | 2;
const droppedBeforeTag = (6 << 3) | 0;

export function encodeSessionRecord(record: SessionRecord): Buffer {
  const { ackedBelow, applied, lastIndex, refused } = record;
  const appliedBytes = packedBytes(applied);
  const refusedBytes = packedBytes(refused);
  // Rare: a merge left it behind.
  const part = record.part === undefined ? null : Buffer.from(SessionPart.encode(record.part).finish());
  const writer = new Writer(
    numberFieldSize(ackedBelow) +
      packedFieldSize(appliedBytes) +
      numberFieldSize(lastIndex) +
      packedFieldSize(refusedBytes) +
      (part === null ? 0 : bytesFieldSize(part.length)) +
      numberFieldSize(record.droppedBefore ? 1 : 0),
  );
  writer.numberField(ackedBelowTag, ackedBelow);
  writePacked(writer, sequencesAppliedTag, applied, appliedBytes);
  writer.numberField(lastIndexTag, lastIndex);
  writePacked(writer, sequencesRefusedTag, refused, refusedBytes);
  if (part !== null) writer.bytesField(partTag, part);
  writer.boolField(droppedBeforeTag, record.droppedBefore);
  return writer.finish();
}

function packedBytes(numbers: readonly number[]): number {
  let bytes = 0;
  for (const number of numbers) bytes += varintSize(number);
  return bytes;
}

function packedFieldSize(bytes: number): number {
  return bytes === 0 ? 0 : bytesFieldSize(bytes);
}

function writePacked(writer: Writer, tag: number, numbers: readonly number[], bytes: number): void {
  if (bytes === 0) return;
  writer.messageHead(tag, bytes);
  for (const number of numbers) writer.varint(number);
}

export function decodeSessionRecord(bytes: Buffer): SessionRecord {
  return SessionRecord.decode(bytes);
}
