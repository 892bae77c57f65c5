import type { Disk } from '../src/base/disk.js';
import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import { sleep } from '../src/base/runtime.js';
import { dataRange } from '../src/engine/keys.js';
import type { Engine } from '../src/engine/engine.js';
import type { StoreReport } from '../src/gen/skerry/v1/placement.js';
import { heirOf } from '../src/multiraft/heir.js';
import type { MultiRaft } from '../src/multiraft/host.js';
import { createMultiRaft } from '../src/multiraft/multiraft.js';
import type { MultiRaftOptionsInput } from '../src/multiraft/options.js';
import type { RaftLog } from '../src/raftlog/raft_log.js';
import type { Transport } from '../src/transport/transport.js';
import { Checksums } from './checksums.js';
import { CommandExecutor } from './command_executor.js';
import { DiskWatch } from './disk_watch.js';
import { KvService } from './kv_service.js';
import { leavePollMs, leaveTimeoutMs, sizeRefreshMs, sizeRefreshShardsMax } from './limits.js';
import { loadReplicas } from './load_replicas.js';
import { MergeDriver } from './merge_driver.js';
import { PeerAddresses } from './peer_addresses.js';
import type { PlacementConnector } from './placement_connector.js';
import type { PlacementMembers } from './placement_members.js';
import { PlacementSession } from './placement_session.js';
import { ReplicaRecovery } from './replica_recovery.js';
import { Replicas } from './replicas.js';
import { ShardReports } from './shard_reports.js';
import type { ShardStateMachine } from './shard_state_machine.js';
import { StaleReplicas } from './stale_replicas.js';

/** What a store is made of. Everything that touches the world comes in from outside, so that a simulator can bring its own. */
export interface StoreParts {
  readonly clusterId: number;
  readonly storeId: number;
  readonly incarnation: number;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly disk: Disk;
  readonly engine: Engine;
  readonly raftLog: RaftLog;
  readonly transport: Transport;
  readonly connector: PlacementConnector;
  readonly members: PlacementMembers;
  readonly dataDirectory: string;
  readonly stagingDirectory: string;
  readonly reportIntervalMs: number;
  /** 0: what the disk has. */
  readonly capacityBytes: number;
  readonly diskReserveBytes: number;
  readonly raft?: MultiRaftOptionsInput;
  /** Called once: nothing is acknowledged any more, and the process must end. */
  readonly fatal: (error: Error) => void;
}

/** A running store without its process: replicas, the host that runs them, the key service, the line to placement. */
export class Store {
  readonly replicas: Replicas;
  readonly kv: KvService;
  readonly multi: MultiRaft;
  readonly session: PlacementSession;
  readonly checksums: Checksums;
  private readonly parts: StoreParts;
  private readonly reports: ShardReports;
  private readonly addresses: PeerAddresses;
  private readonly stale: StaleReplicas;
  private readonly merges: MergeDriver;
  private readonly diskWatch: DiskWatch;
  private sizeTimer: TimerHandle | null = null;
  private sizeCursor: IterableIterator<ShardStateMachine> | null = null;
  private failed = false;

  /** Loads what is on disk. Nothing is sent or served before start(). */
  static async open(parts: StoreParts): Promise<Store> {
    const store = new Store(parts);
    await store.addresses.load();
    await loadReplicas({ ...parts, replicas: store.replicas });
    return store;
  }

  private constructor(parts: StoreParts) {
    this.parts = parts;
    const { storeId, clusterId, engine, runtime, logger, connector, members } = parts;
    const fatal = (error: Error): void => this.fail(error);
    this.checksums = new Checksums({ ...parts, report: (report) => this.session.checksumTaken(report) });
    this.replicas = new Replicas({
      storeId,
      engine,
      runtime,
      logger,
      events: {
        changed: (shardId) => this.session.shardChanged(shardId),
        checksumWanted: (request) => this.checksums.take(request),
        fatal,
      },
    });
    this.multi = this.makeHost(parts);
    this.replicas.attach(this.multi);
    const forward = this.multi.forward.bind(this.multi);
    this.kv = new KvService({ clusterId, storeId, runtime, engine, replicas: this.replicas, forward, fatal });
    this.reports = new ShardReports(this.replicas, runtime);
    this.addresses = new PeerAddresses(parts);
    this.diskWatch = new DiskWatch(parts, (room) => {
      this.kv.diskFull = room !== 'enough';
      this.multi.refuseEntries(room === 'critical');
    });
    this.stale = new StaleReplicas({ clusterId, replicas: this.replicas, members, connector, runtime, logger, fatal });
    this.merges = new MergeDriver({ replicas: this.replicas, multi: this.multi, runtime, logger });
    const { replicas, multi } = this;
    const recovery = new ReplicaRecovery({ replicas, multi, raftLog: parts.raftLog, runtime, logger });
    this.session = new PlacementSession({
      ...parts,
      reports: this.reports,
      executor: new CommandExecutor(replicas, recovery, this.merges, (survey) => this.session.replicasSurveyed(survey)),
      storeReport: () => this.report(),
      storesChanged: (stores) => void this.addresses.update(stores).catch((error: unknown) => this.fail(error)),
      fatal,
    });
  }

