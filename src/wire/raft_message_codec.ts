import { EntryType, MsgType, emptyBuffer, newMessage } from '../raft/message.js';
import type { ConfState, Entry, Message, SnapshotMeta } from '../raft/message.js';
import { assert } from '../base/assert.js';
import type { Reader } from './reader.js';
import { bytesFieldSize, numberFieldSize, varintSize, type Writer } from './writer.js';
import { WireError } from './wire_error.js';

/**
 * RaftMessage: one message of one group. Sizes first, then one pass of writing; entry data is copied once,
 * into the frame, and is a view of the frame on the other side.
 */

const messageTypeTag = (1 << 3) | 0;
const messageShardTag = (2 << 3) | 0;
const messageFromTag = (3 << 3) | 0;
const messageToTag = (4 << 3) | 0;
const messageTermTag = (5 << 3) | 0;
const messageLogTermTag = (6 << 3) | 0;
const messageIndexTag = (7 << 3) | 0;
const messageEntriesTag = (8 << 3) | 2;
const messageCommitTag = (9 << 3) | 0;
const messageVoteTag = (10 << 3) | 0;
const messageRejectTag = (11 << 3) | 0;
const messageRejectHintTag = (12 << 3) | 0;
const messageContextTag = (13 << 3) | 0;
const messageSnapshotTag = (14 << 3) | 2;

/** Types that never leave their process: the core's own inputs and its words with its storage. */
const localTypes: ReadonlySet<number> = new Set([
  MsgType.MsgHup,
  MsgType.MsgBeat,
  MsgType.MsgUnreachable,
  MsgType.MsgSnapStatus,
  MsgType.MsgCheckQuorum,
  MsgType.MsgStorageAppend,
  MsgType.MsgStorageAppendResp,
  MsgType.MsgStorageApply,
  MsgType.MsgStorageApplyResp,
]);

const wireTypes: ReadonlySet<number> = new Set(Object.values(MsgType).filter((type) => !localTypes.has(type)));

function isWireType(type: number): type is MsgType {
  return wireTypes.has(type);
}

function isEntryType(type: number): type is EntryType {
  return type <= EntryType.EntryConfChangeV2;
}

/** Bytes of a message without the tag and length in front of it. */
export function raftMessageSize(groupId: number, message: Message): number {
  let size =
    numberFieldSize(message.type) +
    numberFieldSize(groupId) +
    numberFieldSize(message.from) +
    numberFieldSize(message.to) +
    numberFieldSize(message.term) +
    numberFieldSize(message.logTerm) +
    numberFieldSize(message.index) +
    numberFieldSize(message.commit) +
    numberFieldSize(message.vote) +
    (message.reject ? 2 : 0) +
    numberFieldSize(message.rejectHint) +
    numberFieldSize(message.context);
  for (const entry of message.entries) size += bytesFieldSize(entrySize(entry));
  if (message.snapshot !== null) size += bytesFieldSize(snapshotMetaSize(message.snapshot));
  return size;
}

export function writeRaftMessage(writer: Writer, groupId: number, message: Message): void {
  assert(isWireType(message.type), () => `message type ${message.type} does not leave its process`);
  assert(message.responses.length === 0, 'responses do not leave their process');
  writer.numberField(messageTypeTag, message.type);
  writer.numberField(messageShardTag, groupId);
  writer.numberField(messageFromTag, message.from);
  writer.numberField(messageToTag, message.to);
  writer.numberField(messageTermTag, message.term);
  writer.numberField(messageLogTermTag, message.logTerm);
  writer.numberField(messageIndexTag, message.index);
  for (const entry of message.entries) {
    writer.messageHead(messageEntriesTag, entrySize(entry));
    writeEntry(writer, entry);
  }
  writer.numberField(messageCommitTag, message.commit);
  writer.numberField(messageVoteTag, message.vote);
  writer.boolField(messageRejectTag, message.reject);
  writer.numberField(messageRejectHintTag, message.rejectHint);
  writer.numberField(messageContextTag, message.context);
  if (message.snapshot !== null) {
    writer.messageHead(messageSnapshotTag, snapshotMetaSize(message.snapshot));
    writeSnapshotMeta(writer, message.snapshot);
  }
}

/** A message and the group that it belongs to. */
export interface GroupMessage {
  readonly groupId: number;
  readonly message: Message;
}

/** Reads up to the reader's present end. */
export function readRaftMessage(reader: Reader): GroupMessage {
  const message = newMessage(MsgType.MsgHup, 0, 0);
  let entries: Entry[] | null = null;
  let groupId = 0;
  let type = 0;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case messageTypeTag:
        type = reader.uint32();
        break;
      case messageShardTag:
        groupId = reader.varint();
        break;
      case messageEntriesTag: {
        reader.countItem();
        const outerEnd = reader.enter();
        entries ??= [];
        entries.push(readEntry(reader));
        reader.leave(outerEnd);
        break;
      }
      case messageSnapshotTag: {
        const outerEnd = reader.enter();
        message.snapshot = readSnapshotMeta(reader);
        reader.leave(outerEnd);
        break;
      }
      default:
        readNumberOfMessage(reader, tag, message);
    }
  }
  if (!isWireType(type)) throw new WireError(`message type ${type} does not belong on the wire`);
  message.type = type;
  if (entries !== null) message.entries = entries;
  return { groupId, message };
}

