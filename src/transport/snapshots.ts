import { assert } from '../base/assert.js';
import type { Logger } from '../base/logger.js';
import type { Runtime, TimerHandle } from '../base/runtime.js';
import type { SnapshotFrame } from '../wire/snapshot_codec.js';
import type { FrameStream } from './frame_stream.js';
import { checkAnswer, checkDialler, helloTo, type HostIdentity } from './handshake.js';
import {
  handshakeTimeoutMs,
  snapshotOfferTimeoutMs,
  snapshotReceivesMax,
  snapshotResumePauseMs,
  snapshotResumesFruitlessMax,
  snapshotResumeWaitMs,
  snapshotSendsMax,
} from './limits.js';
import { ParkedSnapshots } from './parked_snapshots.js';
import type { Peer } from './peer.js';
import type { RateLimiter } from './rate_limiter.js';
import { SnapshotChannel } from './snapshot_channel.js';
import { SnapshotError, SnapshotInterruptedError } from './snapshot_error.js';
import {
  busyFailure,
  type IncomingSnapshot,
  receiveSnapshotFrames,
  sendDone,
  sendFailure,
} from './snapshot_receive.js';
import { OutgoingSnapshot } from './snapshot_send.js';
import type { SnapshotSource, TransportHandlers } from './transport.js';

type SnapshotHandler = TransportHandlers['snapshot'];
type HeadFrame = Extract<SnapshotFrame, { kind: 'head' }>;

interface Offer {
  readonly hostId: number;
  readonly timer: TimerHandle;
  accept(channel: SnapshotChannel): void;
  fail(error: SnapshotError): void;
}

export interface SnapshotsOptions {
  readonly self: HostIdentity;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly limiter: RateLimiter;
}

/**
 * All snapshots of one host, both ways. Only the dialling side can open a stream, so the accepting side offers
 * its snapshots in an envelope and the dialler comes to pull them:
 *
 *     dialler sends:    Snapshot stream ── head ──▶             (see snapshot_send.ts)
 *     acceptor sends:   envelope{offer 7} ──▶ dialler;  dialler opens Snapshot stream ── pull 7 ──▶;  ◀── head ──
 *
 * A stream that breaks is followed by another with the same snapshot id, opened in the same way, and the transfer goes on
 * where it was. The sender keeps its source open for that, the receiver its sink (parked_snapshots.ts).
 */
export class Snapshots {
  private readonly options: SnapshotsOptions;
  private readonly offers = new Map<number, Offer>();
  private readonly channels = new Set<SnapshotChannel>();
  private readonly tasks = new Set<Promise<void>>();
  private readonly parked: ParkedSnapshots;
  /** Incoming snapshots that have a stream, by key. */
  private readonly receiving = new Map<string, { readonly channel: SnapshotChannel; readonly over: Promise<void> }>();
  private readonly sleepers = new Set<(error: SnapshotError) => void>();
  private handler: SnapshotHandler | null = null;
  private sends = 0;
  private receives = 0;
  private lastSnapshotId = 0;
  private closed = false;

  constructor(options: SnapshotsOptions) {
    this.options = options;
    this.parked = new ParkedSnapshots(options.runtime, options.logger);
  }

  start(handler: SnapshotHandler): void {
    this.handler = handler;
  }

  /** Sends a snapshot to the peer; null: no such peer. @throws SnapshotError */
  send(peer: Peer | null, source: SnapshotSource): Promise<void> {
    const sent = this.sendNow(peer, source);
    this.track(sent);
    return sent;
  }

  private async sendNow(peer: Peer | null, source: SnapshotSource): Promise<void> {
    this.sends++;
    try {
      if (this.closed) throw new SnapshotError('closed', 'the transport is closed');
      if (this.sends > snapshotSendsMax) {
        throw new SnapshotError('busy', `${snapshotSendsMax} snapshots are being sent, which is the limit`);
      }
      if (peer === null || !peer.isUp()) throw new SnapshotError('unreachable', 'the receiver is not connected');
      await this.sendResuming(peer, new OutgoingSnapshot(++this.lastSnapshotId, source, this.options.limiter));
    } finally {
      this.sends--;
      await this.closeSource(source);
    }
  }

  /** Goes on over another stream whenever one breaks, as long as that brings the snapshot forward. */
  private async sendResuming(peer: Peer, outgoing: OutgoingSnapshot): Promise<void> {
    let fruitless = 0;
    for (;;) {
      const { chunksAcked } = outgoing;
      try {
        await this.sendOnce(peer, outgoing);
        return;
      } catch (error) {
        fruitless = outgoing.chunksAcked > chunksAcked ? 0 : fruitless + 1;
        const goesOn = error instanceof SnapshotInterruptedError && outgoing.accepted;
        if (!goesOn || fruitless > snapshotResumesFruitlessMax) throw error;
        await this.untilUp(peer, error);
        const { logger } = this.options;
        logger.info({ peer: peer.hostId, chunks: outgoing.chunksAcked }, 'snapshot goes on over another stream');
      }
    }
  }

