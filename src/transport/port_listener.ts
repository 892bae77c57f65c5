import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Runtime } from '../base/runtime.js';
import { preambleBytes, recognize } from './frame_format.js';
import type { HostPort } from './host_port.js';
import { handshakeTimeoutMs, unknownConnectionsMax } from './limits.js';

/** Takes over a connection that carries frames. Its first bytes, shown beside it, are still to be read from the socket. */
export type FramesAcceptor = (socket: Socket, preamble: Buffer) => void;

export interface PortListenerOptions {
  readonly runtime: Runtime;
  readonly acceptFrames: FramesAcceptor;
  /** Everything that does not begin so. Its first bytes are still to be read, too. */
  readonly acceptOther: (socket: Socket) => void;
}

/**
 * One port for frames (of other hosts and of clients) and for gRPC. The first bytes of a connection say whose it is; all speak first. One that says
 * too little within handshakeTimeoutMs is closed, and past unknownConnectionsMax of them the oldest is.
 */
export class PortListener {
  private readonly options: PortListenerOptions;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  /** Those that have not said enough, the oldest first. */
  private readonly unknown = new Set<Socket>();

  constructor(options: PortListenerOptions) {
    this.options = options;
    this.server = createServer({ noDelay: true }, (socket) => this.accept(socket));
  }

  /** Resolves with the port. @throws Error of node:net, with its code */
  listen({ host, port }: HostPort): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ host, port }, () => {
        this.server.off('error', reject);
        resolve((this.server.address() as AddressInfo).port);
      });
    });
  }

  /** Accepts no more, and closes the connections that nobody has taken over. Resolves once all others are closed. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.unknown) socket.destroy();
    await closed;
  }

  /** Destroys the connections, whoever has them. */
  destroySockets(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private accept(socket: Socket): void {
    this.sockets.add(socket);
    this.unknown.add(socket);
    const [oldest] = this.unknown;
    if (this.unknown.size > unknownConnectionsMax) oldest?.destroy();
    const timer = this.options.runtime.after(handshakeTimeoutMs, () => socket.destroy());
    const forget = (): void => {
      timer.cancel();
      this.unknown.delete(socket);
    };
    let begun: Buffer = Buffer.alloc(0);
    const handleData = (chunk: Buffer): void => {
      begun = begun.length === 0 ? chunk : Buffer.concat([begun, chunk]);
      const who = recognize(begun);
      if (who === 'undecided') return;
      forget();
      socket.off('data', handleData);
      socket.off('end', handleEnd);
      socket.off('error', handleError);
      socket.pause();
      socket.unshift(begun);
      if (who === 'frames') this.options.acceptFrames(socket, begun.subarray(0, preambleBytes));
      else this.options.acceptOther(socket);
    };
    const handleEnd = (): void => void socket.destroy();
    // What matters is in 'close', which follows.
    const handleError = (): void => undefined;
    socket.on('data', handleData);
    socket.on('end', handleEnd);
    socket.on('error', handleError);
    socket.once('close', () => {
      this.sockets.delete(socket);
      forget();
    });
  }
}