function readNumberOfMessage(reader: Reader, tag: number, message: Message): void {
  switch (tag) {
    case messageFromTag:
      message.from = reader.varint();
      return;
    case messageToTag:
      message.to = reader.varint();
      return;
    case messageTermTag:
      message.term = reader.varint();
      return;
    case messageLogTermTag:
      message.logTerm = reader.varint();
      return;
    case messageIndexTag:
      message.index = reader.varint();
      return;
    case messageCommitTag:
      message.commit = reader.varint();
      return;
    case messageVoteTag:
      message.vote = reader.varint();
      return;
    case messageRejectTag:
      message.reject = reader.bool();
      return;
    case messageRejectHintTag:
      message.rejectHint = reader.varint();
      return;
    case messageContextTag:
      message.context = reader.varint();
      return;
    default:
      reader.skip(tag);
  }
}

const entryTermTag = (1 << 3) | 0;
const entryIndexTag = (2 << 3) | 0;
const entryTypeTag = (3 << 3) | 0;
const entryDataTag = (4 << 3) | 2;

function entrySize(entry: Entry): number {
  return (
    numberFieldSize(entry.term) +
    numberFieldSize(entry.index) +
    numberFieldSize(entry.type) +
    (entry.data.length === 0 ? 0 : bytesFieldSize(entry.data.length))
  );
}

function writeEntry(writer: Writer, entry: Entry): void {
  writer.numberField(entryTermTag, entry.term);
  writer.numberField(entryIndexTag, entry.index);
  writer.numberField(entryTypeTag, entry.type);
  if (entry.data.length !== 0) writer.bytesField(entryDataTag, entry.data);
}

function readEntry(reader: Reader): Entry {
  let term = 0;
  let index = 0;
  let type = 0;
  let data = emptyBuffer;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case entryTermTag:
        term = reader.varint();
        break;
      case entryIndexTag:
        index = reader.varint();
        break;
      case entryTypeTag:
        type = reader.uint32();
        break;
      case entryDataTag:
        data = reader.bytes();
        break;
      default:
        reader.skip(tag);
    }
  }
  if (!isEntryType(type)) throw new WireError(`unknown entry type ${type}`);
  return { term, index, type, data };
}

const metaIndexTag = (1 << 3) | 0;
const metaTermTag = (2 << 3) | 0;
const metaConfStateTag = (3 << 3) | 2;

function snapshotMetaSize(meta: SnapshotMeta): number {
  return numberFieldSize(meta.index) + numberFieldSize(meta.term) + bytesFieldSize(confStateSize(meta.confState));
}

function writeSnapshotMeta(writer: Writer, meta: SnapshotMeta): void {
  writer.numberField(metaIndexTag, meta.index);
  writer.numberField(metaTermTag, meta.term);
  writer.messageHead(metaConfStateTag, confStateSize(meta.confState));
  writeConfState(writer, meta.confState);
}

function readSnapshotMeta(reader: Reader): SnapshotMeta {
  let index = 0;
  let term = 0;
  let confState: ConfState = { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case metaIndexTag:
        index = reader.varint();
        break;
      case metaTermTag:
        term = reader.varint();
        break;
      case metaConfStateTag: {
        const outerEnd = reader.enter();
        confState = readConfState(reader);
        reader.leave(outerEnd);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  return { index, term, confState };
}

const votersField = 1;
const votersOutgoingField = 2;
const learnersField = 3;
const learnersNextField = 4;
const autoLeaveTag = (5 << 3) | 0;

function confStateSize(confState: ConfState): number {
  return (
    packedFieldSize(confState.voters) +
    packedFieldSize(confState.votersOutgoing) +
    packedFieldSize(confState.learners) +
    packedFieldSize(confState.learnersNext) +
    (confState.autoLeave ? 2 : 0)
  );
}

function writeConfState(writer: Writer, confState: ConfState): void {
  writePacked(writer, votersField, confState.voters);
  writePacked(writer, votersOutgoingField, confState.votersOutgoing);
  writePacked(writer, learnersField, confState.learners);
  writePacked(writer, learnersNextField, confState.learnersNext);
  writer.boolField(autoLeaveTag, confState.autoLeave);
}

function readConfState(reader: Reader): ConfState {
  const lists: Record<number, number[] | undefined> = {
    [votersField]: [],
    [votersOutgoingField]: [],
    [learnersField]: [],
    [learnersNextField]: [],
  };
  let autoLeave = false;
  while (reader.more()) {
    const tag = reader.tag();
    const list = lists[tag >>> 3];
    if (list !== undefined && reader.numbers(tag, list)) continue;
    if (tag === autoLeaveTag) autoLeave = reader.bool();
    else reader.skip(tag);
  }
  return {
    voters: lists[votersField] ?? [],
    votersOutgoing: lists[votersOutgoingField] ?? [],
    learners: lists[learnersField] ?? [],
    learnersNext: lists[learnersNextField] ?? [],
    autoLeave,
  };
}

function packedSize(values: readonly number[]): number {
  let size = 0;
  for (const value of values) size += varintSize(value);
  return size;
}

function packedFieldSize(values: readonly number[]): number {
  return values.length === 0 ? 0 : bytesFieldSize(packedSize(values));
}

function writePacked(writer: Writer, field: number, values: readonly number[]): void {
  if (values.length === 0) return;
  writer.messageHead((field << 3) | 2, packedSize(values));
  for (const value of values) writer.varint(value);
}
