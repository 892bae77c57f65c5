import { crc32 } from 'node:zlib';
import type { Hello } from '../wire/hello_codec.js';
import type { SnapshotFrame } from '../wire/snapshot_codec.js';
import { snapshotChunkBytesMax, snapshotWindowBytes } from './limits.js';
import type { RateLimiter } from './rate_limiter.js';
import type { SnapshotChannel } from './snapshot_channel.js';
import { SnapshotError } from './snapshot_error.js';
import { busyFailure } from './snapshot_receive.js';
import type { SnapshotSource } from './transport.js';

/**
 * The sending half of a snapshot stream, whoever opened it:
 *
 *     sender    head ──────▶        chunk 0, 1, ... ──────▶      end ──▶
 *     receiver        ◀── ack(0)          ◀── ack(1), ack(2) ...        ◀── ack(n, done)
 *
 * At most snapshotWindowBytes are on their way unacknowledged. An ack with a failure ends it at any point.
 */
export async function sendSnapshotFrames(
  channel: SnapshotChannel,
  hello: Hello,
  snapshotId: number,
  source: SnapshotSource,
  limiter: RateLimiter,
): Promise<void> {
  const window = new Window(channel);
  try {
    await channel.write({ kind: 'head', hello, snapshotId, head: source.head });
    await sendChunks(channel, window, source, limiter);
  } catch (error) {
    // What the receiver said before the stream broke is the better reason.
    while (channel.hasFrame()) await window.readAck();
    throw error;
  }
}

async function sendChunks(
  channel: SnapshotChannel,
  window: Window,
  source: SnapshotSource,
  limiter: RateLimiter,
): Promise<void> {
  await window.readAck();
  let bytes = 0;
  for (let data = await nextChunk(source); data !== null; data = await nextChunk(source)) {
    await window.reserve(data.length);
    await channel.pause(limiter.take(data.length));
    await channel.write({ kind: 'chunk', sequence: window.sent, crc32: crc32(data), data });
    window.add(data.length);
    bytes += data.length;
  }
  await channel.write({ kind: 'end', chunks: window.sent, bytes });
  while (!window.done) await window.readAck();
}

async function nextChunk(source: SnapshotSource): Promise<Buffer | null> {
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

/** Chunks sent and not yet acknowledged. */
class Window {
  sent = 0;
  done = false;
  private readonly channel: SnapshotChannel;
  private readonly unacked: number[] = [];
  private unackedBytes = 0;
  private acked = 0;

  constructor(channel: SnapshotChannel) {
    this.channel = channel;
  }

  /** Waits until a chunk of this length may leave. A lone chunk always may. */
  async reserve(length: number): Promise<void> {
    while (this.channel.hasFrame()) await this.readAck();
    while (this.unacked.length > 0 && this.unackedBytes + length > snapshotWindowBytes) await this.readAck();
  }

  add(length: number): void {
    this.sent++;
    this.unacked.push(length);
    this.unackedBytes += length;
  }

  async readAck(): Promise<void> {
    const ack: SnapshotFrame = await this.channel.next();
    if (ack.kind !== 'ack') throw new SnapshotError('broken', `the receiver sent a ${ack.kind} frame`);
    if (ack.failure === busyFailure) throw new SnapshotError('busy', 'the receiver takes no more snapshots now');
    if (ack.failure !== '') throw new SnapshotError('refused', ack.failure);
    if (ack.chunks < this.acked || ack.chunks > this.sent) {
      throw new SnapshotError('broken', `the receiver acknowledged ${ack.chunks} chunks of ${this.sent}`);
    }
    for (; this.acked < ack.chunks; this.acked++) this.unackedBytes -= this.unacked.shift() ?? 0;
    this.done = ack.done;
  }
}
