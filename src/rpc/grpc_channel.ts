import type { ClientDuplexStream, ClientOptions, ClientReadableStream, ServiceError } from '@grpc/grpc-js';
import { Client, connectivityState, credentials, Metadata, status } from '@grpc/grpc-js';
import { frameBytesMax } from '../base/limits.js';
import type { Runtime } from '../base/runtime.js';
import type { Dial, Headers, RpcChannel, RpcMethod, RpcStream, StreamHandlers, UnaryOptions } from './channel.js';
import { RpcError } from './channel.js';

/** Channel options, with the reason for each. */
const channelOptions: ClientOptions = {
  'grpc.max_receive_message_length': frameBytesMax,
  'grpc.max_send_message_length': frameBytesMax,
  // Retries are the caller's business: a transparent one would hide that an attempt was written.
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  // Servers are reached directly, whatever proxy the environment names for the web.
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  // Without keepalive a stopped or cut off server is never noticed.
  'grpc.keepalive_time_ms': 1_000,
  'grpc.keepalive_timeout_ms': 1_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  // Answers are bulk: room for many frames before the sender must wait for us.
  'grpc-node.flow_control_window': 4 * 1024 * 1024,
};

/** Lines over gRPC. */
export function dialGrpc(runtime: Pick<Runtime, 'wallMs'>): Dial {
  return (address) => new GrpcChannel(address, runtime);
}

type AnyStream<Reply> = ClientReadableStream<Reply> | ClientDuplexStream<never, Reply>;

class GrpcChannel implements RpcChannel {
  private readonly client: Client;
  private readonly runtime: Pick<Runtime, 'wallMs'>;

  constructor(address: string, runtime: Pick<Runtime, 'wallMs'>) {
    this.client = new Client(address, credentials.createInsecure(), channelOptions);
    this.runtime = runtime;
  }

  connected(timeoutMs: number): Promise<string | null> {
    const channel = this.client.getChannel();
    const deadline = this.runtime.wallMs() + timeoutMs;
    return new Promise((resolve) => {
      const look = (connect: boolean): void => {
        const state = channel.getConnectivityState(connect);
        if (state === connectivityState.READY) resolve(null);
        else if (state === connectivityState.SHUTDOWN) resolve('the channel was closed');
        else if (state === connectivityState.TRANSIENT_FAILURE) resolve(`no connection to ${channel.getTarget()}`);
        else {
          channel.watchConnectivityState(state, deadline, (error) => {
            if (error === undefined) look(true);
            else resolve(`no connection to ${channel.getTarget()} within ${timeoutMs} ms`);
          });
        }
      };
      look(true);
    });
  }

  unary<Request, Reply>(method: RpcMethod<Request, Reply>, request: Request, options: UnaryOptions): Promise<Reply> {
    const { path, requestSerialize, responseDeserialize } = method;
    const deadline = this.runtime.wallMs() + options.timeoutMs;
    return new Promise((resolve, reject) => {
      const done = (error: ServiceError | null, reply?: Reply): void => {
        if (error !== null) reject(rpcErrorOf(error));
        else if (reply === undefined) reject(new RpcError('failed', 'an empty reply'));
        else resolve(reply);
      };
      const metadata = metadataOf(options.headers);
      this.client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, metadata, { deadline }, done);
    });
  }

  serverStream<Request, Reply>(
    method: RpcMethod<Request, Reply>,
    request: Request,
    handlers: StreamHandlers<Reply>,
    headers?: Headers,
  ): RpcStream<never> {
    const { path, requestSerialize, responseDeserialize } = method;
    const metadata = metadataOf(headers);
    const stream = this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, metadata);
    const cancel = follow(stream, handlers);
    return { write: () => true, cancel };
  }

  duplex<Request, Reply>(method: RpcMethod<Request, Reply>, handlers: StreamHandlers<Reply>): RpcStream<Request> {
    const { path, requestSerialize, responseDeserialize } = method;
    const stream = this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    const cancel = follow<Reply>(stream, handlers);
    stream.on('drain', () => handlers.drained?.());
    return { write: (request) => stream.write(request), cancel };
  }

  close(): void {
    this.client.close();
  }
}

/** 'error' comes for every end but a clean one; 'end' then does not. Both mean: over. */
function follow<Reply>(stream: AnyStream<Reply>, handlers: StreamHandlers<Reply>): () => void {
  let open = true;
  const closed = (reason: string): void => {
    if (!open) return;
    open = false;
    handlers.closed(reason);
  };
  stream.on('data', (reply: Reply) => {
    if (open) handlers.frame(reply);
  });
  stream.on('error', (error: Error) => closed(error.message));
  stream.on('end', () => closed('the other side ended the stream'));
  return () => {
    open = false;
    stream.cancel();
  };
}

function metadataOf(headers: Headers | undefined): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers ?? {})) metadata.set(name, value);
  return metadata;
}

function rpcErrorOf(error: ServiceError): RpcError {
  const message = `${status[error.code]}: ${error.details}`;
  if (error.code === status.DEADLINE_EXCEEDED) return new RpcError('deadline', message);
  return new RpcError(error.code === status.UNIMPLEMENTED ? 'unimplemented' : 'failed', message);
}
