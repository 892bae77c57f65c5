import { newMessage, MsgType, type Message } from '../raft/message.js';
import { helloSize, readHello, writeHello, type Hello } from './hello_codec.js';
import { raftMessageSize, readRaftMessage, writeRaftMessage } from './raft_message_codec.js';
import { Reader } from './reader.js';
import { bytesFieldSize, numberFieldSize, Writer } from './writer.js';
import { WireError } from './wire_error.js';

/** What a snapshot is, before its rows. */
export interface SnapshotHeadInfo {
  readonly groupId: number;
  /** MsgSnap with the snapshot's real index, term and configuration. */
  readonly message: Message;
  /** The encoded Shard at that index; empty for placement. */
  readonly descriptor: Buffer;
  readonly formatVersion: number;
}

/** SnapshotFrame: the frames of a stream that carries one snapshot. */
export type SnapshotFrame =
  | {
      readonly kind: 'head';
      readonly hello: Hello | null;
      readonly snapshotId: number;
      readonly head: SnapshotHeadInfo;
    }
  | { readonly kind: 'chunk'; readonly sequence: number; readonly crc32: number; readonly data: Buffer }
  | { readonly kind: 'end'; readonly chunks: number; readonly bytes: number }
  | { readonly kind: 'ack'; readonly chunks: number; readonly done: boolean; readonly failure: string }
  | { readonly kind: 'pull'; readonly hello: Hello | null; readonly snapshotId: number };

type FrameOf<Kind extends SnapshotFrame['kind']> = Extract<SnapshotFrame, { kind: Kind }>;

const headTag = (1 << 3) | 2;
const chunkTag = (2 << 3) | 2;
const endTag = (3 << 3) | 2;
const ackTag = (4 << 3) | 2;
const pullTag = (5 << 3) | 2;

const emptyBytes: Buffer = Buffer.alloc(0);

export function encodeSnapshotFrame(frame: SnapshotFrame): Buffer {
  switch (frame.kind) {
    case 'head':
      return encodeHead(frame);
    case 'chunk':
      return encodeChunk(frame);
    case 'end':
      return encodeEnd(frame);
    case 'ack':
      return encodeAck(frame);
    case 'pull':
      return encodePull(frame);
  }
}

/** @throws WireError */
export function decodeSnapshotFrame(bytes: Buffer): SnapshotFrame {
  const reader = new Reader(bytes);
  let frame: SnapshotFrame | null = null;
  while (reader.more()) {
    const tag = reader.tag();
    const read = readers[tag];
    if (read === undefined) {
      reader.skip(tag);
      continue;
    }
    const outerEnd = reader.enter();
    frame = read(reader);
    reader.leave(outerEnd);
  }
  if (frame === null) throw new WireError('a snapshot frame without content');
  return frame;
}

const readers: Readonly<Record<number, (reader: Reader) => SnapshotFrame>> = {
  [headTag]: readHead,
  [chunkTag]: readChunk,
  [endTag]: readEnd,
  [ackTag]: readAck,
  [pullTag]: readPull,
};

const headHelloTag = (1 << 3) | 2;
const headIdTag = (2 << 3) | 0;
const headMessageTag = (3 << 3) | 2;
const headShardTag = (4 << 3) | 2;
const headFormatTag = (5 << 3) | 0;

function encodeHead({ hello, snapshotId, head }: FrameOf<'head'>): Buffer {
  const messageSize = raftMessageSize(head.groupId, head.message);
  const size =
    (hello === null ? 0 : bytesFieldSize(helloSize(hello))) +
    numberFieldSize(snapshotId) +
    bytesFieldSize(messageSize) +
    (head.descriptor.length === 0 ? 0 : bytesFieldSize(head.descriptor.length)) +
    numberFieldSize(head.formatVersion);
  const writer = new Writer(bytesFieldSize(size));
  writer.messageHead(headTag, size);
  if (hello !== null) {
    writer.messageHead(headHelloTag, helloSize(hello));
    writeHello(writer, hello);
  }
  writer.numberField(headIdTag, snapshotId);
  writer.messageHead(headMessageTag, messageSize);
  writeRaftMessage(writer, head.groupId, head.message);
  if (head.descriptor.length !== 0) writer.bytesField(headShardTag, head.descriptor);
  writer.numberField(headFormatTag, head.formatVersion);
  return writer.finish();
}

