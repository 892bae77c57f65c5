import type { Runtime } from '../base/runtime.js';
import { dial } from './dial.js';
import { decodePreamble, FramingError, type StreamKind } from './frame_format.js';
import type { Connection, Connector } from './frame_stream.js';
import type { FramesAcceptor } from './port_listener.js';
import { StreamTransport, type StreamTransportOptions } from './stream_transport.js';
import { clientPace, hostPace, TcpStream } from './tcp_stream.js';

/**
 * One TCP connection for each stream: the envelopes of a pair have one for as long as it lasts, and a snapshot has its own, so that its
 * bytes never stand in front of an envelope.
 */
function tcpConnector(runtime: Runtime): Connector {
  return {
    connect(_hostId, address): Connection {
      const streams = new Set<TcpStream>();
      const open = (kind: StreamKind): TcpStream => {
        const socket = dial(address);
        const stream = new TcpStream(socket, kind, runtime);
        streams.add(stream);
        socket.once('close', () => streams.delete(stream));
        return stream;
      };
      return {
        openExchange: () => open('exchange'),
        openSnapshot: () => open('snapshot'),
        close: () => {
          for (const stream of streams) stream.cut('the connection was closed');
        },
      };
    },
  };
}

/** Takes a stream over which a client will send operations. */
export type ClientAcceptor = (stream: TcpStream) => void;

/** The Transport of real processes: frames over TCP, accepted at the port that the host shares with its gRPC services. */
export class TcpTransport extends StreamTransport {
  constructor(options: StreamTransportOptions) {
    super(options, tcpConnector(options.runtime));
  }

  /** For the server that this host shares between all that listens. Without `acceptClient` clients are refused. */
  acceptor(acceptClient?: ClientAcceptor): FramesAcceptor {
    return (socket, preamble) => {
      const kind = kindOf(preamble);
      // The stream itself finds fault with what it can not read, and answers as of which version it would.
      const stream = new TcpStream(socket, kind ?? 'exchange', this.runtime, kind === 'client' ? clientPace : hostPace);
      if (kind === 'exchange') this.acceptExchange(stream);
      else if (kind === 'snapshot') this.acceptSnapshot(stream);
      else if (kind === 'client' && acceptClient !== undefined) acceptClient(stream);
      else if (kind === 'client') stream.destroy('operations of clients are not served here');
    };
  }
}

/** Null: a version or kind that this host does not know. */
function kindOf(preamble: Buffer): StreamKind | null {
  try {
    return decodePreamble(preamble);
  } catch (error) {
    if (error instanceof FramingError) return null;
    throw error;
  }
}