  /** Begins to talk to peers and placement. The servers that reach it must be listening. */
  async start(): Promise<void> {
    await this.diskWatch.start();
    await this.multi.start();
    this.session.start();
    this.stale.start();
    this.merges.start();
    this.sizeTimer = this.parts.runtime.every(sizeRefreshMs, () => this.refreshSizes());
  }

  /** Hands leaderships over where a replica is there to take them, and waits a moment for it. */
  async leave(): Promise<void> {
    const { runtime } = this.parts;
    const leaving = [...this.multi.groups()].filter((group) => {
      const heir = group.isLeader() ? heirOf(group.status()) : null;
      if (heir !== null) group.transferLeader(heir);
      return heir !== null;
    });
    const until = runtime.nowMs() + leaveTimeoutMs;
    while (leaving.some((group) => group.isLeader()) && runtime.nowMs() < until) await sleep(runtime, leavePollMs);
  }

  /** Stops everything of the store but the engine, which is the caller's. */
  async close(): Promise<void> {
    this.kv.stop();
    this.sizeTimer?.cancel();
    this.stale.stop();
    this.merges.stop();
    this.session.stop();
    this.diskWatch.stop();
    await this.multi.close();
    await this.checksums.stop();
    this.kv.deadlines.stop();
  }

  private makeHost(parts: StoreParts): MultiRaft {
    const { replicas } = this;
    return createMultiRaft({
      hostId: parts.storeId,
      runtime: parts.runtime,
      logger: parts.logger,
      log: parts.raftLog,
      engine: parts.engine,
      transport: parts.transport,
      disk: parts.disk,
      stagingDirectory: parts.stagingDirectory,
      ...(parts.raft === undefined ? {} : { options: parts.raft }),
      callbacks: {
        unknownGroup: (fromHost, groupId, message) => replicas.unknownGroup(fromHost, groupId, message),
        acceptSnapshot: (groupId, head) => !this.kv.diskFull && replicas.acceptSnapshot(groupId, head),
        stranger: (groupId, message) => replicas.stranger(groupId, message),
        gone: (groupId, replicaId) => this.stale.ask(groupId, replicaId),
        dataLost: (groupId, replicaId) =>
          replicas.quarantine(groupId, replicaId, 'its part of the Raft log is damaged'),
        forwarded: (_fromHost, payload) => this.kv.forwarded(payload),
        fatal: (error) => this.fail(error),
      },
    });
  }

  private report(): StoreReport {
    const { incarnation, raftLog, capacityBytes } = this.parts;
    const { leaders, diskStalled } = this.multi.stats();
    return {
      capacityBytes: capacityBytes === 0 ? this.diskWatch.totalBytes : capacityBytes,
      usedBytes: this.diskWatch.usedBytes,
      replicaCount: this.multi.groupCount,
      leaderCount: leaders,
      snapshotsInFlight: 0,
      incarnation,
      diskFull: this.kv.diskFull,
      fsyncP99Us: Math.round(raftLog.stats().syncMsP99 * 1_000),
      quarantined: this.reports.quarantined(),
      quarantinedCount: this.replicas.quarantinedCount,
      diskStalled,
      membersVersion: this.parts.members.version,
    };
  }

  /** Asks the engine for the sizes of the next few led shards; a round over all of them takes its time. */
  private refreshSizes(): void {
    this.sizeCursor ??= this.replicas.machines();
    for (let asked = 0; asked < sizeRefreshShardsMax;) {
      const next = this.sizeCursor.next();
      if (next.done === true) {
        this.sizeCursor = null;
        return;
      }
      const { shard, shardId } = next.value;
      if (this.replicas.group(shardId)?.isLeader() !== true) continue;
      asked++;
      const { start, end } = dataRange(shard.keyspaceId, shard.startKey, shard.endKey);
      this.parts.engine.approximateSize(start, end).then(
        (size) => {
          this.reports.setSize(shardId, size);
        },
        (error: unknown) => this.parts.logger.debug({ shardId, err: error }, 'no size of a shard'),
      );
    }
  }

  private fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    this.parts.fatal(error instanceof Error ? error : new Error(String(error)));
  }
}
