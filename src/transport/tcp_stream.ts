import type { Socket } from 'node:net';
import { frameBytesMax } from '../base/limits.js';
import type { Runtime, TimerHandle } from '../base/runtime.js';
import { encodeFrameHead, encodePreamble, FramingError, type FrameKind, type StreamKind } from './frame_format.js';
import { FrameParser, type FrameTaker } from './frame_parser.js';
import type { FrameListener, FrameStream, StreamClose } from './frame_stream.js';
import {
  aliveIntervalMs,
  clientAliveIntervalMs,
  clientSilentIntervalsMax,
  failureTextMax,
  firstFrameBytesMax,
  lingerMs,
  silentIntervalsMax,
  storeSilentIntervalsMax,
  streamBytesInFlightMax,
} from './limits.js';

const aliveFrame = encodeFrameHead('alive', 0);

/** How soon an end that says nothing is taken for lost, and how large the first frame may be. */
export interface Pace {
  readonly intervalMs: number;
  readonly silentIntervalsMax: number;
  readonly firstFrameBytesMax: number;
}

export const hostPace: Pace = { intervalMs: aliveIntervalMs, silentIntervalsMax, firstFrameBytesMax };
/** What a store allows to a client, whose event loop may stall for longer than a store's. */
export const clientPace: Pace = {
  intervalMs: clientAliveIntervalMs,
  silentIntervalsMax: clientSilentIntervalsMax,
  firstFrameBytesMax: frameBytesMax,
};
/** What a client allows to a store. */
export const storePace: Pace = { ...clientPace, silentIntervalsMax: storeSilentIntervalsMax };

/**
 * A stream of frames that has a TCP connection for itself, either end of it.
 *
 * Writing: bytes that the kernel has not taken wait in the socket's queue, which has no bound of its own; past
 * streamBytesInFlightMax write() returns false, until the queue is empty.
 *
 * Silence: each end says something at least every two intervals, an empty frame if there is nothing else. An end that
 * hears nothing for silentIntervalsMax intervals takes the other one for lost. Counted are this host's timer's calls, so that its own
 * stalls do not pass for the other side's. What only waits behind a long frame is not silence: bytes count, not frames. Nor is what this
 * end does not read because it is paused: then it is the other end's reading that counts.
 */
export class TcpStream implements FrameStream {
  private readonly socket: Socket;
  private readonly kind: StreamKind;
  private readonly pace: Pace;
  private readonly runtime: Runtime;
  private readonly parser: FrameParser;
  private readonly ticker: TimerHandle;
  private linger: TimerHandle | null = null;
  private listener: FrameListener | null = null;
  private over = false;
  private ended = false;
  private blocked = false;
  /** Since the last tick. */
  private wrote = true;
  private heard = false;
  private silentIntervals = 0;
  private wasHeard = false;
  /** Of what was written, as of the last tick: taken by the kernel. */
  private takenBytes = 0;

  /** Takes over the socket, connected or connecting, of which nothing was read yet (or put back). */
  constructor(socket: Socket, kind: StreamKind, runtime: Runtime, pace = hostPace) {
    this.socket = socket;
    this.kind = kind;
    this.runtime = runtime;
    this.pace = pace;
    const taker: FrameTaker = {
      preamble: (stream) => this.handlePreamble(stream),
      frame: (frameKind, payload) => this.handleFrame(frameKind, payload),
    };
    this.parser = new FrameParser(taker, pace.firstFrameBytesMax);
    socket.on('data', (chunk: Buffer) => this.handleData(chunk));
    socket.on('drain', () => this.handleDrain());
    socket.on('end', () => this.handleEnd());
    socket.on('error', (error) => this.handleClose({ kind: 'failed', reason: reasonOf(error) }));
    socket.on('close', () => this.handleSocketClose());
    socket.write(encodePreamble(kind));
    socket.resume();
    this.ticker = runtime.every(pace.intervalMs, () => this.tick());
  }

  listen(listener: FrameListener): void {
    if (!this.over) this.listener = listener;
  }

