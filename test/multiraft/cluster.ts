import { silentLogger } from '../../src/base/logger.js';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { CachedEngine } from '../../src/engine/cached_engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { cacheBytesMin } from '../../src/engine/limits.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import type {
  Group,
  GroupSpec,
  HostCallbacks,
  MultiRaft,
  ProposalOutcome,
  ReadFailure,
} from '../../src/multiraft/host.js';
import { createMultiRaft } from '../../src/multiraft/multiraft.js';
import type { MultiRaftOptionsInput } from '../../src/multiraft/options.js';
import { openRaftLog } from '../../src/raftlog/segmented_log.js';
import type { LogRecord, RaftLog } from '../../src/raftlog/raft_log.js';
import { MemoryNetwork, MemoryTransport } from '../../src/transport/memory_network.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { VirtualClock, VirtualRuntime } from '../support/virtual_runtime.js';
import {
  emptyConfState,
  readRecords,
  toyCommand,
  ToyStateMachine,
  writeRecord,
  type ToyRecord,
} from './toy_state_machine.js';

/** Where every initial replica's log begins. */
export const origin = { index: 5, term: 5 };

/** A started host with everything under it. */
export interface TestHost {
  readonly hostId: number;
  readonly runtime: VirtualRuntime;
  readonly disk: MemoryDisk;
  /** What the host and its state machines use. */
  readonly store: Engine;
  /** What is under it. */
  readonly engine: MemoryEngine;
  readonly log: RaftLog;
  readonly transport: MemoryTransport;
  readonly multiRaft: MultiRaft;
  readonly machines: Map<number, ToyStateMachine>;
  /** Records of each log write so far. */
  readonly writes: (readonly LogRecord[])[];
  readonly fatals: Error[];
  readonly gone: { groupId: number; replicaId: number }[];
  callbacks: Partial<HostCallbacks>;
}

export interface ClusterOptions {
  readonly hosts?: number;
  readonly seed?: number;
  readonly options?: MultiRaftOptionsInput;
  readonly segmentBytes?: number;
  /** How fast the hosts' clocks run, by host id; 1 where nothing is said. */
  readonly clockRates?: Readonly<Record<number, number>>;
  /** Cache of the log; small ones make followers read from disk. */
  readonly logCacheBytes?: number;
  /** Hard bound of the log by host id; where nothing is said, one that no test reaches. */
  readonly logBytesHardMax?: Readonly<Record<number, number>>;
  /** The hosts' engines have a memory of values before them, as a store's has. */
  readonly cached?: boolean;
}

/** A few hosts in one process on a virtual clock, network and disk, with toy state machines. */
export class Cluster {
  readonly clock = new VirtualClock();
  readonly hosts = new Map<number, TestHost>();
  readonly network: MemoryNetwork;
  private readonly settings: ClusterOptions;
  private readonly disks = new Map<number, MemoryDisk>();
  private readonly engines = new Map<number, MemoryEngine>();
  private readonly prng: Prng;
  private incarnation = 0;

  private constructor(settings: ClusterOptions) {
    this.settings = settings;
    this.prng = new Prng(settings.seed ?? 1);
    this.network = new MemoryNetwork({
      runtime: this.newRuntime(),
      deliver: (hostId, receive) => {
        const host = this.hosts.get(hostId);
        if (host === undefined) receive();
        else host.runtime.run(receive);
      },
    });
  }

  static async start(settings: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(settings);
    for (let id = 1; id <= (settings.hosts ?? 3); id++) await cluster.startHost(id);
    await cluster.clock.advance(1_000);
    return cluster;
  }

  host(hostId: number): TestHost {
    return must(this.hosts.get(hostId), `host ${String(hostId)}`);
  }

  /** Starts a host on what its disk and engine hold. */
  async startHost(hostId: number, before?: (host: TestHost) => void): Promise<TestHost> {
    return this.clock.resolve(this.openHost(hostId, before));
  }

  /** Stops a host in order. */
  async stopHost(hostId: number): Promise<void> {
    const host = this.host(hostId);
    this.hosts.delete(hostId);
    await this.clock.resolve(host.multiRaft.close());
    await this.clock.resolve(host.engine.close());
    this.engines.set(hostId, host.engine.reopen());
  }

  /** The power of a host fails: unsynced writes may be lost. */
  async crashHost(hostId: number): Promise<void> {
    const host = this.host(hostId);
    this.hosts.delete(hostId);
    host.runtime.kill();
    this.network.unlisten(`host-${String(hostId)}`, hostId);
    for (const other of this.disks.keys()) if (other !== hostId) this.network.disconnect(hostId, other);
    host.disk.powerCut();
    this.engines.set(
      hostId,
      host.engine.crash(() => this.prng.random()),
    );
    await this.clock.settle();
  }