  private async sendOnce(peer: Peer, outgoing: OutgoingSnapshot): Promise<void> {
    if (this.closed) throw new SnapshotError('closed', 'the transport is closed');
    const connection = peer.dialledConnection();
    const channel =
      connection === null ? await this.offer(peer, outgoing.snapshotId) : this.channel(connection.openSnapshot());
    await this.run(channel, () => outgoing.sendOver(channel, helloTo(this.options.self, peer.hostId)));
    channel.end();
  }

  /** @throws the interruption when the peer does not come back in time */
  private async untilUp(peer: Peer, interruption: SnapshotInterruptedError): Promise<void> {
    const { runtime } = this.options;
    const deadlineMs = runtime.nowMs() + snapshotResumeWaitMs;
    do {
      await this.sleep(snapshotResumePauseMs);
      if (peer.isUp()) return;
    } while (runtime.nowMs() < deadlineMs);
    throw interruption;
  }

  /** Ends early, with an error, when the transport is closed. */
  private sleep(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (error: SnapshotError | null): void => {
        timer.cancel();
        this.sleepers.delete(wake);
        if (error === null) resolve();
        else reject(error);
      };
      const timer = this.options.runtime.after(ms, () => wake(null));
      this.sleepers.add(wake);
    });
  }

  /** The other side has a snapshot for this host: opens the stream that it comes through. */
  handleOffer(peer: Peer, snapshotId: number): void {
    const connection = peer.dialledConnection();
    if (connection === null || this.closed) return;
    const channel = this.channel(connection.openSnapshot());
    this.launch(this.pull(peer.hostId, snapshotId, channel));
  }

  /** A stream that the dialling side opened: it brings a snapshot or pulls one. */
  accept(stream: FrameStream): void {
    if (this.handler === null || this.closed) {
      stream.destroy();
      return;
    }
    this.launch(this.serve(this.channel(stream)));
  }

  /** Nobody will pull what was offered to this host. Streams break by themselves. */
  handlePeerDown(hostId: number): void {
    for (const offer of this.offers.values()) {
      if (offer.hostId === hostId) offer.fail(new SnapshotInterruptedError('the receiver went away'));
    }
  }

  /** Breaks everything and waits until the last sink and source are let go. */
  async close(): Promise<void> {
    this.closed = true;
    const error = new SnapshotError('closed', 'the transport is closed');
    for (const offer of this.offers.values()) offer.fail(error);
    for (const wake of this.sleepers) wake(error);
    for (const channel of this.channels) channel.destroy(error);
    await Promise.allSettled(this.tasks);
    await this.parked.close();
  }

  private channel(stream: FrameStream): SnapshotChannel {
    const channel = new SnapshotChannel(stream, this.options.runtime);
    this.channels.add(channel);
    return channel;
  }

  /** Runs one side of a stream to its end and breaks the stream if that failed. */
  private async run(channel: SnapshotChannel, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      channel.destroy(new SnapshotError('broken', 'this side gave up'));
      throw error;
    } finally {
      this.channels.delete(channel);
    }
  }

  private offer(peer: Peer, snapshotId: number): Promise<SnapshotChannel> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        timer.cancel();
        this.offers.delete(snapshotId);
      };
      const fail = (error: SnapshotError): void => {
        settle();
        reject(error);
      };
      const timer = this.options.runtime.after(snapshotOfferTimeoutMs, () =>
        fail(new SnapshotError('timeout', 'the receiver did not come for its snapshot')),
      );
      const accept = (channel: SnapshotChannel): void => {
        settle();
        resolve(channel);
      };
      this.offers.set(snapshotId, { hostId: peer.hostId, timer, accept, fail });
      if (peer.queue((outbox) => outbox.addSnapshotOffer(snapshotId))) peer.flush();
      else fail(new SnapshotError('unreachable', 'the queue to the receiver is full'));
    });
  }

  private async serve(channel: SnapshotChannel): Promise<void> {
    const frame = await channel.next(handshakeTimeoutMs);
    const hello = frame.kind === 'head' || frame.kind === 'pull' ? frame.hello : null;
    const refusal = checkDialler(this.options.self, hello);
    if (refusal !== null || hello === null) {
      this.options.logger.warn({ reason: refusal?.reason, detail: refusal?.message }, 'snapshot stream refused');
      this.refuse(channel, refusal?.message ?? '');
    } else if (frame.kind === 'head') {
      await this.receive(channel, hello.fromId, frame);
    } else if (frame.kind === 'pull') {
      const offer = this.offers.get(frame.snapshotId);
      // From here on the channel belongs to the send that made the offer.
      if (offer?.hostId === hello.fromId) offer.accept(channel);
      else this.refuse(channel, `no snapshot ${frame.snapshotId} waits for host ${hello.fromId}`);
    }
  }

  private async pull(hostId: number, snapshotId: number, channel: SnapshotChannel): Promise<void> {
    const { self } = this.options;
    await channel.write({ kind: 'pull', hello: helloTo(self, hostId), snapshotId });
    const frame = await channel.next();
    if (frame.kind !== 'head') throw new SnapshotError('broken', `a ${frame.kind} frame came in the place of a head`);
    const refusal = checkAnswer(self, hostId, frame.hello);
    if (refusal !== null) throw new SnapshotError('refused', refusal.message);
    await this.receive(channel, hostId, frame);
  }

  private async receive(channel: SnapshotChannel, hostId: number, frame: HeadFrame): Promise<void> {
    const key = `${hostId}/${frame.hello?.incarnation ?? 0}/${frame.snapshotId}`;
    await this.supersede(key);
    if (this.receives >= snapshotReceivesMax) {
      await sendFailure(channel, busyFailure);
      this.channels.delete(channel);
      return;
    }
    this.receives++;
    const over = this.run(channel, () => this.receiveOver(channel, hostId, frame, key));
    const settled = over.catch(() => undefined);
    this.receiving.set(key, { channel, over: settled });
    try {
      await over;
    } finally {
      this.receiving.delete(key);
      this.receives--;
    }
  }

  /** A sender may be back before this side has noticed that the stream before is broken. */
  private async supersede(key: string): Promise<void> {
    for (let earlier = this.receiving.get(key); earlier !== undefined; earlier = this.receiving.get(key)) {
      earlier.channel.destroy(new SnapshotInterruptedError('its sender came back on another stream'));
      await earlier.over;
    }
  }

  private async receiveOver(channel: SnapshotChannel, hostId: number, frame: HeadFrame, key: string): Promise<void> {
    const { groupId } = frame.head;
    const incoming = (await this.parked.take(key, groupId)) ?? (await this.accepted(channel, hostId, frame, key));
    if (incoming !== null) await this.fill(channel, incoming);
  }

  /** Asks the handler for a sink; null when it refused, which the sender was then told. */
  private async accepted(
    channel: SnapshotChannel,
    hostId: number,
    frame: HeadFrame,
    key: string,
  ): Promise<IncomingSnapshot | null> {
    const { handler } = this;
    assert(handler !== null, 'snapshots come only after start');
    const { groupId } = frame.head;
    try {
      return { key, groupId, sink: await handler(hostId, frame.head), chunks: 0, bytes: 0 };
    } catch (error) {
      this.options.logger.info({ hostId, groupId, error: String(error) }, 'snapshot refused');
      await sendFailure(channel, `refused: ${textOf(error)}`);
      return null;
    }
  }

  /** The sink gets finish() once everything came, or abort() when the rest will not come; until then it may be parked. */
  private async fill(channel: SnapshotChannel, incoming: IncomingSnapshot): Promise<void> {
    try {
      await receiveSnapshotFrames(channel, incoming);
    } catch (error) {
      if (error instanceof SnapshotInterruptedError && incoming.chunks > 0 && !this.closed) {
        this.parked.park(incoming);
      } else {
        await incoming.sink.abort();
        if (!channel.isBroken()) await sendFailure(channel, `failed: ${textOf(error)}`);
      }
      throw error;
    }
    await sendDone(channel, incoming);
  }

  private refuse(channel: SnapshotChannel, reason: string): void {
    channel.refuse(reason);
    this.channels.delete(channel);
  }

  /** Work that nobody awaits: reports how it failed. */
  private launch(work: Promise<void>): void {
    this.track(
      work.catch((error: unknown) => this.options.logger.warn({ error: textOf(error) }, 'incoming snapshot failed')),
    );
  }

  /** Keeps hold of work so that close() can wait for it. */
  private track(work: Promise<void>): void {
    const done = (): void => void this.tasks.delete(work);
    this.tasks.add(work);
    work.then(done, done);
  }

  private async closeSource(source: SnapshotSource): Promise<void> {
    try {
      await source.close();
    } catch (error) {
      this.options.logger.error({ error: textOf(error) }, 'closing a snapshot failed');
    }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
