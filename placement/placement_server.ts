import { createHash } from 'node:crypto';
import { must } from '../src/base/assert.js';
import { ConfigError } from '../src/base/config_schema.js';
import type { Logger } from '../src/base/logger.js';
import { nodeRuntime } from '../src/base/node_runtime.js';
import type { Runtime } from '../src/base/runtime.js';
import type { Engine } from '../src/engine/engine.js';
import { openRocksdbEngine } from '../src/engine/rocksdb_engine.js';
import { AdminService } from '../src/gen/skerry/v1/admin.js';
import { MembersService } from '../src/gen/skerry/v1/members.js';
import { MetadataService } from '../src/gen/skerry/v1/metadata.js';
import { RecoverService } from '../src/gen/skerry/v1/recover.js';
import { PlacementService } from '../src/gen/skerry/v1/placement.js';
import { NodeDisk } from '../src/raftlog/node_disk.js';
import { openRaftLog } from '../src/raftlog/segmented_log.js';
import type { Dial } from '../src/rpc/channel.js';
import { dialGrpc } from '../src/rpc/grpc_channel.js';
import type { GrpcServer } from '../src/transport/grpc_server.js';
import { startGrpcServer } from '../src/transport/grpc_server.js';
import { TcpTransport } from '../src/transport/tcp_transport.js';
import { BalanceWindows } from './balance_windows.js';
import type { DataDirectory, Identity } from './data_directory.js';
import { DataDirectoryError, identityOf, prepareDataDirectory } from './data_directory.js';
import { findCluster } from './join_cluster.js';
import type { LeaderWorkSettings } from './leader_work.js';
import { engineCacheBytes, engineWriteBufferBytes } from './limits.js';
import type { MemberAddress } from './member_lines.js';
import { MemberLines } from './member_lines.js';
import type { MetricsServer } from './metrics.js';
import { placementRegistry, startMetricsServer } from './metrics.js';
import type { PlacementConfig } from './placement_config.js';
import { configProblems } from './placement_config.js';
import { PlacementMember } from './placement_member.js';
import { Schedules } from './schedules.js';
import { ScrubSchedule } from './scrub/scrub_schedule.js';
import { adminService } from './services/admin_service.js';
import { membersService } from './services/members_service.js';
import { recoverService } from './services/recover_service.js';
import { metadataService } from './services/metadata_service.js';
import { placementService } from './services/placement_service.js';

export interface PlacementServerOptions {
  readonly config: PlacementConfig;
  readonly logger: Logger;
  /** Disk or engine failed, or an invariant is broken: end the process. */
  readonly fatal: (error: Error) => void;
  /** This member was removed from the placement group: end the process. */
  readonly removed: () => void;
}

const serviceNames = [
  'skerry.v1.Placement',
  'skerry.v1.Admin',
  'skerry.v1.Members',
  'skerry.v1.Metadata',
  'skerry.v1.Recover',
];

/** A placement member as a process: data directory, engine, log, transport, gRPC and metrics around a PlacementMember. */
export class PlacementServer {
  private readonly options: PlacementServerOptions;
  private member: PlacementMember | null = null;
  private engine: Engine | null = null;
  private grpc: GrpcServer | null = null;
  private metrics: MetricsServer | null = null;
  private readonly runtime = nodeRuntime();
  private readonly dial: Dial;
  private readonly lines: MemberLines;
  private identity: Identity | null = null;
  private boundAddress = '';

  /** Throws ConfigError. */
  constructor(options: PlacementServerOptions) {
    const problems = configProblems(options.config);
    if (problems.length > 0) throw new ConfigError(problems);
    this.options = options;
    this.dial = dialGrpc(this.runtime);
    this.lines = new MemberLines(options.config.members, this.dial);
  }

  get memberId(): number {
    return this.identity?.memberId ?? this.options.config.memberId;
  }

  /** host:port that others reach this member at. */
  get address(): string {
    return this.boundAddress;
  }