  write(frame: Buffer): boolean {
    if (this.over || this.ended) return true;
    this.send('data', frame);
    this.blocked = this.socket.writableLength > streamBytesInFlightMax;
    return !this.blocked;
  }

  /** Reads no more until resume(), but for what is read already. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    if (this.over || this.ended) return;
    this.ended = true;
    this.socket.end();
  }

  destroy(refusal?: string): void {
    if (this.over) return;
    this.listener = null;
    if (refusal === undefined) {
      this.over = true;
      this.socket.destroy();
    } else {
      this.send('refusal', Buffer.from(refusal.slice(0, failureTextMax)));
      this.over = true;
      this.finish();
    }
  }

  /** Breaks the stream from below: its listener hears of it. */
  cut(reason: string): void {
    this.socket.destroy(new Error(reason));
  }

  /** One write to the kernel for both parts, without copying the frame. */
  private send(kind: FrameKind, payload: Buffer): void {
    const { socket } = this;
    socket.cork();
    socket.write(encodeFrameHead(kind, payload.length));
    socket.write(payload);
    socket.uncork();
    this.wrote = true;
  }

  private handleData(chunk: Buffer): void {
    this.heard = true;
    // A stream that is over still reads, so that what it wrote last is not lost in a reset.
    if (this.over) return;
    try {
      this.parser.push(chunk);
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.handleClose({ kind: error.otherVersion ? 'refused' : 'failed', reason: error.message });
      this.finish();
    }
  }

  private handlePreamble(stream: StreamKind): void {
    if (stream !== this.kind) throw new FramingError(`a stream of kind ${stream} in the place of ${this.kind}`);
    this.listener?.opened?.();
  }

  private handleFrame(kind: FrameKind, payload: Buffer): void {
    switch (kind) {
      case 'data':
        this.listener?.frame(payload);
        break;
      case 'alive':
        break;
      case 'refusal':
        this.handleClose({ kind: 'refused', reason: payload.subarray(0, failureTextMax).toString() });
        this.finish();
        break;
    }
  }

  private handleEnd(): void {
    const whole = this.parser.isBetweenFrames();
    this.handleClose(
      whole
        ? { kind: 'ended', reason: 'the other side ended it' }
        : { kind: 'failed', reason: 'the connection ended inside a frame' },
    );
    this.finish();
  }

  private handleDrain(): void {
    if (!this.blocked || this.over) return;
    this.blocked = false;
    this.listener?.drained();
  }

  private handleClose(close: StreamClose): void {
    if (this.over) return;
    this.over = true;
    const { listener } = this;
    this.listener = null;
    listener?.closed(close);
  }

  private handleSocketClose(): void {
    this.ticker.cancel();
    this.linger?.cancel();
    this.handleClose({ kind: 'failed', reason: 'the connection was closed' });
  }

  /** What was written still leaves, for a while; then the socket goes. */
  private finish(): void {
    this.socket.end();
    this.linger ??= this.runtime.after(lingerMs, () => this.socket.destroy());
  }

  private tick(): void {
    const { socket } = this;
    if (socket.connecting) return;
    if (!this.wrote && !this.over && !this.ended && socket.writableLength === 0) socket.write(aliveFrame);
    this.wrote = false;
    this.wasHeard ||= this.heard;
    const takenBytes = socket.bytesWritten - socket.writableLength;
    const isAlive = this.heard || (socket.isPaused() && takenBytes !== this.takenBytes);
    this.takenBytes = takenBytes;
    this.silentIntervals = isAlive ? 0 : this.silentIntervals + 1;
    this.heard = false;
    const { silentIntervalsMax, intervalMs } = this.pace;
    if (this.wasHeard && this.silentIntervals >= silentIntervalsMax) {
      this.cut(`nothing came for ${silentIntervalsMax * intervalMs} ms`);
    }
  }
}

/** Several addresses of one name fail together, in an error without a message. */
function reasonOf(error: Error): string {
  if (error instanceof AggregateError) return error.errors.map(String).join('; ');
  return error.message;
}
