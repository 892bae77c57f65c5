import { EventEmitter, once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { frameBytesMax } from '../../src/base/limits.js';
import {
  decodePreamble,
  encodeFrameHead,
  encodePreamble,
  preambleBytes,
  type FrameKind,
  type StreamKind,
} from '../../src/transport/frame_format.js';
import { FrameParser, type FrameTaker } from '../../src/transport/frame_parser.js';
import { aliveIntervalMs } from '../../src/transport/limits.js';
import { parseHostPort } from '../../src/transport/host_port.js';
import { decodeEnvelope, encodeEnvelope, type Envelope, type Hello } from '../../src/wire/index.js';

export interface RawEnd {
  readonly kind: 'refused' | 'closed';
  readonly reason: string;
}

export function frame(payload: Buffer, kind: FrameKind = 'data'): Buffer {
  return Buffer.concat([encodeFrameHead(kind, payload.length), payload]);
}

/** Connects to an address with nothing said yet. */
export function dialRaw(address: string): Socket {
  const target = parseHostPort(address);
  if (target === null) throw new Error(`${address} is not host:port`);
  return connect(target);
}

/** One end of a stream that says whatever a test wants, and otherwise only that it lives. Emits 'data' with each frame of data. */
export class RawStream extends EventEmitter {
  readonly socket: Socket;
  /** How the other end let go. */
  readonly over: Promise<RawEnd>;
  private refusal: string | null = null;
  /** Frames of data that next() has not returned; several may come in one read. */
  private readonly received: Buffer[] = [];

  /** Of a socket that this end's preamble was written to. */
  constructor(socket: Socket, kind: StreamKind = 'exchange') {
    super();
    this.socket = socket;
    const taker: FrameTaker = {
      preamble: () => undefined,
      frame: (frameKind, payload) => {
        if (frameKind === 'refusal') this.refusal = payload.toString();
        if (frameKind !== 'data') return;
        this.received.push(payload);
        this.emit('data', payload);
      },
    };
    const parser = kind === 'client' ? new FrameParser(taker, frameBytesMax) : new FrameParser(taker);
    socket.on('data', (chunk: Buffer) => parser.push(chunk));
    socket.on('error', () => undefined);
    const alive = setInterval(() => {
      if (socket.writable) socket.write(encodeFrameHead('alive', 0));
    }, aliveIntervalMs);
    this.over = new Promise((resolve) => {
      socket.once('close', () => clearInterval(alive));
      socket.once('close', () =>
        resolve(this.refusal === null ? { kind: 'closed', reason: '' } : { kind: 'refused', reason: this.refusal }),
      );
    });
  }

  static dial(address: string, kind: StreamKind): RawStream {
    const socket = dialRaw(address);
    socket.write(encodePreamble(kind));
    return new RawStream(socket, kind);
  }

  /** The next frame of data. */
  async next(): Promise<Buffer> {
    for (;;) {
      const payload = this.received.shift();
      if (payload !== undefined) return payload;
      await once(this, 'data');
    }
  }

  write(...payloads: Buffer[]): void {
    for (const payload of payloads) this.socket.write(frame(payload));
  }

  close(): void {
    this.socket.destroy();
  }
}

export interface RawServer {
  readonly address: string;
  stop(): void;
}

/** A host whose streams a test plays by hand. */
export async function startRawServer(
  handlers: Partial<Record<StreamKind, (stream: RawStream) => void>>,
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    // Which stream it is must be known before the first frame that says that this end lives.
    socket.once('data', (first) => {
      const kind = decodePreamble(first.subarray(0, preambleBytes));
      socket.pause();
      socket.unshift(first);
      socket.write(encodePreamble(kind));
      const stream = new RawStream(socket, kind);
      socket.resume();
      handlers[kind]?.(stream);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, stop };
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

/** Reads the next frame of a stream as an envelope. */
export async function nextEnvelope(stream: RawStream): Promise<Envelope> {
  return decodeEnvelope(await stream.next());
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
