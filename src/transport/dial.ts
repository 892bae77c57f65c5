import { connect, Socket } from 'node:net';
import { parseHostPort } from './host_port.js';

/** A socket on its way; one that fails at once if there is no way. */
export function dial(address: string): Socket {
  const target = parseHostPort(address);
  if (target !== null) return connect({ ...target, noDelay: true });
  return new Socket().destroy(new Error(`${address} is not host:port`));
}
