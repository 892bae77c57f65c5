import { crc32 } from 'node:zlib';
import type { SnapshotFrame } from '../wire/snapshot_codec.js';
import { failureTextMax, snapshotChunkBytesMax } from './limits.js';
import type { SnapshotChannel } from './snapshot_channel.js';
import { SnapshotError } from './snapshot_error.js';
import type { SnapshotSink } from './transport.js';

/** The failure in an ack that stands for "too many snapshots at a time". */
export const busyFailure = 'busy';

/**
 * The receiving half of a snapshot stream, after its head was accepted. The sink gets finish() exactly once when
 * everything came, or abort() exactly once when anything failed, finish() included.
 */
export async function receiveSnapshotFrames(channel: SnapshotChannel, sink: SnapshotSink): Promise<void> {
  let chunks: number;
  try {
    chunks = await receiveChunks(channel, sink);
    await sink.finish();
  } catch (error) {
    await sink.abort();
    throw error;
  }
  await channel.write({ kind: 'ack', chunks, done: true, failure: '' });
  channel.end();
}

async function receiveChunks(channel: SnapshotChannel, sink: SnapshotSink): Promise<number> {
  let chunks = 0;
  let bytes = 0;
  await channel.write({ kind: 'ack', chunks: 0, done: false, failure: '' });
  for (;;) {
    const frame = await channel.next();
    // Nobody waits for the rest of a broken snapshot, however much of it has come.
    channel.check();
    if (frame.kind === 'end') {
      if (frame.chunks === chunks && frame.bytes === bytes) return chunks;
      throw new SnapshotError(
        'broken',
        `${chunks} chunks of ${bytes} bytes came, ${frame.chunks} of ${frame.bytes} were sent`,
      );
    }
    const data = checkedChunk(frame, chunks);
    await sink.write(data);
    chunks++;
    bytes += data.length;
    await channel.write({ kind: 'ack', chunks, done: false, failure: '' });
  }
}

function checkedChunk(frame: SnapshotFrame, expected: number): Buffer {
  if (frame.kind !== 'chunk') throw new SnapshotError('broken', `the sender sent a ${frame.kind} frame`);
  if (frame.sequence !== expected) {
    throw new SnapshotError('broken', `chunk ${frame.sequence} came in the place of chunk ${expected}`);
  }
  if (frame.data.length > snapshotChunkBytesMax) {
    throw new SnapshotError('broken', `chunk ${expected} has ${frame.data.length} bytes`);
  }
  if (crc32(frame.data) !== frame.crc32) throw new SnapshotError('broken', `chunk ${expected} has a wrong checksum`);
  return frame.data;
}

/** Tells the sender why it failed, if it still listens. */
export async function sendFailure(channel: SnapshotChannel, failure: string): Promise<void> {
  await channel.write({ kind: 'ack', chunks: 0, done: false, failure: failure.slice(0, failureTextMax) });
  channel.end();
}
