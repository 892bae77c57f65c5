import type { Logger } from '../base/logger.js';
import type { Runtime, TimerHandle } from '../base/runtime.js';
import { decodeEnvelope, encodeEnvelope, type Envelope } from '../wire/raft_codec.js';
import type { Hello } from '../wire/hello_codec.js';
import { WireError } from '../wire/wire_error.js';
import { Backoff } from './backoff.js';
import type { Connection, Connector, FrameStream, StreamClose } from './frame_stream.js';
import { checkAnswer, helloTo, type HostIdentity, type Refusal } from './handshake.js';
import { handshakeTimeoutMs, refusedRetryMs } from './limits.js';
import { Outbox } from './outbox.js';
import type { PeerStats } from './transport.js';

/** What a peer needs of the transport around it. */
export interface PeerContext {
  readonly self: HostIdentity;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly connector: Connector;
  up(peer: Peer, incarnation: number): void;
  /** `local`: this host broke the connection, from within a call. */
  down(peer: Peer, local: boolean): void;
  received(peer: Peer, envelope: Envelope): void;
}

/** The frame that opens a stream of envelopes. */
export function helloFrame(hello: Hello): Buffer {
  return encodeEnvelope({
    hello,
    messages: [],
    beat: null,
    forwards: [],
    forwardResponses: [],
    snapshotOffers: [],
    gone: [],
  });
}

/**
 * The stream of envelopes with one host, over all its connections:
 *
 *     idle ──setAddress──▶ dialling ──hello ok──▶ up        this host has the lower id
 *       ▲                   │  ▲                   │
 *       │        failed or  ▼  │ wait is over      │ ended, failed, address changed
 *       │          refused waiting ◀───────────────┘
 *       │
 *       └──────────────────────── up ◀──adopt── idle        the other host has it
 *
 * Only while it is up does the outbox take anything; going down drops what waits, because Raft sends again.
 */
export class Peer {
  readonly hostId: number;
  private readonly context: PeerContext;
  private readonly logger: Logger;
  private readonly dials: boolean;
  private readonly backoff: Backoff;
  private readonly outbox = new Outbox();
  private address: string | null = null;
  private state: 'idle' | 'dialling' | 'waiting' | 'up' = 'idle';
  private connection: Connection | null = null;
  private stream: FrameStream | null = null;
  private timer: TimerHandle | null = null;
  private incarnation = 0;
  /** True from a write() that returned false until drained(). */
  private blocked = false;
  private refusal: Refusal['reason'] | null = null;
  /** Once per outage is enough to say that a host cannot be reached. */
  private outageLogged = false;
  private framesSent = 0;
  private framesReceived = 0;
  private bytesSent = 0;
  private bytesReceived = 0;
  private messagesSent = 0;
  private messagesDropped = 0;

  constructor(hostId: number, context: PeerContext) {
    this.hostId = hostId;
    this.context = context;
    this.logger = context.logger.child({ peer: hostId });
    this.dials = context.self.hostId < hostId;
    this.backoff = new Backoff(context.runtime);
  }

  isUp(): boolean {
    return this.state === 'up';
  }

  /** The live connection that this host dialled; snapshot streams go over it too. */
  dialledConnection(): Connection | null {
    return this.state === 'up' ? this.connection : null;
  }

  /** Incarnation of the connected process; 0 when there is none. */
  get liveIncarnation(): number {
    return this.state === 'up' ? this.incarnation : 0;
  }

  /** Where to dial. On the accepting side it changes nothing: the other host comes by itself. */
  setAddress(address: string): void {
    if (this.address === address) return;
    this.address = address;
    if (!this.dials) return;
    this.drop();
    this.backoff.reset();
    this.dial();
  }

  /** Takes over a stream that the other host opened and whose hello was checked. */
  adopt(stream: FrameStream, hello: Hello): void {
    this.drop();
    this.stream = stream;
    this.write(helloFrame(helloTo(this.context.self, this.hostId)));
    this.becomeUp(hello.incarnation);
  }

  /** Breaks the connection, if there is one, and does not dial again. */
  close(): void {
    this.address = null;
    this.drop();
  }

  /** Adds to the outbox while connected. False: dropped. */
  queue(add: (outbox: Outbox) => boolean): boolean {
    if (this.state === 'up' && add(this.outbox)) return true;
    this.messagesDropped++;
    return false;
  }

  /** Sends what waits, unless the stream pushes back: then it leaves, as one frame, when the stream drains. */
  flush(): void {
    while (this.state === 'up' && !this.blocked) {
      const waiting = this.outbox.length;
      const frame = this.outbox.takeFrame();
      if (frame === null) return;
      this.messagesSent += waiting - this.outbox.length;
      this.write(frame);
    }
  }

