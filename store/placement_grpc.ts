import type { ClientOptions, ServiceError } from '@grpc/grpc-js';
import { credentials, Metadata } from '@grpc/grpc-js';
import { frameBytesMax } from '../src/base/limits.js';
import type { Runtime } from '../src/base/runtime.js';
import type { StoreSessionResponse } from '../src/gen/skerry/v1/placement.js';
import { PlacementClient } from '../src/gen/skerry/v1/placement.js';
import type { PlacementConnector, SessionHandlers, SessionLine } from './placement_connector.js';

const channelOptions: ClientOptions = {
  'grpc.max_receive_message_length': frameBytesMax,
  'grpc.max_send_message_length': frameBytesMax,
  // A call that may have been carried out is repeated by us, knowingly, or not at all.
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  // A stopped member is noticed by its silence only.
  'grpc.keepalive_time_ms': 1_000,
  'grpc.keepalive_timeout_ms': 1_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
};

/** Placement members over gRPC, one channel per address. */
export class GrpcPlacementConnector implements PlacementConnector {
  private readonly clients = new Map<string, PlacementClient>();
  private readonly runtime: Pick<Runtime, 'wallMs'>;

  constructor(runtime: Pick<Runtime, 'wallMs'>) {
    this.runtime = runtime;
  }

  bootstrap: PlacementConnector['bootstrap'] = (address, timeoutMs) =>
    call((done) => this.client(address).bootstrap({}, new Metadata(), this.options(timeoutMs), done));

  registerStore: PlacementConnector['registerStore'] = (address, request, timeoutMs) =>
    call((done) => this.client(address).registerStore(request, new Metadata(), this.options(timeoutMs), done));

  getShardById: PlacementConnector['getShardById'] = (address, request, timeoutMs) =>
    call((done) => this.client(address).getShardById(request, new Metadata(), this.options(timeoutMs), done));

  openSession(address: string, handlers: SessionHandlers): SessionLine {
    const stream = this.client(address).storeSession();
    let open = true;
    const closed = (reason: string): void => {
      if (!open) return;
      open = false;
      handlers.closed(reason);
    };
    stream.on('data', (response: StoreSessionResponse) => handlers.frame(response));
    stream.on('error', (error: Error) => closed(error.message));
    stream.on('end', () => closed('the member ended the session'));
    return {
      send: (request) => {
        if (open) stream.write(request);
      },
      close: () => {
        stream.cancel();
        closed('closed');
      },
    };
  }

  close(): void {
    for (const client of this.clients.values()) client.close();
    this.clients.clear();
  }

  private options(timeoutMs: number): { deadline: number } {
    return { deadline: this.runtime.wallMs() + timeoutMs };
  }

  private client(address: string): PlacementClient {
    let client = this.clients.get(address);
    if (client === undefined) {
      client = new PlacementClient(address, credentials.createInsecure(), channelOptions);
      this.clients.set(address, client);
    }
    return client;
  }
}

function call<T>(start: (done: (error: ServiceError | null, response: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    start((error, response) => (error === null ? resolve(response) : reject(error))),
  );
}
