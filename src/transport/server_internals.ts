import type { Server } from '@grpc/grpc-js';
import type { ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { flowControlWindowBytes } from './limits.js';

/**
 * Two things that grpc-js's server has no option for. Its HTTP/2 servers are not part of its interface, so this looks
 * for them with care; should a later version hide them, servers work, but slower and with a less prompt close.
 *
 * Windows: `grpc-node.flow_control_window` widens what the dialling side receives. A server keeps HTTP/2's 64 KiB, so
 * that a frame of a busy turn would wait for credit in its middle.
 *
 * Sockets: a forced shutdown still waits for the other side's FIN, which a stopped process never sends.
 */
export class ServerInternals {
  private readonly sockets = new Set<Socket>();

  /** To be called once the server is bound. False: nothing was found to tune. */
  attach(server: Server): boolean {
    const inner: unknown = Reflect.get(server, 'http2Servers');
    if (!(inner instanceof Map) || inner.size === 0) return false;
    for (const http2Server of inner.keys() as Iterable<unknown>) {
      if (!isHttp2Server(http2Server)) return false;
      http2Server.on('session', widenSession);
      http2Server.on('connection', (socket) => {
        this.sockets.add(socket);
        socket.once('close', () => this.sockets.delete(socket));
      });
    }
    return true;
  }

  destroySockets(): void {
    for (const socket of this.sockets) socket.destroy();
  }
}

interface Http2ServerEvents {
  on(event: 'session', listener: (session: ServerHttp2Session) => void): unknown;
  on(event: 'connection', listener: (socket: Socket) => void): unknown;
}

function isHttp2Server(value: unknown): value is Http2ServerEvents {
  return typeof value === 'object' && value !== null && 'on' in value && typeof value.on === 'function';
}

function widenSession(session: ServerHttp2Session): void {
  session.settings({ initialWindowSize: flowControlWindowBytes });
  session.setLocalWindowSize(flowControlWindowBytes);
}
