import { assert } from '../base/assert.js';
import type { Logger } from '../base/logger.js';
import type { Runtime, TimerHandle } from '../base/runtime.js';
import type { Message } from '../raft/message.js';
import { decodeEnvelope, type Envelope } from '../wire/raft_codec.js';
import { WireError } from '../wire/wire_error.js';
import type { Connector, FrameStream } from './frame_stream.js';
import { checkDialler, type HostIdentity } from './handshake.js';
import { handshakeTimeoutMs, peersMax, snapshotBytesPerSecondDefault } from './limits.js';
import type { Outbox } from './outbox.js';
import { Peer, type PeerContext } from './peer.js';
import { RateLimiter } from './rate_limiter.js';
import { Snapshots } from './snapshots.js';
import type { Beat, GoneNotice, SnapshotSource, Transport, TransportHandlers, TransportStats } from './transport.js';

export interface StreamTransportOptions extends HostIdentity {
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Rate of all outgoing snapshots together. */
  readonly snapshotBytesPerSecond?: number;
}

/**
 * The Transport over streams of frames, whatever carries them. It owns the peers, sorts incoming streams by their
 * hello, and hands what comes to the handlers in order.
 */
export class StreamTransport implements Transport {
  private readonly self: HostIdentity;
  protected readonly runtime: Runtime;
  private readonly logger: Logger;
  private readonly peers = new Map<number, Peer>();
  /** Peers with something queued since the last flush. */
  private readonly dirty = new Set<Peer>();
  /** Addresses told before start(). */
  private readonly early = new Map<number, string>();
  private readonly greeting = new Set<FrameStream>();
  private readonly context: PeerContext;
  private readonly snapshots: Snapshots;
  private readonly deferred: (() => void)[] = [];
  private handlers: TransportHandlers | null = null;
  private closed = false;

  constructor(options: StreamTransportOptions, connector: Connector) {
    assert(options.clusterId > 0 && options.hostId > 0, 'cluster id and host id are above zero');
    this.self = { hostId: options.hostId, clusterId: options.clusterId, incarnation: options.incarnation };
    this.runtime = options.runtime;
    this.logger = options.logger.child({ part: 'transport', host: options.hostId });
    const { self, runtime, logger } = this;
    this.context = {
      self,
      runtime,
      logger,
      connector,
      up: (peer, incarnation) => this.deliver((handlers) => handlers.peerUp(peer.hostId, incarnation)),
      down: (peer, local) => this.handleDown(peer, local),
      received: (peer, envelope) => this.dispatch(peer, envelope),
    };
    const limiter = new RateLimiter(runtime, options.snapshotBytesPerSecond ?? snapshotBytesPerSecondDefault);
    this.snapshots = new Snapshots({ self, runtime, logger, limiter });
  }

  start(handlers: TransportHandlers): Promise<void> {
    assert(this.handlers === null && !this.closed, 'a transport starts once');
    this.handlers = handlers;
    this.snapshots.start((hostId, head) => handlers.snapshot(hostId, head));
    for (const [hostId, address] of this.early) this.setPeer(hostId, address);
    this.early.clear();
    return Promise.resolve();
  }

  setPeer(hostId: number, address: string): void {
    assert(hostId !== this.self.hostId, 'a host is not its own peer');
    if (this.closed) return;
    if (!/^\S+$/.test(address)) {
      this.logger.error({ peer: hostId, address }, 'peer address is not an address; it is not dialled');
      return;
    }
    if (this.handlers === null) this.early.set(hostId, address);
    else this.peer(hostId).setAddress(address);
  }

  removePeer(hostId: number): void {
    this.early.delete(hostId);
    const peer = this.peers.get(hostId);
    if (peer === undefined) return;
    this.peers.delete(hostId);
    this.dirty.delete(peer);
    peer.close();
  }

  sendMessage(hostId: number, groupId: number, message: Message): boolean {
    return this.queue(hostId, (outbox) => outbox.addMessage(groupId, message));
  }

  sendBeat(hostId: number, beat: Beat): boolean {
    return this.queue(hostId, (outbox) => outbox.addBeat(beat));
  }

  sendForward(hostId: number, id: number, payload: Buffer): boolean {
    return this.queue(hostId, (outbox) => outbox.addForward({ id, payload }));
  }

  sendForwardResponse(hostId: number, id: number, payload: Buffer): boolean {
    return this.queue(hostId, (outbox) => outbox.addForwardResponse({ id, payload }));
  }

  sendGone(hostId: number, gone: GoneNotice): boolean {
    return this.queue(hostId, (outbox) => outbox.addGone(gone));
  }

  flush(): void {
    for (const peer of this.dirty) peer.flush();
    this.dirty.clear();
  }

  sendSnapshot(hostId: number, source: SnapshotSource): Promise<void> {
    return this.snapshots.send(this.peers.get(hostId) ?? null, source);
  }

  isConnected(hostId: number): boolean {
    return this.peers.get(hostId)?.isUp() ?? false;
  }

