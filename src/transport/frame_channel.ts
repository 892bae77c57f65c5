import { assert } from '../base/assert.js';
import type { Runtime, TimerHandle } from '../base/runtime.js';
import type { RpcMethod, RpcStream, StreamChannel, StreamDial, StreamHandlers } from '../rpc/channel.js';
import { dial } from './dial.js';
import { storePace, TcpStream } from './tcp_stream.js';

/**
 * A client's lines to stores: the frames of Kv.Batch over TCP, at the port at which a store also serves it over gRPC. HTTP/2 took a
 * tenth of the CPU of a put and a sixth of that of a get (docs/benchmarks.md).
 */
export function dialFrames(runtime: Runtime): StreamDial {
  return (address) => new FrameChannel(address, runtime);
}

/** At most one stream at a time, which has the connection for itself. */
class FrameChannel implements StreamChannel {
  private readonly address: string;
  private readonly runtime: Runtime;
  private line: Line | null = null;
  private closed = false;

  constructor(address: string, runtime: Runtime) {
    this.address = address;
    this.runtime = runtime;
  }

  connected(timeoutMs: number): Promise<string | null> {
    if (this.closed) return Promise.resolve('the channel was closed');
    this.line?.cancel();
    this.line = new Line(this.address, this.runtime);
    return this.line.opened(timeoutMs);
  }

  /** Follows a connected() that resolved to null. There is one method that is carried so. */
  duplex<Request, Reply>(method: RpcMethod<Request, Reply>, handlers: StreamHandlers<Reply>): RpcStream<Request> {
    const { line } = this;
    assert(line !== null && !this.closed, 'a stream needs a connection');
    line.use({
      frame: (bytes) => handlers.frame(method.responseDeserialize(bytes)),
      drained: () => handlers.drained?.(),
      closed: (reason) => handlers.closed(reason),
    });
    return { write: (request) => line.write(method.requestSerialize(request)), cancel: () => line.cancel() };
  }

  close(): void {
    this.closed = true;
    this.line?.cancel();
  }
}

/** One connection: on its way, open, over. */
class Line {
  private readonly address: string;
  private readonly runtime: Runtime;
  private readonly stream: TcpStream;
  private handlers: StreamHandlers<Buffer> | null = null;
  /** Why it is over; null: it is not. */
  private over: string | null = null;
  private answer: ((failure: string | null) => void) | null = null;
  private timer: TimerHandle | null = null;

  constructor(address: string, runtime: Runtime) {
    this.address = address;
    this.runtime = runtime;
    this.stream = new TcpStream(dial(address), 'client', runtime, storePace);
    this.stream.listen({
      opened: () => this.settle(null),
      frame: (bytes) => this.handlers?.frame(bytes),
      drained: () => this.handlers?.drained?.(),
      closed: ({ reason }) => this.handleClosed(reason),
    });
  }

  /** A kernel accepts for a process that stands still: only what the other side says is an answer. */
  opened(timeoutMs: number): Promise<string | null> {
    return new Promise((resolve) => {
      this.answer = resolve;
      this.timer = this.runtime.after(timeoutMs, () => {
        this.stream.destroy();
        this.handleClosed(`no connection to ${this.address} within ${timeoutMs} ms`);
      });
    });
  }

  use(handlers: StreamHandlers<Buffer>): void {
    this.handlers = handlers;
    const { over } = this;
    if (over !== null) this.runtime.nextTurn(() => this.handlers?.closed(over));
  }

  write(frame: Buffer): boolean {
    return this.stream.write(frame);
  }

  cancel(): void {
    this.handlers = null;
    this.stream.destroy();
    this.handleClosed('the channel was closed');
  }

  private handleClosed(reason: string): void {
    if (this.over !== null) return;
    this.over = reason;
    this.settle(`no connection to ${this.address}: ${reason}`);
    this.handlers?.closed(reason);
  }

  private settle(failure: string | null): void {
    this.timer?.cancel();
    this.answer?.(failure);
    this.answer = null;
  }
}
