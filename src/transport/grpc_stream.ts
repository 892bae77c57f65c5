import { status, type ClientDuplexStream, type ServerDuplexStream } from '@grpc/grpc-js';
import type { FrameListener, FrameStream, StreamClose } from './frame_stream.js';
import { streamBytesInFlightMax } from './limits.js';

type Call = ClientDuplexStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

/**
 * What both sides of a gRPC stream share. grpc-js queues without bound, so bytes are counted from write() until
 * the socket took them; past streamBytesInFlightMax, or when the call itself says so, write() returns false.
 */
abstract class GrpcStream<C extends Call> implements FrameStream {
  protected readonly call: C;
  private listener: FrameListener | null = null;
  private over = false;
  private inFlightBytes = 0;
  private blocked = false;

  constructor(call: C) {
    this.call = call;
    call.on('data', (frame: Buffer) => this.listener?.frame(frame));
    call.on('drain', () => this.handleDrain());
  }

  listen(listener: FrameListener): void {
    if (!this.over) this.listener = listener;
  }

  write(frame: Buffer): boolean {
    if (this.over) return true;
    this.inFlightBytes += frame.length;
    const taken = this.call.write(frame, () => {
      this.inFlightBytes -= frame.length;
      this.handleDrain();
    });
    this.blocked = !taken || this.inFlightBytes > streamBytesInFlightMax;
    return !this.blocked;
  }

  end(): void {
    if (!this.over) this.call.end();
  }

  destroy(refusal?: string): void {
    if (this.over) return;
    this.over = true;
    this.listener = null;
    this.abort(refusal);
  }

  /** Ends the call from this side, at once. */
  protected abstract abort(refusal: string | undefined): void;

  protected handleClose(close: StreamClose): void {
    if (this.over) return;
    this.over = true;
    const { listener } = this;
    this.listener = null;
    listener?.closed(close);
  }

  private handleDrain(): void {
    if (!this.blocked || this.over) return;
    if (this.call.writableNeedDrain || this.inFlightBytes > streamBytesInFlightMax) return;
    this.blocked = false;
    this.listener?.drained();
  }
}

/** The dialling side of a call. */
export class GrpcClientStream extends GrpcStream<ClientDuplexStream<Buffer, Buffer>> {
  constructor(call: ClientDuplexStream<Buffer, Buffer>) {
    super(call);
    call.on('end', () => this.handleClose({ kind: 'ended', reason: 'the other side ended it' }));
    call.on('error', (error: Error & { code?: unknown; details?: unknown }) => {
      const reason = typeof error.details === 'string' ? error.details : error.message;
      this.handleClose({ kind: error.code === status.FAILED_PRECONDITION ? 'refused' : 'failed', reason });
    });
  }

  /** Breaks the stream from below: its listener hears of it. */
  cancel(): void {
    this.call.cancel();
  }

  protected override abort(): void {
    this.call.cancel();
  }
}

/** The accepting side of a call. */
export class GrpcServerStream extends GrpcStream<ServerDuplexStream<Buffer, Buffer>> {
  constructor(call: ServerDuplexStream<Buffer, Buffer>) {
    super(call);
    call.on('end', () => {
      this.handleClose({ kind: 'ended', reason: 'the other side ended it' });
      call.end();
    });
    call.on('cancelled', () => this.handleClose({ kind: 'failed', reason: 'the call was cancelled' }));
    call.on('error', (error: Error) => this.handleClose({ kind: 'failed', reason: error.message }));
  }

  protected override abort(refusal: string | undefined): void {
    // grpc-js ends a call with the status of an emitted error.
    this.call.emit('error', {
      code: refusal === undefined ? status.UNAVAILABLE : status.FAILED_PRECONDITION,
      details: refusal ?? 'the stream was given up',
    });
  }
}
