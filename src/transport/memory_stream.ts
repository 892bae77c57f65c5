import type { FrameListener, FrameStream, StreamClose } from './frame_stream.js';
import { streamBytesInFlightMax } from './limits.js';

/** What travels on a simulated stream. */
export type Packet =
  | { readonly kind: 'open' }
  | { readonly kind: 'frame'; readonly bytes: Buffer }
  | { readonly kind: 'close'; readonly close: StreamClose };

/** The way of packets from one end of a stream to the other. */
export interface PacketLink {
  send(packet: Packet): void;
}

/** One end of a simulated stream. */
export class MemoryStream implements FrameStream {
  private readonly link: PacketLink;
  private listener: FrameListener | null = null;
  private over = false;
  private inFlightBytes = 0;
  private blocked = false;

  constructor(link: PacketLink) {
    this.link = link;
  }

  listen(listener: FrameListener): void {
    this.listener = listener;
  }

  write(frame: Buffer): boolean {
    if (this.over) return true;
    this.inFlightBytes += frame.length;
    this.blocked = this.inFlightBytes > streamBytesInFlightMax;
    this.link.send({ kind: 'frame', bytes: frame });
    return !this.blocked;
  }

  end(): void {
    if (this.over) return;
    this.link.send({ kind: 'close', close: { kind: 'ended', reason: 'the other side ended it' } });
  }

  destroy(refusal?: string): void {
    if (this.over) return;
    this.over = true;
    this.listener = null;
    const close: StreamClose =
      refusal === undefined
        ? { kind: 'failed', reason: 'the stream was given up' }
        : { kind: 'refused', reason: refusal };
    this.link.send({ kind: 'close', close });
  }

  /** A packet of the other end arrives. */
  receive(packet: Packet): void {
    if (this.over) return;
    if (packet.kind === 'frame') this.listener?.frame(packet.bytes);
    else if (packet.kind === 'close') this.fail(packet.close);
  }

  /** Bytes that this end wrote have arrived, or are lost. */
  taken(bytes: number): void {
    this.inFlightBytes -= bytes;
    if (this.over || !this.blocked || this.inFlightBytes > streamBytesInFlightMax) return;
    this.blocked = false;
    this.listener?.drained();
  }

  /** Breaks this end without a word to the other one. */
  fail(close: StreamClose): void {
    if (this.over) return;
    this.over = true;
    const { listener } = this;
    this.listener = null;
    listener?.closed(close);
  }
}
