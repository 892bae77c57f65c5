import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type ClientDuplexStream,
  type ServerDuplexStream,
} from '@grpc/grpc-js';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { RaftTransportService } from '../../src/gen/skerry/v1/raft.js';
import { decodeEnvelope, encodeEnvelope, type Envelope, type Hello } from '../../src/wire/index.js';

const asIs = (frame: Buffer): Buffer => frame;

/** A gRPC client that says whatever bytes a test wants. */
export class RawClient {
  private readonly client: Client;

  constructor(address: string) {
    this.client = new Client(address, credentials.createInsecure());
  }

  exchange(): ClientDuplexStream<Buffer, Buffer> {
    return this.client.makeBidiStreamRequest(RaftTransportService.exchange.path, asIs, asIs);
  }

  snapshot(): ClientDuplexStream<Buffer, Buffer> {
    return this.client.makeBidiStreamRequest(RaftTransportService.snapshot.path, asIs, asIs);
  }

  close(): void {
    this.client.close();
  }
}

/** Waits for a call's end and returns its status code and details. */
export function statusOf(call: ClientDuplexStream<Buffer, Buffer>): Promise<{ code: number; details: string }> {
  call.on('error', () => undefined);
  call.resume();
  return new Promise((resolve) => call.on('status', resolve));
}

export interface RawServer {
  readonly address: string;
  stop(): void;
}

/** A gRPC server of RaftTransport whose calls a test plays by hand. */
export async function startRawServer(handlers: {
  exchange?: (call: ServerDuplexStream<Buffer, Buffer>) => void;
  snapshot?: (call: ServerDuplexStream<Buffer, Buffer>) => void;
}): Promise<RawServer> {
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const raw = { requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs };
  const nothing = (): void => undefined;
  server.addService(
    {
      exchange: { ...RaftTransportService.exchange, ...raw },
      snapshot: { ...RaftTransportService.snapshot, ...raw },
    },
    { exchange: handlers.exchange ?? nothing, snapshot: handlers.snapshot ?? nothing },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}

export function envelope(parts: Partial<Envelope>): Buffer {
  return encodeEnvelope({
    hello: null,
    messages: [],
    beat: null,
    forwards: [],
    forwardResponses: [],
    snapshotOffers: [],
    gone: [],
    ...parts,
  });
}

export function hello(parts: Partial<Hello> = {}): Hello {
  return { clusterId: 7, fromId: 1, toId: 2, incarnation: 1, protocolVersion: 1, ...parts };
}

/** Reads the next frame of a call as an envelope. */
export async function nextEnvelope(call: NodeJS.EventEmitter): Promise<Envelope> {
  const [frame] = (await once(call, 'data')) as [Buffer];
  return decodeEnvelope(frame);
}

/** A TCP proxy whose connections a test can freeze (no byte passes, nothing closes) and count. */
export class Proxy {
  readonly address: string;
  connections = 0;
  private readonly server: ReturnType<typeof createServer>;
  private readonly sockets = new Set<Socket>();

  private constructor(server: ReturnType<typeof createServer>, target: string) {
    this.server = server;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const port = Number(target.split(':')[1]);
    server.on('connection', (inner) => {
      this.connections++;
      const outer = connect(port, '127.0.0.1');
      for (const [from, to] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        this.sockets.add(from);
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          this.sockets.delete(from);
          to.destroy();
        });
      }
    });
  }

  static async start(target: string): Promise<Proxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Proxy(server, target);
  }

  get open(): number {
    return this.sockets.size / 2;
  }

  freeze(): void {
    for (const socket of this.sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.server.close();
    this.cut();
    await once(this.server, 'close');
  }
}
