import { silentLogger } from '../../src/base/logger.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import { TcpTransport } from '../../src/transport/tcp_transport.js';
import type { TransportHandlers } from '../../src/transport/transport.js';

export const senderId = 1;
export const answererId = 2;

export function newTransport(hostId: number): TcpTransport {
  return new TcpTransport({ hostId, clusterId: 1, incarnation: 1, runtime: nodeRuntime(), logger: silentLogger });
}

const nothing = (): void => undefined;

/** Handlers of a host to which nobody says anything. */
export const unheard: TransportHandlers = {
  peerUp: nothing,
  peerDown: nothing,
  message: nothing,
  beat: nothing,
  forward: nothing,
  forwardResponse: nothing,
  gone: nothing,
  snapshot: () => Promise.reject(new Error('no snapshots here')),
};
