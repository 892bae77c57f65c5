import { frameBytesMax } from '../base/limits.js';

/**
 * What lies around frames on a TCP connection between two hosts, or a client and a store. Each end begins with a preamble of eight
 * bytes, whoever is ready first; then come frames:
 *
 *     preamble:  'SKERRY'   version: u8   stream: u8 (1 exchange, 2 snapshot, 3 client)
 *     frame:     kind: u8   length: u32, big-endian   payload
 *
 * A frame has no checksum: TCP has one, the chunks of a snapshot and the batches of the Raft log have their own.
 */

/** Never the beginning of HTTP/2, which shares the port and begins with 'PRI'. */
const magic: Buffer = Buffer.from('SKERRY', 'latin1');
export const preambleBytes = magic.length + 2;
export const frameHeadBytes = 5;
/** Grows when the bytes around frames change. */
export const framingVersion = 1;

const streamNumbers = Object.freeze({ exchange: 1, snapshot: 2, client: 3 });
export type StreamKind = keyof typeof streamNumbers;

/** Payload: bytes of an Envelope, SnapshotFrame, BatchRequest or BatchResponse; nothing; a reason as UTF-8 text, after which the sender reads no more. */
export type FrameKind = 'data' | 'alive' | 'refusal';
const frameKinds: readonly FrameKind[] = Object.freeze(['data', 'alive', 'refusal']);

/** Bytes that are not what a host sends. The connection they came on is closed. */
export class FramingError extends Error {
  override readonly name = 'FramingError';
  /** The other side speaks another version: asking again soon is useless. */
  readonly otherVersion: boolean;

  constructor(message: string, otherVersion = false) {
    super(message);
    this.otherVersion = otherVersion;
  }
}

export function encodePreamble(stream: StreamKind): Buffer {
  return Buffer.concat([magic, Buffer.of(framingVersion, streamNumbers[stream])]);
}

/** Whether a connection that begins with these bytes carries such frames; `undecided`: they are too few. */
export function recognize(bytes: Buffer): 'frames' | 'other' | 'undecided' {
  const length = Math.min(bytes.length, magic.length);
  if (bytes.compare(magic, 0, length, 0, length) !== 0) return 'other';
  return bytes.length < preambleBytes ? 'undecided' : 'frames';
}

/** @throws FramingError */
export function decodePreamble(bytes: Buffer): StreamKind {
  if (recognize(bytes) !== 'frames') throw new FramingError('the other side is not of Skerry');
  const version = bytes[magic.length];
  if (version !== framingVersion) {
    const message = `the other side frames messages as of version ${String(version)}, this host as of ${framingVersion}`;
    throw new FramingError(message, true);
  }
  const number = bytes[magic.length + 1];
  if (number === streamNumbers.exchange) return 'exchange';
  if (number === streamNumbers.snapshot) return 'snapshot';
  if (number === streamNumbers.client) return 'client';
  throw new FramingError(`there is no stream of kind ${String(number)}`);
}

export function encodeFrameHead(kind: FrameKind, lengthBytes: number): Buffer {
  const head = Buffer.allocUnsafe(frameHeadBytes);
  head[0] = frameKinds.indexOf(kind);
  head.writeUInt32BE(lengthBytes, 1);
  return head;
}

/** @throws FramingError */
export function decodeFrameHead(
  head: Buffer,
  lengthBytesMax = frameBytesMax,
): { kind: FrameKind; lengthBytes: number } {
  const kind = frameKinds[head[0] ?? -1];
  if (kind === undefined) throw new FramingError(`there is no frame of kind ${String(head[0])}`);
  const lengthBytes = head.readUInt32BE(1);
  if (lengthBytes > lengthBytesMax) {
    throw new FramingError(`a frame of ${lengthBytes} bytes passes the limit of ${lengthBytesMax}`);
  }
  return { kind, lengthBytes };
}
