import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { must } from '../../src/base/assert.js';
import { silentLogger } from '../../src/base/logger.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import type { Engine } from '../../src/engine/engine.js';
import { openRocksdbEngine } from '../../src/engine/rocksdb_engine.js';
import { ReplicaRole, Shard } from '../../src/gen/skerry/v1/meta.js';
import type { StagedSnapshot } from '../../src/multiraft/host.js';
import { StagedFileWriter } from '../../src/multiraft/staging.js';
import { NodeDisk } from '../../src/raftlog/node_disk.js';
import { type GrpcServer, type GrpcService, startGrpcServer } from '../../src/transport/grpc_server.js';
import { TcpTransport } from '../../src/transport/tcp_transport.js';
import type { SnapshotHeadInfo, SnapshotSink, TransportHandlers } from '../../src/transport/transport.js';
import { installShardSnapshot, stagedFileName } from '../../store/snapshot_install.js';

export const senderId = 1;
export const receiverId = 2;
export const rawPath = '/skerry.bench.Raw/Stream';
/** No rate limit worth the name. */
export const unlimitedBytesPerSecond = 1e12;

export function benchShard(): Shard {
  return {
    ...Shard.create(),
    shardId: 1,
    keyspaceId: 1,
    epoch: { confVer: 1, version: 1 },
    replicas: [senderId, receiverId].map((storeId) => ({ replicaId: 10 + storeId, storeId, role: ReplicaRole.VOTER })),
  };
}

export function newTransport(hostId: number): TcpTransport {
  return new TcpTransport({
    hostId,
    clusterId: 1,
    incarnation: 1,
    runtime: nodeRuntime(),
    logger: silentLogger,
    snapshotBytesPerSecond: unlimitedBytesPerSecond,
  });
}

const nothing = (): void => undefined;

/** Handlers of a host that only moves snapshots. */
export function handlers(snapshot: TransportHandlers['snapshot'], peerUp: () => void = nothing): TransportHandlers {
  return {
    peerUp,
    peerDown: nothing,
    message: nothing,
    beat: nothing,
    forward: nothing,
    forwardResponse: nothing,
    gone: nothing,
    snapshot,
  };
}

function fail(error: Error): never {
  throw error;
}

export function openEngine(path: string): Promise<Engine> {
  return openRocksdbEngine({ path, onFatal: fail });
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** Takes everything that comes and says so at the end. */
const rawService: GrpcService = {
  definition: {
    stream: {
      path: rawPath,
      requestStream: true,
      responseStream: true,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
  },
  implementation: {
    stream: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', nothing);
      call.on('end', () => call.end());
    },
  },
};

/** The receiving side: stages what comes as a store does, and installs it. */
export class ListeningServer {
  stagedMs = 0;
  installMs = 0;
  private readonly path: string;
  private readonly server: GrpcServer;
  private readonly transport: TcpTransport;
  private engine: Engine | null = null;
  private installation: Promise<void> | null = null;
  private count = 0;

  private constructor(path: string, server: GrpcServer, transport: TcpTransport) {
    this.path = path;
    this.server = server;
    this.transport = transport;
  }

  static async start(path: string): Promise<ListeningServer> {
    mkdirSync(path, { recursive: true });
    const transport = newTransport(receiverId);
    const server = await startGrpcServer({
      address: '127.0.0.1:0',
      services: [rawService],
      serviceNames: [],
      acceptFrames: transport.acceptor(),
    });
    const listening = new ListeningServer(path, server, transport);
    await transport.start(handlers((_from, head) => listening.sink(head)));
    return listening;
  }

  get address(): string {
    return `127.0.0.1:${this.server.port}`;
  }

  /** A new, empty engine for the next snapshot. */
  async emptyEngine(): Promise<void> {
    await this.engine?.close();
    rmSync(join(this.path, 'engine'), { recursive: true, force: true });
    this.engine = await openEngine(join(this.path, 'engine'));
  }

  /** Once the snapshot that was staged last is installed. */
  installed(): Promise<void> {
    return must(this.installation, 'a snapshot that came');
  }

  async close(): Promise<void> {
    await this.transport.close();
    await this.server.close();
    await this.engine?.close();
  }

  private async sink(head: SnapshotHeadInfo): Promise<SnapshotSink> {
    const startMs = performance.now();
    const disk = new NodeDisk();
    const meta = must(head.message.snapshot, 'a position');
    const { groupId, descriptor, formatVersion } = head;
    const header = { groupId, replicaId: head.message.to, meta, descriptor, formatVersion };
    const writer = await StagedFileWriter.create(disk, this.path, `${String(this.count++)}.staged`, header);
    return {
      write: (chunk, crc32) => writer.write(chunk, crc32),
      abort: () => writer.abort(),
      finish: async () => {
        const staged = await writer.finish();
        this.stagedMs = performance.now() - startMs;
        this.installation = this.install(head, staged);
      },
    };
  }

  private async install(head: SnapshotHeadInfo, staged: StagedSnapshot): Promise<void> {
    const startMs = performance.now();
    const meta = must(head.message.snapshot, 'a position');
    const installation = {
      replicaId: head.message.to,
      shard: Shard.decode(head.descriptor),
      appliedIndex: meta.index,
      appliedTerm: meta.term,
      stagedFile: stagedFileName(staged),
      previous: null,
      taken: [],
    };
    await installShardSnapshot(must(this.engine, 'an engine'), installation, staged.read());
    this.installMs = performance.now() - startMs;
    await new NodeDisk().unlink(staged.path);
  }
}
