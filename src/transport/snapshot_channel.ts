import type { Runtime, TimerHandle } from '../base/runtime.js';
import { decodeSnapshotFrame, encodeSnapshotFrame, type SnapshotFrame } from '../wire/snapshot_codec.js';
import { WireError } from '../wire/wire_error.js';
import type { FrameStream } from './frame_stream.js';
import { snapshotChunkBytesMax, snapshotIdleTimeoutMs, snapshotWindowBytes } from './limits.js';
import { SnapshotError, SnapshotInterruptedError } from './snapshot_error.js';

/** Received and not yet read; a sender that keeps to the window stays below it. */
const receivedBytesMax = snapshotWindowBytes + snapshotChunkBytesMax + 64 * 1024;

interface Waiter {
  resolve(): void;
  reject(error: SnapshotError): void;
}

/**
 * A snapshot stream as something to await: frames are read one by one, writing waits while the stream pushes
 * back, and all waiting ends when the stream breaks or makes no progress.
 */
export class SnapshotChannel {
  private readonly stream: FrameStream;
  private readonly runtime: Runtime;
  private readonly received: { frame: SnapshotFrame; bytes: number }[] = [];
  private receivedBytes = 0;
  private blocked = false;
  private failure: SnapshotError | null = null;
  private ended = false;
  private reader: Waiter | null = null;
  private writer: Waiter | null = null;
  private sleeper: Waiter | null = null;

  constructor(stream: FrameStream, runtime: Runtime) {
    this.stream = stream;
    this.runtime = runtime;
    stream.listen({
      frame: (bytes) => this.handleFrame(bytes),
      drained: () => this.handleDrained(),
      closed: (close) => {
        const message = `the snapshot stream ${close.kind}: ${close.reason}`;
        // A stream that broke may look like one that was ended. Who means to give up says so in a frame.
        if (close.kind === 'refused') this.fail(new SnapshotError('refused', message));
        else this.fail(new SnapshotInterruptedError(message));
      },
    });
  }

  /** True once nothing can be said to the other side any more. */
  isBroken(): boolean {
    return this.failure !== null;
  }

  /** @throws SnapshotError when the stream is over, even if frames of it still wait to be read. */
  check(): void {
    if (this.failure !== null) throw this.failure;
  }

  /** True when next() would not wait. */
  hasFrame(): boolean {
    return this.received.length > 0;
  }

  /**
   * The next frame.
   * @throws SnapshotError when the stream is over or nothing came for `limitMs`.
   */
  async next(limitMs = snapshotIdleTimeoutMs): Promise<SnapshotFrame> {
    if (this.received.length === 0) await this.waitAtMost('reader', limitMs, 'the other side sent nothing');
    const item = this.received.shift();
    if (item === undefined) throw this.failure ?? new SnapshotError('broken', 'the snapshot stream is over');
    this.receivedBytes -= item.bytes;
    return item.frame;
  }

  /**
   * Sends a frame, then waits while the stream pushes back.
   * @throws SnapshotError
   */
  async write(frame: SnapshotFrame): Promise<void> {
    this.check();
    if (!this.stream.write(encodeSnapshotFrame(frame))) this.blocked = true;
    if (this.blocked) await this.waitAtMost('writer', snapshotIdleTimeoutMs, 'the other side took nothing');
  }

  /** Waits; ends early, with an error, when the stream breaks. */
  async pause(delayMs: number): Promise<void> {
    if (delayMs <= 0) return;
    let timer: TimerHandle | null = null;
    const waited = this.wait('sleeper');
    timer = this.runtime.after(delayMs, () => this.wake('sleeper'));
    try {
      await waited;
    } finally {
      timer.cancel();
    }
  }

  /** Says goodbye after the last frame, which still arrives. */
  end(): void {
    if (this.failure !== null) return;
    this.ended = true;
    this.stream.end();
  }

  /** A last frame, sent without waiting for room, and goodbye. */
  leave(frame: SnapshotFrame): void {
    if (this.failure !== null) return;
    this.stream.write(encodeSnapshotFrame(frame));
    this.end();
  }

  /** Breaks the stream because the other side has no business here, and tells it so. */
  refuse(reason: string): void {
    this.stream.destroy(reason);
    this.fail(new SnapshotError('refused', reason));
  }

  /** Breaks the stream unless it was ended; everything that waits fails with `error`. */
  destroy(error: SnapshotError): void {
    if (!this.ended) this.stream.destroy();
    this.fail(error);
  }

  private handleFrame(bytes: Buffer): void {
    if (this.failure !== null) return;
    let frame: SnapshotFrame;
    try {
      frame = decodeSnapshotFrame(bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.destroy(new SnapshotError('broken', `malformed snapshot frame: ${error.message}`));
      return;
    }
    this.received.push({ frame, bytes: bytes.length });
    this.receivedBytes += bytes.length;
    if (this.receivedBytes > receivedBytesMax) {
      this.received.length = 0;
      this.destroy(new SnapshotError('broken', 'the sender does not keep to the window'));
      return;
    }
    this.wake('reader');
  }

  private handleDrained(): void {
    this.blocked = false;
    this.wake('writer');
  }

  private fail(error: SnapshotError): void {
    if (this.failure !== null) return;
    this.failure = error;
    for (const slot of ['reader', 'writer', 'sleeper'] as const) {
      const waiter = this[slot];
      this[slot] = null;
      waiter?.reject(error);
    }
  }

  private wake(slot: 'reader' | 'writer' | 'sleeper'): void {
    const waiter = this[slot];
    this[slot] = null;
    waiter?.resolve();
  }

  private wait(slot: 'reader' | 'writer' | 'sleeper'): Promise<void> {
    const { failure } = this;
    if (failure !== null) return Promise.reject(failure);
    return new Promise((resolve, reject) => {
      this[slot] = { resolve, reject };
    });
  }

  private async waitAtMost(slot: 'reader' | 'writer', limitMs: number, what: string): Promise<void> {
    const timer = this.runtime.after(limitMs, () =>
      this.destroy(new SnapshotError('timeout', `${what} for ${limitMs} ms`)),
    );
    try {
      await this.wait(slot);
    } finally {
      timer.cancel();
    }
  }
}