  stats(): PeerStats {
    return {
      hostId: this.hostId,
      connected: this.state === 'up',
      refusal: this.refusal,
      framesSent: this.framesSent,
      framesReceived: this.framesReceived,
      bytesSent: this.bytesSent,
      bytesReceived: this.bytesReceived,
      messagesSent: this.messagesSent,
      messagesDropped: this.messagesDropped,
    };
  }

  /** For frames that the transport read before the peer adopted their stream. */
  handleFrame(stream: FrameStream, frame: Buffer): void {
    if (stream !== this.stream) return;
    this.framesReceived++;
    this.bytesReceived += frame.length;
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(frame);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.logger.error({ error: error.message, bytes: frame.length }, 'malformed frame from peer');
      this.fail(true);
      return;
    }
    if (this.state === 'dialling') this.handleAnswer(envelope);
    if (this.state === 'up') this.context.received(this, envelope);
  }

  handleDrained(stream: FrameStream): void {
    if (stream !== this.stream) return;
    this.blocked = false;
    this.flush();
  }

  handleClosed(stream: FrameStream, close: StreamClose): void {
    if (stream !== this.stream) return;
    if (close.kind === 'refused' && this.state === 'dialling') {
      this.handleRefusal({ reason: 'refusedByPeer', message: close.reason });
      return;
    }
    if (this.state === 'dialling') this.logOutage(close.reason);
    else this.logger.info({ kind: close.kind, reason: close.reason }, 'stream of peer closed');
    this.fail(false);
  }

  private dial(): void {
    const { address } = this;
    if (address === null || !this.dials) return;
    this.state = 'dialling';
    this.connection = this.context.connector.connect(this.hostId, address);
    const stream = this.connection.openExchange();
    this.stream = stream;
    stream.listen({
      frame: (bytes) => this.handleFrame(stream, bytes),
      drained: () => this.handleDrained(stream),
      closed: (close) => this.handleClosed(stream, close),
    });
    this.write(helloFrame(helloTo(this.context.self, this.hostId)));
    this.timer = this.context.runtime.after(handshakeTimeoutMs, () => {
      this.logOutage(`no answer within ${handshakeTimeoutMs} ms`);
      this.fail(false);
    });
  }

  private handleAnswer(envelope: Envelope): void {
    const refusal = checkAnswer(this.context.self, this.hostId, envelope.hello);
    if (refusal !== null) this.handleRefusal(refusal);
    else this.becomeUp(envelope.hello?.incarnation ?? 0);
  }

  private handleRefusal(refusal: Refusal): void {
    this.refusal = refusal.reason;
    this.logger.error(
      { reason: refusal.reason, detail: refusal.message, address: this.address, retryMs: refusedRetryMs },
      'peer refused; check cluster id, host ids and addresses',
    );
    this.drop();
    this.dialAfter(refusedRetryMs * (1 + this.context.runtime.random() / 2));
  }

  private becomeUp(incarnation: number): void {
    this.timer?.cancel();
    this.timer = null;
    this.state = 'up';
    this.incarnation = incarnation;
    this.refusal = null;
    this.outageLogged = false;
    this.backoff.reset();
    this.logger.info({ incarnation }, 'peer connected');
    this.context.up(this, incarnation);
  }

  /** The connection is lost or useless: give it up and, on the dialling side, try again later. */
  private fail(local: boolean): void {
    this.drop(local);
    if (this.address !== null && this.dials) this.dialAfter(this.backoff.delayMs());
  }

  private logOutage(reason: string): void {
    if (this.outageLogged) return;
    this.outageLogged = true;
    this.logger.warn({ address: this.address, reason }, 'peer cannot be reached; trying again until it can');
  }

  private dialAfter(delayMs: number): void {
    this.state = 'waiting';
    this.timer = this.context.runtime.after(delayMs, () => this.dial());
  }

  /** To idle from anywhere: the only place where a connection is let go. */
  private drop(local = true): void {
    const wasUp = this.state === 'up';
    this.timer?.cancel();
    this.timer = null;
    this.stream?.destroy();
    this.stream = null;
    this.connection?.close();
    this.connection = null;
    this.blocked = false;
    this.state = 'idle';
    this.messagesDropped += this.outbox.clear();
    if (!wasUp) return;
    this.logger.info({ incarnation: this.incarnation }, 'peer disconnected');
    this.context.down(this, local);
  }

  private write(frame: Buffer): void {
    if (this.stream === null) return;
    this.framesSent++;
    this.bytesSent += frame.length;
    if (!this.stream.write(frame)) this.blocked = true;
  }
}
