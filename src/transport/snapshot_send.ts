import { crc32 } from 'node:zlib';
import { must } from '../base/assert.js';
import type { Hello } from '../wire/hello_codec.js';
import type { SnapshotFrame } from '../wire/snapshot_codec.js';
import { failureTextMax, snapshotChunkBytesMax, snapshotWindowBytes } from './limits.js';
import type { RateLimiter } from './rate_limiter.js';
import type { SnapshotChannel } from './snapshot_channel.js';
import { SnapshotError } from './snapshot_error.js';
import { busyFailure } from './snapshot_receive.js';
import type { SnapshotSource } from './transport.js';

/**
 * The sending half of a snapshot, whoever opened the stream:
 *
 *     sender    head ──────▶        chunk 0, 1, ... ──────▶      end ──▶
 *     receiver        ◀── ack(0)          ◀── ack(1), ack(2) ...        ◀── ack(n, done)
 *
 * At most snapshotWindowBytes are on their way unacknowledged. An ack with a failure ends it at any point; the
 * sender sends one itself when it gives up.
 *
 * When a stream breaks, sendOver() may be called again with another one. The head is the same, snapshot id included; the
 * receiver, which kept what it had, answers with ack(k), and chunks go on from k. Chunks are kept until they are
 * acknowledged, so k may be anything from the last ack that came through to the last chunk that left.
 */
export class OutgoingSnapshot {
  readonly snapshotId: number;
  private readonly source: SnapshotSource;
  private readonly limiter: RateLimiter;
  /** Chunks that the source gave and the receiver has not acknowledged; the first one is number `acked`. */
  private readonly unacked: Buffer[] = [];
  private acked = 0;
  private bytes = 0;
  private exhausted = false;
  private wasAccepted = false;
  private done = false;
  /** Of the present stream: the number after that of the last chunk on it, and the bytes on their way. */
  private next = 0;
  private onTheirWayBytes = 0;

  constructor(snapshotId: number, source: SnapshotSource, limiter: RateLimiter) {
    this.snapshotId = snapshotId;
    this.source = source;
    this.limiter = limiter;
  }

  /** True once the receiver has agreed to take it. */
  get accepted(): boolean {
    return this.wasAccepted;
  }

  /** Chunks that the receiver has. */
  get chunksAcked(): number {
    return this.acked;
  }

  /** Sends what the receiver lacks; resolves once it has everything. @throws SnapshotError */
  async sendOver(channel: SnapshotChannel, hello: Hello): Promise<void> {
    try {
      await channel.write({ kind: 'head', hello, snapshotId: this.snapshotId, head: this.source.head });
      await this.begin(channel);
      await this.sendChunks(channel);
    } catch (error) {
      // What the receiver said before the stream broke is the better reason.
      while (channel.hasFrame()) await this.readAck(channel);
      if (error instanceof SnapshotError && error.code === 'source') {
        const failure = error.message.slice(0, failureTextMax);
        channel.leave({ kind: 'ack', chunks: this.acked, done: false, failure });
      }
      throw error;
    }
  }

  /** The first ack: from which chunk to go on. */
  private async begin(channel: SnapshotChannel): Promise<void> {
    this.next = this.acked + this.unacked.length;
    this.onTheirWayBytes = this.unacked.reduce((sum, { length }) => sum + length, 0);
    const ack = await nextAck(channel);
    if (ack.chunks < this.acked) {
      throw new SnapshotError('lost', `the receiver has ${ack.chunks} chunks and had ${this.acked}`);
    }
    this.wasAccepted = true;
    this.take(ack);
    this.next = this.acked;
    this.onTheirWayBytes = 0;
  }

  private async sendChunks(channel: SnapshotChannel): Promise<void> {
    for (let data = await this.nextChunk(); data !== null; data = await this.nextChunk()) {
      await this.reserve(channel, data.length);
      await channel.pause(this.limiter.take(data.length));
      this.onTheirWayBytes += data.length;
      const sequence = this.next++;
      await channel.write({ kind: 'chunk', sequence, crc32: crc32(data), data });
    }
    await channel.write({ kind: 'end', chunks: this.next, bytes: this.bytes });
    while (!this.done) await this.readAck(channel);
  }

  /** The chunk numbered `next`, a kept one or a new one; null after the last. */
  private async nextChunk(): Promise<Buffer | null> {
    const kept = this.unacked[this.next - this.acked];
    if (kept !== undefined) return kept;
    if (this.exhausted) return null;
    const data = await readChunk(this.source);
    if (data === null) {
      this.exhausted = true;
      return null;
    }
    this.unacked.push(data);
    this.bytes += data.length;
    return data;
  }

  /** Waits until a chunk of this length may leave. A lone chunk always may. */
  private async reserve(channel: SnapshotChannel, length: number): Promise<void> {
    while (channel.hasFrame()) await this.readAck(channel);
    while (this.next > this.acked && this.onTheirWayBytes + length > snapshotWindowBytes) await this.readAck(channel);
  }

  private async readAck(channel: SnapshotChannel): Promise<void> {
    this.take(await nextAck(channel));
  }

  private take(ack: AckFrame): void {
    if (ack.chunks < this.acked || ack.chunks > this.next) {
      throw new SnapshotError('broken', `the receiver acknowledged ${ack.chunks} chunks of ${this.next}`);
    }
    for (; this.acked < ack.chunks; this.acked++) {
      this.onTheirWayBytes -= must(this.unacked.shift(), 'a chunk is kept until it is acknowledged').length;
    }
    this.done = ack.done;
  }
}

type AckFrame = Extract<SnapshotFrame, { kind: 'ack' }>;

async function nextAck(channel: SnapshotChannel): Promise<AckFrame> {
  const ack = await channel.next();
  if (ack.kind !== 'ack') throw new SnapshotError('broken', `the receiver sent a ${ack.kind} frame`);
  if (ack.failure === busyFailure) throw new SnapshotError('busy', 'the receiver takes no more snapshots now');
  if (ack.failure !== '') throw new SnapshotError('refused', ack.failure);
  return ack;
}

async function readChunk(source: SnapshotSource): Promise<Buffer | null> {
  let data: Buffer | null;
  try {
    data = await source.next();
  } catch (cause) {
    throw new SnapshotError('source', 'the snapshot could not be read', { cause });
  }
  if (data !== null && data.length > snapshotChunkBytesMax) {
    throw new SnapshotError('source', `a chunk of ${data.length} bytes passes the limit of ${snapshotChunkBytesMax}`);
  }
  return data;
}
