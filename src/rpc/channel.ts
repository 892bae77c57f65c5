/**
 * How a process calls another one, as a parameter: the routing client, the stores' line to placement and the placement
 * members' lines to each other take a Dial, so that the simulator can put a network of its own under the same code.
 * The real one is gRPC (grpc_channel.ts).
 */
export type Dial = (address: string) => RpcChannel;

/** The part of it that operations need: one stream of frames to each store. Over TCP as well (src/transport/frame_channel.ts). */
export type StreamDial = (address: string) => StreamChannel;

/** A method as ts-proto describes it. */
export interface RpcMethod<Request, Reply> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Reply;
}

export type RpcFailure =
  /** No answer in time: the call may have been carried out. */
  | 'deadline'
  /** Whoever listens there has no such method. */
  | 'unimplemented'
  /** The connection broke, could not be made, or the other side failed: the call may have been carried out. */
  | 'failed';

export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly failure: RpcFailure;

  constructor(failure: RpcFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

export type Headers = Readonly<Record<string, string>>;

export interface UnaryOptions {
  readonly timeoutMs: number;
  readonly headers?: Headers;
}

export interface StreamHandlers<Reply> {
  frame(reply: Reply): void;
  /** write() returned false, and now there is room again. */
  drained?(): void;
  /** The stream is over, and not by cancel(). Called at most once, never from within a call on the stream. */
  closed(reason: string): void;
}

export interface RpcStream<Request> {
  /** False: the frame is taken, but wait for drained() before the next one. */
  write(request: Request): boolean;
  /** Ends it now; its handlers hear nothing more. Idempotent. */
  cancel(): void;
}

/** A line to one address, for streams. It connects when it is first used, and again when it was lost. */
export interface StreamChannel {
  /**
   * Resolves to null once connected, or to the reason why not. Knowing that nothing was sent is the difference between
   * "try another" and "may have taken effect".
   */
  connected(timeoutMs: number): Promise<string | null>;
  duplex<Request, Reply>(method: RpcMethod<Request, Reply>, handlers: StreamHandlers<Reply>): RpcStream<Request>;
  /** Fails what is outstanding. */
  close(): void;
}

/** A line to one address, for calls of all kinds. */
export interface RpcChannel extends StreamChannel {
  /** Rejects with RpcError. */
  unary<Request, Reply>(method: RpcMethod<Request, Reply>, request: Request, options: UnaryOptions): Promise<Reply>;
  /** One request, a stream of replies. */
  serverStream<Request, Reply>(
    method: RpcMethod<Request, Reply>,
    request: Request,
    handlers: StreamHandlers<Reply>,
    headers?: Headers,
  ): RpcStream<never>;
}
