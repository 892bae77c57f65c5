import type { ServerDuplexStream } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { nodeRuntime } from '../../../src/base/node_runtime.js';
import type { BatchRequest, BatchResponse, BatchResult } from '../../../src/gen/skerry/v1/kv.js';
import { KvService } from '../../../src/gen/skerry/v1/kv.js';
import { startGrpcServer, type GrpcServer } from '../../../src/transport/grpc_server.js';
import { clientPace, TcpStream } from '../../../src/transport/tcp_stream.js';

/** A client's batch stream, whichever way it came. */
export interface FakeStream {
  answer(results: BatchResult[]): void;
  /** Ends it as a failure of the network does, with everything on it unanswered. */
  break(): void;
}

export type FrameHandler = (stream: FakeStream, request: BatchRequest) => void;

/** The port of a fake store: batch streams over TCP and over gRPC. */
export class FakePort {
  private readonly server: GrpcServer;
  private readonly streams: Set<FakeStream>;
  private closed: Promise<void> | null = null;

  private constructor(server: GrpcServer, streams: Set<FakeStream>) {
    this.server = server;
    this.streams = streams;
  }

  static async open(port: number, handle: FrameHandler): Promise<FakePort> {
    const streams = new Set<FakeStream>();
    const runtime = nodeRuntime();
    const batch = (call: ServerDuplexStream<BatchRequest, BatchResponse>): void => serveGrpc(call, streams, handle);
    const server = await startGrpcServer({
      address: `127.0.0.1:${port}`,
      services: [{ definition: { batch: KvService.batch }, implementation: { batch } }],
      serviceNames: [],
      acceptFrames: (socket) => serveFrames(new TcpStream(socket, 'client', runtime, clientPace), streams, handle),
      closeGraceMs: 0,
    });
    return new FakePort(server, streams);
  }

  get port(): number {
    return this.server.port;
  }

  breakStreams(): void {
    for (const stream of this.streams) stream.break();
  }

  /** As a kill: every connection breaks, the port refuses. Resolves once another may have the port. */
  kill(): Promise<void> {
    this.breakStreams();
    this.server.server.forceShutdown();
    return (this.closed ??= this.server.close());
  }
}

function serveGrpc(
  call: ServerDuplexStream<BatchRequest, BatchResponse>,
  streams: Set<FakeStream>,
  handle: FrameHandler,
): void {
  const broken = { code: status.UNAVAILABLE, details: 'broken' };
  const stream: FakeStream = {
    answer: (results) => void call.write({ results }),
    break: () => void call.emit('error', Object.assign(new Error('broken'), broken)),
  };
  streams.add(stream);
  call.on('error', () => streams.delete(stream));
  call.on('end', () => streams.delete(stream));
  call.on('data', (request: BatchRequest) => handle(stream, request));
}

function serveFrames(connection: TcpStream, streams: Set<FakeStream>, handle: FrameHandler): void {
  const { requestDeserialize, responseSerialize } = KvService.batch;
  const stream: FakeStream = {
    answer: (results) => void connection.write(responseSerialize({ results })),
    break: () => connection.cut('broken'),
  };
  streams.add(stream);
  connection.listen({
    frame: (bytes) => handle(stream, requestDeserialize(bytes)),
    drained: () => undefined,
    closed: () => streams.delete(stream),
  });
}
