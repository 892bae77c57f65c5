import { Client, credentials, type ChannelOptions, type ServerDuplexStream } from '@grpc/grpc-js';
import { frameBytesMax } from '../base/limits.js';
import { RaftTransportService } from '../gen/skerry/v1/raft.js';
import type { Connection, Connector } from './frame_stream.js';
import type { GrpcService } from './grpc_server.js';
import { GrpcClientStream, GrpcServerStream } from './grpc_stream.js';
import {
  flowControlWindowBytes,
  keepaliveTimeMs,
  keepaliveTimeoutMs,
  reconnectMaxMs,
  reconnectMinMs,
} from './limits.js';
import { TrackedCredentials } from './tracked_credentials.js';
import { StreamTransport, type StreamTransportOptions } from './stream_transport.js';

/** Full name of the service, for health and reflection. */
export const raftTransportServiceName = 'skerry.v1.RaftTransport';

const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': frameBytesMax,
  'grpc.max_send_message_length': frameBytesMax,
  'grpc.keepalive_time_ms': keepaliveTimeMs,
  'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': reconnectMinMs,
  'grpc.max_reconnect_backoff_ms': reconnectMaxMs,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // The dialling side only; the accepting side's is set in server_internals.ts.
  'grpc-node.flow_control_window': flowControlWindowBytes,
};

const asIs = (frame: Buffer): Buffer => frame;

/** One channel per attempt to connect, so that a new attempt never waits for the name, socket or back-off of an old one. */
const grpcConnector: Connector = {
  connect(_hostId, address): Connection {
    const tracked = new TrackedCredentials(credentials.createInsecure());
    const client = new Client(address, tracked, channelOptions);
    const streams = new Set<GrpcClientStream>();
    const open = (path: string): GrpcClientStream => {
      const call = client.makeBidiStreamRequest(path, asIs, asIs);
      const stream = new GrpcClientStream(call);
      streams.add(stream);
      call.once('status', () => streams.delete(stream));
      return stream;
    };
    return {
      openExchange: () => open(RaftTransportService.exchange.path),
      openSnapshot: () => open(RaftTransportService.snapshot.path),
      close: () => {
        // A closed channel lets its streams go on, and its socket with them.
        for (const stream of streams) stream.cancel();
        client.close();
        tracked.close();
      },
    };
  },
};

/** The Transport of real processes: grpc-js, with frames passed through as they are. */
export class GrpcTransport extends StreamTransport {
  /** For the server that this host shares between all its services. */
  readonly service: GrpcService;

  constructor(options: StreamTransportOptions) {
    super(options, grpcConnector);
    const raw = {
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    this.service = {
      definition: {
        exchange: { ...RaftTransportService.exchange, ...raw },
        snapshot: { ...RaftTransportService.snapshot, ...raw },
      },
      implementation: {
        exchange: (call: ServerDuplexStream<Buffer, Buffer>) => this.acceptExchange(new GrpcServerStream(call)),
        snapshot: (call: ServerDuplexStream<Buffer, Buffer>) => this.acceptSnapshot(new GrpcServerStream(call)),
      },
    };
  }
}