  /** Makes a group with a replica on each of these hosts; replica ids are groupId * 10 + hostId. */
  async addGroup(groupId: number, hostIds: readonly number[] = [1, 2, 3], leader = 0): Promise<void> {
    const voters = hostIds.map((hostId) => groupId * 10 + hostId);
    const hosts = Object.fromEntries(hostIds.map((hostId) => [groupId * 10 + hostId, hostId]));
    const confState = { ...emptyConfState, voters };
    const added = hostIds.map(async (hostId) => {
      const replicaId = groupId * 10 + hostId;
      const record: ToyRecord = { groupId, replicaId, ...origin, confState, hosts };
      await writeRecord(this.host(hostId).engine, record);
      await this.addReplica(this.host(hostId), record, { bootstrap: origin, campaign: hostId === leader });
    });
    await this.clock.resolve(Promise.all(added));
  }

  addReplica(host: TestHost, record: ToyRecord, extra: Partial<GroupSpec> = {}): Promise<Group> {
    return host.multiRaft.addGroup(this.specOf(host, record, extra));
  }

  specOf(host: TestHost, record: ToyRecord, extra: Partial<GroupSpec> = {}): GroupSpec {
    const stateMachine = new ToyStateMachine(host.store, record);
    host.machines.set(record.groupId, stateMachine);
    stateMachine.onRemoved = () => void host.multiRaft.removeGroup(record.groupId);
    const { groupId, replicaId, index, term, confState } = record;
    return { groupId, replicaId, stateMachine, applied: { index, term }, confState, ...extra };
  }

  group(hostId: number, groupId: number): Group {
    return must(this.host(hostId).multiRaft.group(groupId), `group ${String(groupId)} on host ${String(hostId)}`);
  }

  machine(hostId: number, groupId: number): ToyStateMachine {
    return must(this.host(hostId).machines.get(groupId), `machine ${String(groupId)} on host ${String(hostId)}`);
  }

  /** The host that leads a group among those that run; 0: none. Of several the one of the highest term. */
  leaderHost(groupId: number): number {
    let leader = 0;
    let term = -1;
    for (const [hostId, host] of this.hosts) {
      const group = host.multiRaft.group(groupId);
      if (group?.isLeader() !== true || group.term() < term) continue;
      leader = hostId;
      term = group.term();
    }
    return leader;
  }

  async waitForLeader(groupId: number): Promise<number> {
    await this.clock.until(() => this.leaderHost(groupId) !== 0, `group ${String(groupId)} has a leader`);
    return this.leaderHost(groupId);
  }

  leaderGroup(groupId: number): Group {
    return this.group(this.leaderHost(groupId), groupId);
  }

  set(group: Group, key: string, value: string): Promise<ProposalOutcome> {
    return new Promise((resolve) => group.propose(1, toyCommand({ op: 'set', key, value }), resolve));
  }

  cas(group: Group, key: string, expected: string | null, value: string): Promise<ProposalOutcome> {
    return new Promise((resolve) => group.propose(1, toyCommand({ op: 'cas', key, expected, value }), resolve));
  }

  /** A linearizable read: the value, or the failure. */
  read(hostId: number, groupId: number, key: string): Promise<string | null | ReadFailure> {
    return new Promise((resolve, reject) => {
      this.group(hostId, groupId).readIndex((failure) => {
        if (failure !== null) resolve(failure);
        else this.machine(hostId, groupId).get(key).then(resolve, reject);
      });
    });
  }

  /** Waits until every running replica of a group has applied the same index as its leader. */
  async waitForCaughtUp(groupId: number): Promise<void> {
    await this.clock.until(
      () => {
        const leader = this.leaderHost(groupId);
        if (leader === 0) return false;
        const status = this.group(leader, groupId).status();
        if (status.applied !== status.lastIndex) return false;
        for (const host of this.hosts.values()) {
          const group = host.multiRaft.group(groupId);
          if (group !== undefined && group.status().applied !== status.applied) return false;
        }
        return true;
      },
      `group ${String(groupId)} is caught up everywhere`,
    );
  }

  /** Closes all hosts. */
  async close(): Promise<void> {
    for (const host of this.hosts.values()) await this.clock.resolve(host.multiRaft.close());
  }

  private newRuntime(rate = 1): VirtualRuntime {
    return new VirtualRuntime(this.clock, this.prng.nextU32(), { rate, offsetMs: 0 });
  }