  /** Empty: metrics are not served. */
  get metricsAddress(): string {
    return this.metrics?.address ?? '';
  }

  /** 0: not bootstrapped yet, or not known here yet. */
  get clusterId(): number {
    return this.member?.state.clusterId ?? 0;
  }

  get isLeading(): boolean {
    return this.member?.leading !== null && this.member !== null;
  }

  /**
   * Resolves when the server listens. A single member leads and is bootstrapped by then; one of several waits for
   * nobody. Rejects with DataDirectoryError, EngineError, RaftLogError, BindError; close() cleans up after it.
   */
  async start(): Promise<void> {
    const { config, logger, fatal } = this.options;
    const { runtime } = this;
    const { directory, identity, members } = await this.findPlace(config);
    const { memberId } = identity;
    const transportId = identity.transportId ?? transportClusterId(members);
    this.engine = await openRocksdbEngine({
      path: directory.enginePath,
      cacheBytes: engineCacheBytes,
      writeBufferBytes: engineWriteBufferBytes,
      onFatal: fatal,
    });
    const disk = new NodeDisk();
    const log = await openRaftLog({ disk, directory: directory.logPath, runtime, logger, onFatal: fatal });
    const transport = new TcpTransport({
      hostId: memberId,
      clusterId: transportId,
      // Grows from one start to the next, which is all that it is for.
      incarnation: runtime.wallMs(),
      runtime,
      logger,
    });
    const member = await PlacementMember.open({
      runtime,
      logger,
      memberId,
      members,
      transportId,
      joined: identity.joinedClusterId === undefined ? null : { clusterId: identity.joinedClusterId },
      settings: settingsOf(config, runtime),
      lines: this.lines,
      log,
      engine: this.engine,
      transport,
      disk,
      stagingDirectory: directory.stagingPath,
      raft: { tickMs: config.raft.tickMs, electionTicks: config.raft.electionTicks },
      fatal,
      removed: this.options.removed,
    });
    this.member = member;
    this.grpc = await startGrpcServer({
      address: config.address === '' ? ownAddress(config) : config.address,
      services: [
        { definition: PlacementService, implementation: placementService(member) },
        { definition: AdminService, implementation: adminService(member) },
        { definition: MembersService, implementation: membersService(member) },
        { definition: RecoverService, implementation: recoverService(member) },
        { definition: MetadataService, implementation: metadataService(member) },
      ],
      serviceNames,
      acceptFrames: transport.acceptor(),
      runtime,
    });
    this.boundAddress = advertised(config, this.grpc.port);
    member.setOwnAddress(this.boundAddress);
    if (config.metricsAddress !== '') {
      this.metrics = await startMetricsServer(config.metricsAddress, placementRegistry(member));
    }
    await member.start();
    const { voters } = member.groupStatus().confState;
    if (voters.length === 1 && voters[0] === memberId) await this.untilBootstrapped(member);
  }

  /** The directory, who this member is, and which others it knows of. A directory that says who it is counts most. */
  private async findPlace(
    config: PlacementConfig,
  ): Promise<{ directory: DataDirectory; identity: Identity; members: readonly MemberAddress[] }> {
    const found = await identityOf(config.dataDir);
    const place = config.join.length === 0 ? firstMember(config) : await this.joiningMember(config, found);
    const { memberId, origin, members } = place;
    const directory = await prepareDataDirectory(config.dataDir, memberId, origin);
    const identity = found ?? { kind: 'placement', format: 1, memberId, ...origin };
    this.identity = identity;
    return { directory, identity, members };
  }

