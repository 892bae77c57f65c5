import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../src/base/logger.js';
import { nodeRuntime } from '../src/base/node_runtime.js';
import type { Runtime } from '../src/base/runtime.js';
import type { TypedError } from '../src/base/wire_errors.js';
import type { Engine } from '../src/engine/engine.js';
import type { RegisterStoreResponse } from '../src/gen/skerry/v1/placement.js';
import { NodeDisk } from '../src/raftlog/node_disk.js';
import type { RaftLog } from '../src/raftlog/raft_log.js';
import { openRaftLog } from '../src/raftlog/segmented_log.js';
import { dialGrpc } from '../src/rpc/grpc_channel.js';
import type { GrpcServer, GrpcService } from '../src/transport/grpc_server.js';
import { AddressInUseError, startGrpcServer } from '../src/transport/grpc_server.js';
import type { FramesAcceptor } from '../src/transport/port_listener.js';
import { TcpTransport } from '../src/transport/tcp_transport.js';
import { ClientStreams } from './client_streams.js';
import { DataDirectory, DataDirectoryError } from './data_directory.js';
import { kvGrpcService } from './kv_grpc.js';
import { bindAttemptsMax, placementCallTimeoutMs } from './limits.js';
import type { MetricsServer } from './metrics.js';
import { startMetricsServer, storeMetrics } from './metrics.js';
import { RpcPlacementConnector } from './placement_rpc.js';
import { PlacementMembers, PlacementRefusal } from './placement_members.js';
import { Store } from './store.js';
import { openEngine } from './open_engine.js';
import type { StoreConfig } from './store_config.js';

/** Version that a store reports of itself. */
export const storeVersion = '0.1.0';

export interface StoreServerOptions {
  readonly config: StoreConfig;
  readonly logger: Logger;
  readonly runtime?: Runtime;
  /** Called once when the store has failed: nothing is acknowledged any more, and the process must end. */
  readonly fatal: (error: Error) => void;
}

/**
 * The store as a process sees it. Starting is crash-only: there is one way in, and it is the recovery.
 *
 *     data directory ─▶ identity (registered, the first time) ─▶ engine ─▶ Raft log ─▶ replicas ─▶ listen ─▶ peers ─▶ placement
 */
export class StoreServer {
  private readonly options: StoreServerOptions;
  private readonly runtime: Runtime;
  private readonly connector: RpcPlacementConnector;
  private readonly members: PlacementMembers;
  private directory: DataDirectory | null = null;
  private engine: Engine | null = null;
  private raftLog: RaftLog | null = null;
  private grpc: GrpcServer | null = null;
  private clients: ClientStreams | null = null;
  private metrics: MetricsServer | null = null;
  private running: Store | null = null;
  private advertised = '';
  private stopping = false;
  private closing: Promise<void> | null = null;

  constructor(options: StoreServerOptions) {
    this.options = options;
    this.runtime = options.runtime ?? nodeRuntime();
    this.connector = new RpcPlacementConnector(dialGrpc(this.runtime));
    this.members = new PlacementMembers(options.config.placement, this.runtime);
  }

  /** host:port that others dial. */
  get address(): string {
    return this.advertised;
  }

  get metricsAddress(): string {
    return this.metrics?.address ?? '';
  }

  get storeId(): number {
    return this.directory?.identity.storeId ?? 0;
  }

  get clusterId(): number {
    return this.directory?.identity.clusterId ?? 0;
  }

  /** The running store; null before start() and after close(). For tests and status. */
  get store(): Store | null {
    return this.running;
  }

