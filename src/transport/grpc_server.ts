import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ChannelOptions,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation, protoPath as healthProtoPath } from 'grpc-health-check';
import { frameBytesMax } from '../base/limits.js';
import { nodeRuntime } from '../base/node_runtime.js';
import type { Runtime } from '../base/runtime.js';
import { concurrentStreamsMax, serverCloseGraceMs, serverKeepaliveTimeMs, serverKeepaliveTimeoutMs } from './limits.js';
import { parseHostPort } from './host_port.js';
import { widenWindows } from './http2_windows.js';
import { packageRoot } from './package_root.js';
import { type FramesAcceptor, PortListener } from './port_listener.js';

/** A service with its handlers. */
export interface GrpcService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

export interface GrpcServerOptions {
  /** host:port; port 0 takes a free one. */
  readonly address: string;
  readonly services: readonly GrpcService[];
  /** Full names of the services, for health and reflection: `skerry.v1.Kv`. */
  readonly serviceNames: readonly string[];
  /** Takes the connections of other hosts, at the same port. Default: they are closed. */
  readonly acceptFrames?: FramesAcceptor;
  /** Default: the process's own clock. */
  readonly runtime?: Runtime;
  /** Milliseconds that close() leaves to calls in progress. */
  readonly closeGraceMs?: number;
}

export interface GrpcServer {
  readonly port: number;
  readonly server: Server;
  /** What the health service says of the server ('') and of each of its services. Serving at first. */
  setServing(serving: boolean): void;
  /** Idempotent. Refuses new calls at once, and cuts the ones in progress when the grace is over. */
  close(): Promise<void>;
}

/** The server could not listen. */
export class BindError extends Error {
  override readonly name: string = 'BindError';
  readonly address: string;

  constructor(address: string, message: string) {
    super(message);
    this.address = address;
  }
}

/** Another process listens at the address. */
export class AddressInUseError extends BindError {
  override readonly name = 'AddressInUseError';

  constructor(address: string) {
    super(
      address,
      `address ${address} is in use by another process: stop that process, or configure another address (port 0 takes a free one)`,
    );
  }
}

const serverOptions: ChannelOptions = {
  'grpc.max_receive_message_length': frameBytesMax,
  'grpc.max_send_message_length': frameBytesMax,
  'grpc.keepalive_time_ms': serverKeepaliveTimeMs,
  'grpc.keepalive_timeout_ms': serverKeepaliveTimeoutMs,
  'grpc.max_concurrent_streams': concurrentStreamsMax,
  'grpc.enable_channelz': 0,
};

/**
 * Starts a gRPC server with the services given and, from their official packages, health and reflection. Its port is also that
 * of the transport between hosts, if there is one: connections are told apart by their first bytes.
 * @throws AddressInUseError, BindError
 */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const runtime = options.runtime ?? nodeRuntime();
  const server = new Server(serverOptions);
  for (const { definition, implementation } of options.services) server.addService(definition, implementation);
  const health = new HealthImplementation();
  const setServing = (serving: boolean): void => {
    for (const name of ['', ...options.serviceNames]) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
  };
  setServing(true);
  health.addToServer(server);
  reflection(options.serviceNames).addToServer(server);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  widenWindows(server);
  const listener = new PortListener({
    runtime,
    acceptFrames: options.acceptFrames ?? ((socket): void => void socket.destroy()),
    acceptOther: (socket) => injector.injectConnection(socket),
  });
  const port = await listen(listener, options.address);
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    setServing(false);
    closing ??= shutDown(server, listener, runtime, options.closeGraceMs ?? serverCloseGraceMs);
    return closing;
  };
  return { port, server, setServing, close };
}

let descriptors: PackageDefinition | null = null;

/** Reflection needs descriptors, which the generated code does not carry: they are read from the .proto files, once. */
function reflection(serviceNames: readonly string[]): ReflectionService {
  descriptors ??= loadDescriptors();
  return new ReflectionService(descriptors, { services: [...serviceNames, 'grpc.health.v1.Health'] });
}

function loadDescriptors(): PackageDefinition {
  const protoFolder = join(packageRoot(), 'proto');
  const files = readdirSync(join(protoFolder, 'skerry', 'v1')).filter((name) => name.endsWith('.proto'));
  return loadSync([...files.map((name) => `skerry/v1/${name}`), healthProtoPath], { includeDirs: [protoFolder] });
}

async function listen(listener: PortListener, address: string): Promise<number> {
  const target = parseHostPort(address);
  if (target === null) throw new BindError(address, `cannot listen at ${address}: it is not host:port`);
  try {
    return await listener.listen(target);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if ('code' in error && error.code === 'EADDRINUSE') throw new AddressInUseError(address);
    throw new BindError(address, `cannot listen at ${address}: ${error.message}`);
  }
}

/** Clients may finish their calls; connections of hosts are their transport's to close, until the grace is over. */
async function shutDown(server: Server, listener: PortListener, runtime: Runtime, graceMs: number): Promise<void> {
  const timer = runtime.after(graceMs, () => {
    server.forceShutdown();
    listener.destroySockets();
  });
  const closed = listener.close();
  await new Promise<void>((resolve, reject) => {
    server.tryShutdown((error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
  });
  await closed;
  timer.cancel();
}