  private async joiningMember(config: PlacementConfig, found: Identity | null): Promise<Place> {
    const cluster = await findCluster(this.dial, config.join, config.address, this.runtime);
    if (cluster === null) {
      // One that has joined already is known to the others, and finds them by what it has recorded.
      if (found !== null) return { memberId: found.memberId, origin: {}, members: [] };
      throw new DataDirectoryError(`no placement member with a cluster answers at ${config.join.join(', ')}`);
    }
    const { clusterId, transportId, members } = cluster;
    const another = found !== null && found.transportId !== undefined && found.transportId !== transportId;
    if (another || (found?.joinedClusterId !== undefined && found.joinedClusterId !== clusterId)) {
      const message = `${config.dataDir} belongs to another cluster than ${clusterId}, to which ${config.join.join(', ')} belong`;
      throw new DataDirectoryError(`${message}: give an empty directory`);
    }
    const memberId = found?.memberId ?? cluster.memberId;
    if (memberId === 0) {
      const cure = `run: skerry placement member add ${config.address}`;
      throw new DataDirectoryError(`no placement member was added at ${config.address} yet; ${cure}`);
    }
    return { memberId, origin: { transportId, joinedClusterId: clusterId }, members };
  }

  /** Idempotent. */
  async close(): Promise<void> {
    const { grpc, metrics, member, engine } = this;
    this.grpc = null;
    this.metrics = null;
    this.member = null;
    this.engine = null;
    grpc?.setServing(false);
    // Streams end first, so that the server has nothing to wait for.
    await member?.close();
    this.lines.close();
    await grpc?.close();
    await metrics?.close();
    await engine?.close();
  }

  private async untilBootstrapped(member: PlacementMember): Promise<void> {
    const ready = (): boolean => member.leading !== null && member.state.clusterId !== 0;
    // It elects itself; only a broken disk could keep it from that, and that is fatal.
    while (this.member === member && !ready()) await member.waiters.wait(ready, 1_000);
  }
}

function settingsOf(config: PlacementConfig, runtime: Runtime): LeaderWorkSettings {
  const windows = new BalanceWindows(config.balanceWindows);
  const schedule = new ScrubSchedule(config.scrub.schedule);
  const schedules = new Schedules(config.balanceWindows, config.scrub.schedule);
  return {
    times: { storeDisconnectMs: config.storeDisconnectMs, storeDownMs: config.storeDownMs },
    limits: config.limits,
    sizes: config.shards,
    patrolIntervalMs: config.patrolIntervalMs,
    scheduleIntervalMs: config.scheduleIntervalMs,
    balanceHindrance: () => {
      if (!config.balance) return { kind: 'switchedOff' };
      return windows.isOpen(runtime.wallMs()) ? null : { kind: 'windowClosed' };
    },
    schedules: (wallMs) => schedules.list(wallMs),
    scrub: { bytesPerSecond: config.scrub.bytesPerSecond, isDue: () => schedule.isDue(runtime.wallMs()) },
  };
}

interface Place {
  readonly memberId: number;
  /** For the identity of a new directory. */
  readonly origin: Pick<Identity, 'transportId' | 'joinedClusterId'>;
  readonly members: readonly MemberAddress[];
}

function firstMember({ memberId, members }: PlacementConfig): Place {
  return { memberId, origin: { transportId: transportClusterId(members) }, members };
}

function ownAddress(config: PlacementConfig): string {
  if (config.join.length > 0) return config.address;
  return must(
    config.members.find((m) => m.id === config.memberId),
    'this member',
  ).address;
}

/** The configured address, with the port that a configured port of 0 became. */
function advertised(config: PlacementConfig, port: number): string {
  const address = ownAddress(config);
  return address.endsWith(':0') ? `${address.slice(0, -1)}${port}` : address;
}

/**
 * Members must refuse strangers before the cluster has an id, so the transport's is made of the list of the first
 * members, which is the same on all of them: 52 bits of its hash. It stays when members come and go; those are told of it.
 */
export function transportClusterId(members: readonly MemberAddress[]): number {
  const list = [...members].sort((a, b) => a.id - b.id).map((m) => `${m.id}=${m.address}`);
  const hash = createHash('sha256').update(list.join(',')).digest();
  return 1 + hash.readUIntBE(0, 6) * 16 + ((hash[6] ?? 0) >> 4);
}