  stats(): TransportStats {
    return { peers: [...this.peers.values()].map((peer) => peer.stats()) };
  }

  async close(): Promise<void> {
    this.closed = true;
    this.deferred.length = 0;
    for (const stream of this.greeting) stream.destroy();
    this.greeting.clear();
    for (const peer of this.peers.values()) peer.close();
    this.peers.clear();
    this.dirty.clear();
    await this.snapshots.close();
  }

  /** A stream of envelopes that another host opened: nothing counts before its hello. */
  protected acceptExchange(stream: FrameStream): void {
    if (this.handlers === null || this.closed || this.greeting.size >= peersMax) {
      stream.destroy();
      return;
    }
    this.greeting.add(stream);
    const timer = this.runtime.after(handshakeTimeoutMs, () => {
      this.greeting.delete(stream);
      stream.destroy();
    });
    let peer: Peer | null = null;
    stream.listen({
      frame: (bytes) => {
        if (peer === null) peer = this.greet(stream, bytes, timer);
        else peer.handleFrame(stream, bytes);
      },
      drained: () => peer?.handleDrained(stream),
      closed: (close) => {
        timer.cancel();
        this.greeting.delete(stream);
        peer?.handleClosed(stream, close);
      },
    });
  }

  protected acceptSnapshot(stream: FrameStream): void {
    this.snapshots.accept(stream);
  }

  /** Reads the first frame of an incoming stream; null: refused. */
  private greet(stream: FrameStream, bytes: Buffer, timer: TimerHandle): Peer | null {
    timer.cancel();
    this.greeting.delete(stream);
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return this.refuse(stream, 'malformedHello', `the first frame is malformed: ${error.message}`);
    }
    const { hello } = envelope;
    const refusal = checkDialler(this.self, hello);
    if (refusal !== null) return this.refuse(stream, refusal.reason, refusal.message);
    assert(hello !== null, 'an accepted hello is there');
    if (!this.peers.has(hello.fromId) && this.peers.size >= peersMax) {
      return this.refuse(stream, 'tooManyPeers', `more than ${peersMax} hosts`);
    }
    const peer = this.peer(hello.fromId);
    if (hello.incarnation < peer.liveIncarnation) {
      const message = `host ${hello.fromId} is connected as incarnation ${peer.liveIncarnation}, not ${hello.incarnation}`;
      return this.refuse(stream, 'staleIncarnation', message);
    }
    peer.adopt(stream, hello);
    this.dispatch(peer, envelope);
    return peer;
  }

  private refuse(stream: FrameStream, reason: string, message: string): null {
    this.logger.warn({ reason, detail: message }, 'incoming stream refused');
    stream.destroy(message);
    return null;
  }

  private peer(hostId: number): Peer {
    let peer = this.peers.get(hostId);
    if (peer === undefined) {
      peer = new Peer(hostId, this.context);
      this.peers.set(hostId, peer);
    }
    return peer;
  }

  private queue(hostId: number, add: (outbox: Outbox) => boolean): boolean {
    const peer = this.peers.get(hostId);
    if (peer === undefined || !peer.queue(add)) return false;
    this.dirty.add(peer);
    return true;
  }

  private dispatch(peer: Peer, envelope: Envelope): void {
    const { hostId } = peer;
    for (const snapshotId of envelope.snapshotOffers) this.snapshots.handleOffer(peer, snapshotId);
    this.deliver((handlers) => {
      if (envelope.beat !== null) handlers.beat(hostId, envelope.beat);
      for (const { groupId, message } of envelope.messages) handlers.message(hostId, groupId, message);
      for (const { id, payload } of envelope.forwards) handlers.forward(hostId, id, payload);
      for (const { id, payload } of envelope.forwardResponses) handlers.forwardResponse(hostId, id, payload);
      for (const gone of envelope.gone) handlers.gone(hostId, gone);
    });
  }

  private handleDown(peer: Peer, local: boolean): void {
    this.snapshots.handlePeerDown(peer.hostId);
    const event = (handlers: TransportHandlers): void => handlers.peerDown(peer.hostId);
    if (local) this.defer(event);
    else this.deliver(event);
  }

  /** Calls the handlers, after the events that still wait. */
  private deliver(event: (handlers: TransportHandlers) => void): void {
    if (this.closed) return;
    const { handlers } = this;
    assert(handlers !== null, 'events come only after start');
    if (this.deferred.length > 0) this.defer(event);
    else event(handlers);
  }

  /** Calls the handlers in the next turn, because this one may be inside a call of theirs. */
  private defer(event: (handlers: TransportHandlers) => void): void {
    const { handlers } = this;
    if (this.closed || handlers === null) return;
    this.deferred.push(() => event(handlers));
    if (this.deferred.length > 1) return;
    this.runtime.nextTurn(() => {
      // Events that come meanwhile queue behind, so the list is emptied only at the end.
      for (let i = 0; i < this.deferred.length; i++) this.deferred[i]?.();
      this.deferred.length = 0;
    });
  }
}
