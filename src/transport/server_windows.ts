import type { Server } from '@grpc/grpc-js';
import type { ServerHttp2Session } from 'node:http2';
import { flowControlWindowBytes } from './limits.js';

/**
 * Flow control windows of the accepting side. grpc-js has an option for the dialing side only
 * (`grpc-node.flow_control_window`); a server keeps HTTP/2's 64 KiB, so that a frame of a busy turn would wait for
 * credit in the middle. The HTTP/2 servers inside are not part of grpc-js's interface, so this looks for them with
 * care and reports whether it found them; without them everything works, slower.
 */
export function widenServerWindows(server: Server): boolean {
  const inner: unknown = Reflect.get(server, 'http2Servers');
  if (!(inner instanceof Map) || inner.size === 0) return false;
  for (const http2Server of inner.keys() as Iterable<unknown>) {
    if (!isSessionSource(http2Server)) return false;
    http2Server.on('session', widenSession);
  }
  return true;
}

interface SessionSource {
  on(event: 'session', listener: (session: ServerHttp2Session) => void): unknown;
}

function isSessionSource(value: unknown): value is SessionSource {
  return typeof value === 'object' && value !== null && 'on' in value && typeof value.on === 'function';
}

function widenSession(session: ServerHttp2Session): void {
  session.settings({ initialWindowSize: flowControlWindowBytes });
  session.setLocalWindowSize(flowControlWindowBytes);
}