  /**
   * Resolves when the store serves. Waits for placement as long as it takes the first time; a store that knows who it is
   * starts without it.
   * @throws DataDirectoryError, BindError, PlacementRefusal, EngineError
   */
  async start(): Promise<void> {
    try {
      await this.startAll();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Stops in order; idempotent. */
  close(): Promise<void> {
    this.stopping = true;
    return (this.closing ??= this.closeAll());
  }

  private async startAll(): Promise<void> {
    const { config, logger } = this.options;
    const directory = (this.directory = DataDirectory.open(config.dataDir));
    const listenAddress = await choosePort(config.address);
    this.advertised = advertisedAddress(config, listenAddress);
    if (directory.identity.storeId === 0) await this.register(directory);
    const { clusterId, storeId, incarnation } = directory.identity;
    const { runtime } = this;
    const disk = new NodeDisk();
    await disk.makeDirectory(directory.stagingPath);
    const onFatal = (error: Error): void => this.options.fatal(error);
    this.engine = await openEngine(config.engine, directory.enginePath, logger, onFatal);
    const { segmentBytes, cacheBytes } = config.raft;
    const logOptions = { disk, directory: directory.raftLogPath, runtime, logger, segmentBytes, onFatal };
    this.raftLog = await openRaftLog({ ...logOptions, cacheBytesMax: cacheBytes });
    const { snapshotBytesPerSecond } = config;
    const self = { hostId: storeId, clusterId, incarnation };
    const transport = new TcpTransport({ ...self, runtime, logger, snapshotBytesPerSecond });
    const { tickMs, heartbeatTicks, electionTicks, leases, hibernateAfterTicks, diskStallMs } = config.raft;
    const raft = { tickMs, heartbeatTicks, electionTicks, leases, hibernateAfterTicks };
    const store = (this.running = await Store.open({
      clusterId,
      storeId,
      incarnation,
      runtime,
      logger,
      disk,
      engine: this.engine,
      raftLog: this.raftLog,
      transport,
      connector: this.connector,
      members: this.members,
      dataDirectory: directory.path,
      stagingDirectory: directory.stagingPath,
      reportIntervalMs: config.reportIntervalMs,
      capacityBytes: config.capacityBytes,
      diskReserveBytes: config.diskReserveBytes,
      raft: diskStallMs === undefined ? raft : { ...raft, diskStallMs },
      fatal: onFatal,
    }));
    const clients = (this.clients = new ClientStreams(store.kv, runtime));
    const acceptFrames = transport.acceptor((stream) => clients.accept(stream));
    this.grpc = await this.listen(listenAddress, [kvGrpcService(store.kv, runtime)], acceptFrames);
    this.metrics = await startMetricsServer(
      config.metricsAddress,
      storeMetrics({ store, raftLog: this.raftLog, transport }),
    );
    await store.start();
    this.announce(directory);
    logger.info({ storeId, clusterId, address: this.advertised, replicas: store.multi.groupCount }, 'store is serving');
  }

  /** Listens; a free port that was chosen and then taken by another process is chosen anew. */
  private async listen(
    address: string,
    services: readonly GrpcService[],
    acceptFrames: FramesAcceptor,
  ): Promise<GrpcServer> {
    const { config } = this.options;
    const serviceNames = ['skerry.v1.Kv'];
    for (let attempt = 1; ; attempt++) {
      try {
        return await startGrpcServer({ address, services, serviceNames, acceptFrames, runtime: this.runtime });
      } catch (error) {
        const chosen = address !== config.address;
        if (!(error instanceof AddressInUseError) || !chosen || attempt === bindAttemptsMax) throw error;
        address = await choosePort(config.address);
        this.advertised = advertisedAddress(config, address);
      }
    }
  }

  /** The first start: the cluster's id and this store's. */
  private async register(directory: DataDirectory): Promise<void> {
    const { clusterId } = await this.ask((address) => this.connector.bootstrap(address, placementCallTimeoutMs));
    const { storeId } = await this.registerStore(directory, clusterId);
    directory.update({ clusterId, storeId });
    this.options.logger.info({ clusterId, storeId }, 'registered with the cluster');
  }

  /** A known store tells its present address, in the background: it serves what it has without an answer. */
  private announce(directory: DataDirectory): void {
    const { logger, fatal } = this.options;
    const { clusterId } = directory.identity;
    this.registerStore(directory, clusterId).catch((error: unknown) => {
      if (this.stopping) return;
      if (error instanceof PlacementRefusal) {
        fatal(new DataDirectoryError(`placement refuses this store: ${error.message}`));
      } else {
        logger.error({ err: error }, 'cannot tell placement where this store is');
      }
    });
  }

  private registerStore(directory: DataDirectory, clusterId: number): Promise<RegisterStoreResponse> {
    const { config } = this.options;
    const labels = Object.entries(config.labels).map(([key, value]) => ({ key, value }));
    const { storeId, directoryId } = directory.identity;
    return this.ask((member) => {
      const address = this.advertised;
      const engine = config.engine.kind;
      const request = { clusterId, storeId, address, labels, version: storeVersion, engine, directoryId };
      return this.connector.registerStore(member, request, placementCallTimeoutMs);
    });
  }

  private ask<T extends { readonly error: TypedError | undefined }>(call: (address: string) => Promise<T>): Promise<T> {
    const { logger } = this.options;
    let told = false;
    return this.members.ask(call, (address, problem) => {
      if (this.stopping) throw new Error('the store is stopping');
      if (!told)
        logger.warn({ address, problem, members: this.members.list }, 'placement does not answer yet: asking again');
      told = true;
    });
  }

  private async closeAll(): Promise<void> {
    this.grpc?.setServing(false);
    const store = this.running;
    if (store !== null) await store.leave();
    if (store !== null) await store.close();
    else await this.raftLog?.close();
    this.clients?.close();
    await this.grpc?.close();
    await this.metrics?.close();
    this.connector.close();
    await this.engine?.close();
    this.directory?.close();
    this.directory = null;
    this.running = null;
  }
}

function advertisedAddress(config: StoreConfig, listenAddress: string): string {
  const { advertiseAddress } = config;
  if (advertiseAddress === undefined) return listenAddress;
  // An advertised port 0 means: the one that is listened at.
  return advertiseAddress.endsWith(':0')
    ? advertiseAddress.slice(0, -1) + listenAddress.slice(listenAddress.lastIndexOf(':') + 1)
    : advertiseAddress;
}

/** A free port in the place of port 0. The store must know its address before it is registered, and be registered before it listens. */
async function choosePort(address: string): Promise<string> {
  const colon = address.lastIndexOf(':');
  if (address.slice(colon + 1) !== '0') return address;
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(0, address.slice(0, colon).replace(/^\[|\]$/g, ''), resolve);
  });
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  return `${address.slice(0, colon)}:${port}`;
}
