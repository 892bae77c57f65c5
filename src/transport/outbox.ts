import type { Message } from '../raft/message.js';
import { frameBytesMax } from '../base/limits.js';
import { beatSize } from '../wire/beat_codec.js';
import { encodeEnvelope, forwardSize, goneSize, type Forwarded } from '../wire/raft_codec.js';
import { raftMessageSize, type GroupMessage } from '../wire/raft_message_codec.js';
import { envelopeBytesMax, outboxBytesMax, outboxMessagesMax } from './limits.js';
import type { Beat, GoneNotice } from './transport.js';

/** Bytes that tag and length of an item take at most, rounded up. */
const itemOverheadBytes = 16;
/** What one item may have: alone in its envelope, it fits a frame. */
const itemBytesMax = frameBytesMax - 1024;

interface OpenEnvelope {
  messages: GroupMessage[];
  beat: Beat | null;
  forwards: Forwarded[];
  forwardResponses: Forwarded[];
  snapshotOffers: number[];
  gone: GoneNotice[];
  items: number;
  /** Upper bound of the encoded size. */
  bytes: number;
}

function newEnvelope(): OpenEnvelope {
  return {
    messages: [],
    beat: null,
    forwards: [],
    forwardResponses: [],
    snapshotOffers: [],
    gone: [],
    items: 0,
    bytes: 0,
  };
}

export interface OutboxLimits {
  readonly bytesMax: number;
  readonly messagesMax: number;
  readonly envelopeBytesMax: number;
}

/**
 * What waits for one peer. Items gather in the newest envelope; one that is full is put behind the others and
 * the next begins, so that whatever gathered leaves in as few frames as the frame limit allows. Past its limits
 * the outbox takes nothing: every method that adds returns whether it did.
 */
export class Outbox {
  private readonly limits: OutboxLimits;
  private readonly full: OpenEnvelope[] = [];
  private open = newEnvelope();
  private items = 0;
  private bytes = 0;

  constructor(limits: OutboxLimits = { bytesMax: outboxBytesMax, messagesMax: outboxMessagesMax, envelopeBytesMax }) {
    this.limits = limits;
  }

  isEmpty(): boolean {
    return this.items === 0;
  }

  /** Items that wait. */
  get length(): number {
    return this.items;
  }

  addMessage(groupId: number, message: Message): boolean {
    if (!this.reserve(1, raftMessageSize(groupId, message))) return false;
    this.open.messages.push({ groupId, message });
    return true;
  }

  /** A beat that finds another one waiting joins it: rows are appended, sequence and sync age are the newer ones. */
  addBeat(beat: Beat): boolean {
    const rows = beat.heartbeats.length + beat.responses.length;
    if (!this.reserve(1 + rows, beatSize(beat))) return false;
    const waiting = this.open.beat;
    this.open.beat =
      waiting === null
        ? beat
        : {
            sequence: beat.sequence,
            syncAgeMs: beat.syncAgeMs,
            heartbeats: [...waiting.heartbeats, ...beat.heartbeats],
            responses: [...waiting.responses, ...beat.responses],
          };
    return true;
  }

  addForward(forward: Forwarded): boolean {
    if (!this.reserve(1, forwardSize(forward))) return false;
    this.open.forwards.push(forward);
    return true;
  }

  addForwardResponse(response: Forwarded): boolean {
    if (!this.reserve(1, forwardSize(response))) return false;
    this.open.forwardResponses.push(response);
    return true;
  }

  addSnapshotOffer(snapshotId: number): boolean {
    if (!this.reserve(1, 0)) return false;
    this.open.snapshotOffers.push(snapshotId);
    return true;
  }

  addGone(gone: GoneNotice): boolean {
    if (!this.reserve(1, goneSize(gone))) return false;
    this.open.gone.push(gone);
    return true;
  }

  /** The oldest envelope as a frame; null when nothing waits. */
  takeFrame(): Buffer | null {
    if (this.items === 0) return null;
    let envelope = this.full.shift();
    if (envelope === undefined) {
      envelope = this.open;
      this.open = newEnvelope();
    }
    this.items -= envelope.items;
    this.bytes -= envelope.bytes;
    return encodeEnvelope({ hello: null, ...envelope });
  }

  /** Drops everything and says how many items that were. */
  clear(): number {
    const dropped = this.items;
    this.full.length = 0;
    this.open = newEnvelope();
    this.items = 0;
    this.bytes = 0;
    return dropped;
  }

  /** Makes room for items of `size` bytes in the open envelope, or says that there is none. */
  private reserve(count: number, size: number): boolean {
    const bytes = size + itemOverheadBytes;
    if (bytes > itemBytesMax) return false;
    if (this.items + count > this.limits.messagesMax) return false;
    if (this.items > 0 && this.bytes + bytes > this.limits.bytesMax) return false;
    if (this.open.bytes > 0 && this.open.bytes + bytes > this.limits.envelopeBytesMax) {
      this.full.push(this.open);
      this.open = newEnvelope();
    }
    this.items += count;
    this.open.items += count;
    this.bytes += bytes;
    this.open.bytes += bytes;
    return true;
  }
}
