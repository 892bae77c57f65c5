import { crc32 } from 'node:zlib';
import type { SnapshotFrame } from '../wire/snapshot_codec.js';
import { failureTextMax, snapshotChunkBytesMax } from './limits.js';
import type { SnapshotChannel } from './snapshot_channel.js';
import { SnapshotError } from './snapshot_error.js';
import type { SnapshotSink } from './transport.js';

/** The failure in an ack that stands for "too many snapshots at a time". */
export const busyFailure = 'busy';

/** A snapshot that is being received, over as many streams as it takes. */
export interface IncomingSnapshot {
  /** Whose it is and which: the same for every stream that carries it, and for no other snapshot. */
  readonly key: string;
  readonly groupId: number;
  readonly sink: SnapshotSink;
  /** What the sink has taken. */
  chunks: number;
  bytes: number;
}

/**
 * The receiving half of a snapshot stream, after its head was accepted: begins with how many chunks are here already.
 * @throws SnapshotInterruptedError when the stream broke and another may bring the rest; with any other error it is over
 */
export async function receiveSnapshotFrames(channel: SnapshotChannel, incoming: IncomingSnapshot): Promise<void> {
  await receiveChunks(channel, incoming);
  await incoming.sink.finish();
}

async function receiveChunks(channel: SnapshotChannel, incoming: IncomingSnapshot): Promise<void> {
  const ack = (): Promise<void> => channel.write({ kind: 'ack', chunks: incoming.chunks, done: false, failure: '' });
  await ack();
  for (;;) {
    const frame = await channel.next();
    // Nobody waits for the rest of a broken stream, however much of it has come.
    channel.check();
    if (frame.kind === 'end') {
      const { chunks, bytes } = incoming;
      if (frame.chunks === chunks && frame.bytes === bytes) return;
      throw new SnapshotError(
        'broken',
        `${chunks} chunks of ${bytes} bytes came, ${frame.chunks} of ${frame.bytes} were sent`,
      );
    }
    if (frame.kind === 'ack') throw new SnapshotError('broken', `the sender gave up: ${frame.failure}`);
    const { data, crc32: checksum } = checkedChunk(frame, incoming.chunks);
    await incoming.sink.write(data, checksum);
    incoming.chunks++;
    incoming.bytes += data.length;
    await ack();
  }
}

/** Tells the sender that everything is here. */
export async function sendDone(channel: SnapshotChannel, { chunks }: IncomingSnapshot): Promise<void> {
  await channel.write({ kind: 'ack', chunks, done: true, failure: '' });
  channel.end();
}

type ChunkFrame = Extract<SnapshotFrame, { kind: 'chunk' }>;

function checkedChunk(frame: SnapshotFrame, expected: number): ChunkFrame {
  if (frame.kind !== 'chunk') throw new SnapshotError('broken', `the sender sent a ${frame.kind} frame`);
  if (frame.sequence !== expected) {
    throw new SnapshotError('broken', `chunk ${frame.sequence} came in the place of chunk ${expected}`);
  }
  if (frame.data.length > snapshotChunkBytesMax) {
    throw new SnapshotError('broken', `chunk ${expected} has ${frame.data.length} bytes`);
  }
  if (crc32(frame.data) !== frame.crc32) throw new SnapshotError('broken', `chunk ${expected} has a wrong checksum`);
  return frame;
}

/** Tells the sender why it failed, if it still listens. */
export async function sendFailure(channel: SnapshotChannel, failure: string): Promise<void> {
  await channel.write({ kind: 'ack', chunks: 0, done: false, failure: failure.slice(0, failureTextMax) });
  channel.end();
}
