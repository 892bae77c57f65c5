import { beatSize, readBeat, writeBeat, type Beat } from './beat_codec.js';
import { helloSize, readHello, writeHello, type Hello } from './hello_codec.js';
import { raftMessageSize, readRaftMessage, writeRaftMessage, type GroupMessage } from './raft_message_codec.js';
import { Reader } from './reader.js';
import { bytesFieldSize, numberFieldSize, Writer } from './writer.js';

/** Envelope: one frame between two hosts with the messages of all groups. */

/** A forwarded request or the response to one. */
export interface Forwarded {
  readonly id: number;
  /** BatchOp one way, BatchResult the other. A view of the frame. */
  readonly payload: Buffer;
}

/** The receiver of a message, or its sender, is no longer a member of the group as of this epoch. */
export interface GoneNotice {
  readonly groupId: number;
  readonly replicaId: number;
  readonly confVer: number;
  readonly version: number;
}

export interface Envelope {
  readonly hello: Hello | null;
  readonly messages: readonly GroupMessage[];
  readonly beat: Beat | null;
  readonly forwards: readonly Forwarded[];
  readonly forwardResponses: readonly Forwarded[];
  /** Snapshot ids. */
  readonly snapshotOffers: readonly number[];
  readonly gone: readonly GoneNotice[];
}

const helloTag = (1 << 3) | 2;
const messagesTag = (2 << 3) | 2;
const beatTag = (3 << 3) | 2;
const forwardsTag = (4 << 3) | 2;
const forwardResponsesTag = (5 << 3) | 2;
const snapshotOffersTag = (6 << 3) | 2;
const goneTag = (7 << 3) | 2;

export function encodeEnvelope(envelope: Envelope): Buffer {
  const writer = new Writer(envelopeSize(envelope));
  if (envelope.hello !== null) {
    writer.messageHead(helloTag, helloSize(envelope.hello));
    writeHello(writer, envelope.hello);
  }
  for (const { groupId, message } of envelope.messages) {
    writer.messageHead(messagesTag, raftMessageSize(groupId, message));
    writeRaftMessage(writer, groupId, message);
  }
  if (envelope.beat !== null) {
    writer.messageHead(beatTag, beatSize(envelope.beat));
    writeBeat(writer, envelope.beat);
  }
  writeForwards(writer, forwardsTag, envelope.forwards);
  writeForwards(writer, forwardResponsesTag, envelope.forwardResponses);
  for (const snapshotId of envelope.snapshotOffers) {
    writer.messageHead(snapshotOffersTag, numberFieldSize(snapshotId));
    writer.numberField(offerIdTag, snapshotId);
  }
  for (const gone of envelope.gone) {
    writer.messageHead(goneTag, goneSize(gone));
    writeGone(writer, gone);
  }
  return writer.finish();
}

function envelopeSize(envelope: Envelope): number {
  let size = 0;
  if (envelope.hello !== null) size += bytesFieldSize(helloSize(envelope.hello));
  for (const { groupId, message } of envelope.messages) size += bytesFieldSize(raftMessageSize(groupId, message));
  if (envelope.beat !== null) size += bytesFieldSize(beatSize(envelope.beat));
  for (const forward of envelope.forwards) size += bytesFieldSize(forwardSize(forward));
  for (const response of envelope.forwardResponses) size += bytesFieldSize(forwardSize(response));
  for (const snapshotId of envelope.snapshotOffers) size += bytesFieldSize(numberFieldSize(snapshotId));
  for (const gone of envelope.gone) size += bytesFieldSize(goneSize(gone));
  return size;
}