  private diskOf(hostId: number): MemoryDisk {
    const disk = this.disks.get(hostId) ?? new MemoryDisk({ prng: new Prng(this.prng.nextU32()) });
    this.disks.set(hostId, disk);
    return disk;
  }

  private async openHost(hostId: number, before?: (host: TestHost) => void): Promise<TestHost> {
    const runtime = this.newRuntime(this.settings.clockRates?.[hostId]);
    const disk = this.diskOf(hostId);
    const engine = this.engines.get(hostId) ?? new MemoryEngine();
    const store = this.settings.cached === true ? new CachedEngine(engine, { bytes: cacheBytesMin }) : engine;
    const fatals: Error[] = [];
    const { logCacheBytes, logBytesHardMax = {} } = this.settings;
    const hardMax = logBytesHardMax[hostId];
    const log = await openRaftLog({
      disk,
      directory: '/log',
      runtime,
      logger: silentLogger,
      onFatal: (error) => void fatals.push(error),
      // Small: the disk in memory copies a file with every write to it.
      segmentBytes: this.settings.segmentBytes ?? 128 * 1024,
      ...(logCacheBytes === undefined ? {} : { cacheBytesMax: logCacheBytes }),
      ...(hardMax === undefined ? {} : { logBytesHardMax: hardMax, logBytesMax: hardMax / 4 }),
    });
    const writes: (readonly LogRecord[])[] = [];
    const transport = this.transportOf(hostId, runtime);
    const host: TestHost = {
      hostId,
      runtime,
      disk,
      store,
      engine,
      log,
      transport,
      multiRaft: createMultiRaft({
        hostId,
        runtime,
        logger: silentLogger,
        log: watchWrites(log, writes),
        engine: store,
        transport,
        disk,
        stagingDirectory: '/staging',
        callbacks: this.callbacksOf(() => host),
        options: this.settings.options ?? {},
      }),
      machines: new Map(),
      writes,
      fatals,
      gone: [],
      callbacks: {},
    };
    before?.(host);
    for (const record of await readRecords(engine)) await this.addReplica(host, record);
    await host.multiRaft.start();
    this.connect(host);
    this.hosts.set(hostId, host);
    return host;
  }

  private transportOf(hostId: number, runtime: VirtualRuntime): MemoryTransport {
    return new MemoryTransport({
      hostId,
      clusterId: 1,
      incarnation: ++this.incarnation,
      runtime,
      logger: silentLogger,
      network: this.network,
      address: `host-${String(hostId)}`,
    });
  }

  private connect(host: TestHost): void {
    for (const other of this.hosts.values()) {
      if (other.hostId === host.hostId) continue;
      other.transport.setPeer(host.hostId, `host-${String(host.hostId)}`);
    }
    for (let id = 1; id <= 9; id++) {
      if (id !== host.hostId && (this.hosts.has(id) || this.disks.has(id))) {
        host.transport.setPeer(id, `host-${String(id)}`);
      }
    }
  }

  private callbacksOf(host: () => TestHost): HostCallbacks {
    return {
      unknownGroup: (fromHost, groupId, message) => {
        const custom = host().callbacks.unknownGroup;
        if (custom !== undefined) return custom(fromHost, groupId, message);
        const record = { groupId, replicaId: message.to, index: 0, term: 0, confState: emptyConfState, hosts: {} };
        return this.specOf(host(), record);
      },
      acceptSnapshot: (groupId, head) => host().callbacks.acceptSnapshot?.(groupId, head) ?? true,
      stranger: (groupId, message) => host().callbacks.stranger?.(groupId, message) ?? null,
      dataLost: (groupId, replicaId) => host().callbacks.dataLost?.(groupId, replicaId),
      gone: (groupId, replicaId) => void host().gone.push({ groupId, replicaId }),
      forwarded: (fromHost, payload) => must(host().callbacks.forwarded, 'forwarded')(fromHost, payload),
      fatal: (error) => void host().fatals.push(error),
    };
  }
}

function watchWrites(log: RaftLog, writes: (readonly LogRecord[])[]): RaftLog {
  return {
    write: (records) => {
      writes.push(records);
      return log.write(records);
    },
    takes: (records) => log.takes(records),
    get nearlyFull() {
      return log.nearlyFull;
    },
    group: (groupId) => log.group(groupId),
    groupIds: () => log.groupIds(),
    get damaged() {
      return log.damaged;
    },
    get pendingSinceMs() {
      return log.pendingSinceMs;
    },
    stats: () => log.stats(),
    close: () => log.close(),
  };
}