function readHead(reader: Reader): FrameOf<'head'> {
  let hello: Hello | null = null;
  let snapshotId = 0;
  let groupId = 0;
  let message = newMessage(MsgType.MsgHup, 0, 0);
  let descriptor = emptyBytes;
  let formatVersion = 0;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case headHelloTag:
        hello = readHello(reader);
        break;
      case headIdTag:
        snapshotId = reader.varint();
        break;
      case headMessageTag: {
        const outerEnd = reader.enter();
        ({ groupId, message } = readRaftMessage(reader));
        reader.leave(outerEnd);
        break;
      }
      case headShardTag:
        descriptor = reader.bytes();
        break;
      case headFormatTag:
        formatVersion = reader.uint32();
        break;
      default:
        reader.skip(tag);
    }
  }
  if (message.type !== MsgType.MsgSnap || message.snapshot === null) {
    throw new WireError('a snapshot head without its MsgSnap');
  }
  return { kind: 'head', hello, snapshotId, head: { groupId, message, descriptor, formatVersion } };
}

const chunkSequenceTag = (1 << 3) | 0;
const chunkCrcTag = (2 << 3) | 0;
const chunkDataTag = (3 << 3) | 2;

function encodeChunk({ sequence, crc32, data }: FrameOf<'chunk'>): Buffer {
  const size =
    numberFieldSize(sequence) + numberFieldSize(crc32) + (data.length === 0 ? 0 : bytesFieldSize(data.length));
  const writer = new Writer(bytesFieldSize(size));
  writer.messageHead(chunkTag, size);
  writer.numberField(chunkSequenceTag, sequence);
  writer.numberField(chunkCrcTag, crc32);
  if (data.length !== 0) writer.bytesField(chunkDataTag, data);
  return writer.finish();
}

function readChunk(reader: Reader): FrameOf<'chunk'> {
  let sequence = 0;
  let crc32 = 0;
  let data = emptyBytes;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === chunkSequenceTag) sequence = reader.varint();
    else if (tag === chunkCrcTag) crc32 = reader.uint32();
    else if (tag === chunkDataTag) data = reader.bytes();
    else reader.skip(tag);
  }
  return { kind: 'chunk', sequence, crc32, data };
}

const endChunksTag = (1 << 3) | 0;
const endBytesTag = (2 << 3) | 0;

function encodeEnd({ chunks, bytes }: FrameOf<'end'>): Buffer {
  const size = numberFieldSize(chunks) + numberFieldSize(bytes);
  const writer = new Writer(bytesFieldSize(size));
  writer.messageHead(endTag, size);
  writer.numberField(endChunksTag, chunks);
  writer.numberField(endBytesTag, bytes);
  return writer.finish();
}

function readEnd(reader: Reader): FrameOf<'end'> {
  let chunks = 0;
  let bytes = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === endChunksTag) chunks = reader.varint();
    else if (tag === endBytesTag) bytes = reader.varint();
    else reader.skip(tag);
  }
  return { kind: 'end', chunks, bytes };
}

const ackChunksTag = (1 << 3) | 0;
const ackDoneTag = (2 << 3) | 0;
const ackFailureTag = (3 << 3) | 2;

function encodeAck({ chunks, done, failure }: FrameOf<'ack'>): Buffer {
  const text = Buffer.from(failure, 'utf8');
  const size = numberFieldSize(chunks) + (done ? 2 : 0) + (text.length === 0 ? 0 : bytesFieldSize(text.length));
  const writer = new Writer(bytesFieldSize(size));
  writer.messageHead(ackTag, size);
  writer.numberField(ackChunksTag, chunks);
  writer.boolField(ackDoneTag, done);
  if (text.length !== 0) writer.bytesField(ackFailureTag, text);
  return writer.finish();
}

function readAck(reader: Reader): FrameOf<'ack'> {
  let chunks = 0;
  let done = false;
  let failure = '';
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ackChunksTag) chunks = reader.varint();
    else if (tag === ackDoneTag) done = reader.bool();
    else if (tag === ackFailureTag) failure = reader.text();
    else reader.skip(tag);
  }
  return { kind: 'ack', chunks, done, failure };
}

const pullHelloTag = (1 << 3) | 2;
const pullIdTag = (2 << 3) | 0;

function encodePull({ hello, snapshotId }: FrameOf<'pull'>): Buffer {
  const size = (hello === null ? 0 : bytesFieldSize(helloSize(hello))) + numberFieldSize(snapshotId);
  const writer = new Writer(bytesFieldSize(size));
  writer.messageHead(pullTag, size);
  if (hello !== null) {
    writer.messageHead(pullHelloTag, helloSize(hello));
    writeHello(writer, hello);
  }
  writer.numberField(pullIdTag, snapshotId);
  return writer.finish();
}

function readPull(reader: Reader): FrameOf<'pull'> {
  let hello: Hello | null = null;
  let snapshotId = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === pullHelloTag) hello = readHello(reader);
    else if (tag === pullIdTag) snapshotId = reader.varint();
    else reader.skip(tag);
  }
  return { kind: 'pull', hello, snapshotId };
}
