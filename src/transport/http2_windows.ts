import type { Server } from '@grpc/grpc-js';
import type { ServerHttp2Session } from 'node:http2';
import { flowControlWindowBytes } from './limits.js';

/**
 * Widens what a gRPC server receives, for which grpc-js has no option: `grpc-node.flow_control_window` is for the dialling
 * side only, and a server keeps HTTP/2's 64 KiB, so that a large frame of a client waits for credit in its middle. The HTTP/2 servers
 * are not part of grpc-js's interface, so this looks for them with care; should a later version hide them, servers
 * work, but slower. To be called once the server has its connection injector. False: nothing was found.
 */
export function widenWindows(server: Server): boolean {
  const inner: unknown = Reflect.get(server, 'http2Servers');
  if (!(inner instanceof Map) || inner.size === 0) return false;
  for (const http2Server of inner.keys() as Iterable<unknown>) {
    if (!isHttp2Server(http2Server)) return false;
    http2Server.on('session', widenSession);
  }
  return true;
}

interface Http2ServerEvents {
  on(event: 'session', listener: (session: ServerHttp2Session) => void): unknown;
}

function isHttp2Server(value: unknown): value is Http2ServerEvents {
  return typeof value === 'object' && value !== null && 'on' in value && typeof value.on === 'function';
}

function widenSession(session: ServerHttp2Session): void {
  session.settings({ initialWindowSize: flowControlWindowBytes });
  session.setLocalWindowSize(flowControlWindowBytes);
}