/** @throws WireError */
export function decodeEnvelope(frame: Buffer): Envelope {
  const reader = new Reader(frame);
  let hello: Hello | null = null;
  let beat: Beat | null = null;
  const messages: GroupMessage[] = [];
  const forwards: Forwarded[] = [];
  const forwardResponses: Forwarded[] = [];
  const snapshotOffers: number[] = [];
  const gone: GoneNotice[] = [];
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case helloTag:
        hello = readHello(reader);
        break;
      case messagesTag:
        messages.push(nested(reader, readRaftMessage));
        break;
      case beatTag:
        beat = nested(reader, readBeat);
        break;
      case forwardsTag:
        forwards.push(nested(reader, readForward));
        break;
      case forwardResponsesTag:
        forwardResponses.push(nested(reader, readForward));
        break;
      case snapshotOffersTag:
        snapshotOffers.push(nested(reader, readOffer));
        break;
      case goneTag:
        gone.push(nested(reader, readGone));
        break;
      default:
        reader.skip(tag);
    }
  }
  return { hello, messages, beat, forwards, forwardResponses, snapshotOffers, gone };
}

function nested<T>(reader: Reader, read: (reader: Reader) => T): T {
  reader.countItem();
  const outerEnd = reader.enter();
  const value = read(reader);
  reader.leave(outerEnd);
  return value;
}

const forwardIdTag = (1 << 3) | 0;
const forwardPayloadTag = (2 << 3) | 2;

/** Bytes of a forwarded request or response without the tag and length in front. */
export function forwardSize(forward: Forwarded): number {
  return numberFieldSize(forward.id) + (forward.payload.length === 0 ? 0 : bytesFieldSize(forward.payload.length));
}

function writeForwards(writer: Writer, tag: number, forwards: readonly Forwarded[]): void {
  for (const forward of forwards) {
    writer.messageHead(tag, forwardSize(forward));
    writer.numberField(forwardIdTag, forward.id);
    if (forward.payload.length !== 0) writer.bytesField(forwardPayloadTag, forward.payload);
  }
}

const emptyPayload: Buffer = Buffer.alloc(0);

function readForward(reader: Reader): Forwarded {
  let id = 0;
  let payload = emptyPayload;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === forwardIdTag) id = reader.varint();
    else if (tag === forwardPayloadTag) payload = reader.bytes();
    else reader.skip(tag);
  }
  return { id, payload };
}

const offerIdTag = (1 << 3) | 0;

function readOffer(reader: Reader): number {
  let snapshotId = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === offerIdTag) snapshotId = reader.varint();
    else reader.skip(tag);
  }
  return snapshotId;
}

const goneShardTag = (1 << 3) | 0;
const goneReplicaTag = (2 << 3) | 0;
const goneEpochTag = (3 << 3) | 2;
const epochConfVerTag = (1 << 3) | 0;
const epochVersionTag = (2 << 3) | 0;

function epochSize(gone: GoneNotice): number {
  return numberFieldSize(gone.confVer) + numberFieldSize(gone.version);
}

/** Bytes of a notice; the epoch is always there. */
export function goneSize(gone: GoneNotice): number {
  return numberFieldSize(gone.groupId) + numberFieldSize(gone.replicaId) + bytesFieldSize(epochSize(gone));
}

function writeGone(writer: Writer, gone: GoneNotice): void {
  writer.numberField(goneShardTag, gone.groupId);
  writer.numberField(goneReplicaTag, gone.replicaId);
  writer.messageHead(goneEpochTag, epochSize(gone));
  writer.numberField(epochConfVerTag, gone.confVer);
  writer.numberField(epochVersionTag, gone.version);
}

function readGone(reader: Reader): GoneNotice {
  let groupId = 0;
  let replicaId = 0;
  let confVer = 0;
  let version = 0;
  while (reader.more()) {
    const tag = reader.tag();
    switch (tag) {
      case goneShardTag:
        groupId = reader.varint();
        break;
      case goneReplicaTag:
        replicaId = reader.varint();
        break;
      case goneEpochTag: {
        const outerEnd = reader.enter();
        while (reader.more()) {
          const epochTag = reader.tag();
          if (epochTag === epochConfVerTag) confVer = reader.varint();
          else if (epochTag === epochVersionTag) version = reader.varint();
          else reader.skip(epochTag);
        }
        reader.leave(outerEnd);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  return { groupId, replicaId, confVer, version };
}
