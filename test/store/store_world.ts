import { must } from '../../src/base/assert.js';
import { hashSplitKeys, partitioningRange } from '../../src/base/encoded_key.js';
import { silentLogger } from '../../src/base/logger.js';
import { Prng } from '../../src/base/prng.js';
import { CachedEngine } from '../../src/engine/cached_engine.js';
import { isDataKey } from '../../src/engine/keys.js';
import { cacheBytesMin } from '../../src/engine/limits.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import type { Replica, Shard, Store as StoreMessage } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole, Shard as ShardMessage, Store as StoreInfo } from '../../src/gen/skerry/v1/meta.js';
import type { ShardReport, StoreCommand, StoreSessionRequest } from '../../src/gen/skerry/v1/placement.js';
import { StoreSessionResponse } from '../../src/gen/skerry/v1/placement.js';
import { openRaftLog } from '../../src/raftlog/segmented_log.js';
import { MemoryNetwork, MemoryTransport } from '../../src/transport/memory_network.js';
import type { Mutation, OpKind, WireOp, WriteCommand } from '../../src/wire/kv_codec.js';
import {
  decodeErrorResult,
  decodeExistsResult,
  decodeRowsResult,
  decodeValueResult,
  decodeWriteResult,
  encodeWriteCommand,
  OpKind as Kind,
  ResultKind,
} from '../../src/wire/kv_codec.js';
import type { PlacementConnector, SessionHandlers } from '../../store/placement_connector.js';
import { PlacementMembers } from '../../store/placement_members.js';
import { Store } from '../../store/store.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { VirtualClock, VirtualRuntime } from '../support/virtual_runtime.js';

const clusterId = 77;

/** The placement service's side: hears reports, sends commands, decides nothing. */
export class FakePlacement {
  readonly sessions = new Map<number, SessionHandlers>();
  readonly frames: StoreSessionRequest[] = [];
  /** The last report of each shard, of the highest term. */
  readonly reports = new Map<number, ShardReport>();
  /** What GetShardById answers; else what was reported last. */
  readonly truth = new Map<number, Shard>();
  readonly questions: number[] = [];
  /** Errors of commands that failed, by command id. */
  readonly failures = new Map<number, string>();
  reachable = true;
  private readonly stores = new Map<number, StoreMessage>();
  private nextCommandId = 1;

  addStore(storeId: number): void {
    this.stores.set(storeId, { ...StoreInfo.create(), storeId, address: `store-${storeId}` });
    this.broadcastStores();
  }

  connector(storeId: number, runtime: VirtualRuntime): PlacementConnector {
    const unused = (): Promise<never> => Promise.reject(new Error('not used here'));
    return {
      bootstrap: unused,
      registerStore: unused,
      getShardById: async (_address, { shardId }) => {
        this.questions.push(shardId);
        if (!this.reachable) throw new Error('unreachable');
        const shard = this.truth.get(shardId) ?? this.reports.get(shardId)?.shard;
        return { error: undefined, route: { shard, leaderReplicaId: 0, leaderStoreId: 0, term: 0 } };
      },
      openSession: (_address, handlers) => {
        let open = true;
        runtime.nextTurn(() => {
          if (!this.reachable) {
            open = false;
            handlers.closed('unreachable');
            return;
          }
          this.sessions.set(storeId, handlers);
          handlers.frame({ ...StoreSessionResponse.create(), stores: [...this.stores.values()] });
        });
        return {
          send: (request) => {
            if (open && this.reachable) this.hear(request);
          },
          close: () => {
            if (!open) return;
            open = false;
            this.sessions.delete(storeId);
            handlers.closed('closed');
          },
        };
      },
      close: () => undefined,
    };
  }

  /** Sends a command; its id is returned, by which a failure can be found. */
  command(storeId: number, command: NonNullable<StoreCommand['command']>): number {
    const commandId = this.nextCommandId++;
    const session = must(this.sessions.get(storeId), `a session of store ${storeId}`);
    session.frame({ ...StoreSessionResponse.create(), commands: [{ commandId, command }] });
    return commandId;
  }

  private hear(request: StoreSessionRequest): void {
    this.frames.push(request);
    for (const report of request.shards) {
      const shardId = report.shard?.shardId ?? 0;
      if ((this.reports.get(shardId)?.term ?? 0) <= report.term) this.reports.set(shardId, report);
    }
    for (const { commandId, error } of request.results) this.failures.set(commandId, error?.detail?.$case ?? 'none');
  }

  private broadcastStores(): void {
    for (const session of this.sessions.values()) {
      session.frame({ ...StoreSessionResponse.create(), stores: [...this.stores.values()] });
    }
  }
}

export interface WorldOptions {
  /** Bound of the memory for recent entries of a store's Raft log. */
  readonly raftLogCacheBytes?: number;
  readonly diskReserveBytes?: number;
}

export interface WorldStore {
  readonly storeId: number;
  readonly runtime: VirtualRuntime;
  readonly disk: MemoryDisk;
  readonly engine: MemoryEngine;
  readonly store: Store;
  readonly fatals: Error[];
}

/** What an operation came to. */
export type OpResult =
  | { readonly error: string }
  | { readonly applied: boolean; readonly current: string | null }
  | { readonly value: string | null }
  | { readonly exists: boolean }
  | { readonly rows: readonly (readonly [string, string])[]; readonly more: boolean; readonly nextKey: Buffer };

/** Whole stores (all but their process) on a virtual clock, network and disk, with a placement service that only listens. */
export class StoreWorld {
  readonly clock = new VirtualClock();
  readonly placement = new FakePlacement();
  readonly network: MemoryNetwork;
  readonly stores = new Map<number, WorldStore>();
  private readonly options: WorldOptions;
  private readonly prng: Prng;
  private readonly disks = new Map<number, MemoryDisk>();
  private readonly engines = new Map<number, MemoryEngine>();
  private incarnation = 0;
  private nextOpId = 1;

  private constructor(seed: number, options: WorldOptions) {
    this.options = options;
    this.prng = new Prng(seed);
    this.network = new MemoryNetwork({ runtime: new VirtualRuntime(this.clock, this.prng.nextU32()) });
  }

  static async start(stores = 3, seed = 1, options: WorldOptions = {}): Promise<StoreWorld> {
    const world = new StoreWorld(seed, options);
    for (let storeId = 1; storeId <= stores; storeId++) await world.startStore(storeId);
    await world.clock.advance(500);
    return world;
  }

  store(storeId: number): WorldStore {
    return must(this.stores.get(storeId), `store ${storeId}`);
  }

  async startStore(storeId: number): Promise<void> {
    this.placement.addStore(storeId);
    await this.clock.resolve(this.open(storeId));
  }

  /** The machine loses power: what was not synced may be gone. */
  async crashStore(storeId: number): Promise<void> {
    const { runtime, disk, engine } = this.store(storeId);
    this.stores.delete(storeId);
    this.placement.sessions.delete(storeId);
    runtime.kill();
    this.network.unlisten(`store-${storeId}`, storeId);
    for (const other of this.disks.keys()) if (other !== storeId) this.network.disconnect(storeId, other);
    disk.powerCut();
    this.engines.set(
      storeId,
      engine.crash(() => this.prng.random()),
    );
    await this.clock.settle();
  }

  async stopStore(storeId: number): Promise<void> {
    const { store, engine } = this.store(storeId);
    this.stores.delete(storeId);
    await this.clock.resolve(store.close());
    await this.clock.resolve(engine.close());
    this.engines.set(storeId, engine.reopen());
  }

  async close(): Promise<void> {
    for (const storeId of [...this.stores.keys()]) await this.stopStore(storeId);
  }

  /** A shard whose replica on store s has the id shardId * 10 + s. */
  shard(shardId: number, storeIds: readonly number[], change: Partial<Shard> = {}): Shard {
    const replicas: Replica[] = storeIds.map((storeId) => ({
      replicaId: shardId * 10 + storeId,
      storeId,
      role: ReplicaRole.VOTER,
    }));
    const base: Shard = { ...ShardMessage.create(), shardId, keyspaceId: 1, partitioning: partitioningRange };
    return { ...base, epoch: { confVer: 1, version: 1 }, replicas, ...change };
  }

  /** Lets placement create shards; the first store of each leads first. */
  async create(...shards: Shard[]): Promise<void> {
    for (const storeId of this.stores.keys()) {
      const here = shards.filter((shard) => shard.replicas.some((r) => r.storeId === storeId));
      if (here.length === 0) continue;
      const firstLeaders = here.map((shard) => shard.replicas[0]?.replicaId ?? 0);
      this.placement.command(storeId, { $case: 'createShards', value: { shards: here, firstLeaders } });
    }
    for (const { shardId } of shards) await this.leaderOf(shardId);
  }

  /** Equal shards of a hash keyspace. */
  hashShards(count: number, storeIds: readonly number[], partitioning: Shard['partitioning']): Shard[] {
    const starts = hashSplitKeys(count);
    return starts.map((startKey, at) =>
      this.shard(at + 1, storeIds, { partitioning, startKey, endKey: starts[at + 1] ?? Buffer.alloc(0) }),
    );
  }

  /** The store that leads a shard, waiting for it. */
  async leaderOf(shardId: number): Promise<number> {
    const find = (): number => {
      for (const { storeId, store } of this.stores.values()) {
        const status = store.multi.group(shardId)?.status();
        if (status?.role === 'leader' && status.applied >= status.commit) return storeId;
      }
      return 0;
    };
    await this.clock.until(() => find() !== 0, `shard ${shardId} has a leader`);
    return find();
  }

  /** One operation on one store, letting time pass for its answer. */
  op(storeId: number, kind: OpKind, body: Buffer, change: Partial<WireOp> = {}): Promise<OpResult> {
    return this.clock.resolve(this.submit(storeId, kind, body, change));
  }

  /** One operation on one store; somebody else lets time pass. */
  submit(storeId: number, kind: OpKind, body: Buffer, change: Partial<WireOp> = {}): Promise<OpResult> {
    const op: WireOp = {
      id: this.nextOpId++,
      shardId: 1,
      confVer: 0,
      version: 0,
      timeoutMs: 5_000,
      consistency: 0,
      allowForward: false,
      kind,
      body,
      ...change,
    };
    const { kv } = this.store(storeId).store;
    return new Promise<OpResult>((resolve) => {
      kv.execute(op, null, (resultKind, resultBody) => resolve(readResult(resultKind, resultBody)));
      kv.flush();
    });
  }

  write(
    storeId: number,
    mutations: readonly Mutation[],
    session: Partial<WriteCommand> = {},
    change: Partial<WireOp> = {},
  ): Promise<OpResult> {
    const command = { sessionId: 0, sequence: 0, ackedBelow: 0, retry: false, mutations, ...session };
    return this.op(storeId, Kind.write, encodeWriteCommand(command), change);
  }

  get(storeId: number, key: string, change: Partial<WireOp> = {}): Promise<OpResult> {
    return this.op(storeId, Kind.get, Buffer.from(key), change);
  }

  private async open(storeId: number): Promise<void> {
    const runtime = new VirtualRuntime(this.clock, this.prng.nextU32());
    const disk = this.disks.get(storeId) ?? new MemoryDisk({ prng: new Prng(this.prng.nextU32()) });
    const engine = this.engines.get(storeId) ?? new MemoryEngine();
    this.disks.set(storeId, disk);
    this.engines.set(storeId, engine);
    const fatals: Error[] = [];
    const fatal = (error: Error): void => void fatals.push(error);
    const log = { disk, directory: '/raftlog', runtime, logger: silentLogger, segmentBytes: 128 * 1024 };
    const { raftLogCacheBytes: cacheBytesMax } = this.options;
    const cache = cacheBytesMax === undefined ? {} : { cacheBytesMax };
    const raftLog = await openRaftLog({ ...log, ...cache, onFatal: fatal });
    const incarnation = ++this.incarnation;
    const address = `store-${storeId}`;
    const host = { hostId: storeId, clusterId, incarnation, runtime, logger: silentLogger };
    const transport = new MemoryTransport({ ...host, network: this.network, address });
    const store = await Store.open({
      clusterId,
      storeId,
      incarnation,
      runtime,
      logger: silentLogger,
      disk,
      engine: new CachedEngine(engine, { bytes: cacheBytesMin, keeps: isDataKey }),
      raftLog,
      transport,
      connector: this.placement.connector(storeId, runtime),
      members: new PlacementMembers(['placement'], runtime),
      dataDirectory: '/',
      stagingDirectory: '/staging',
      reportIntervalMs: 1_000,
      capacityBytes: 0,
      diskReserveBytes: this.options.diskReserveBytes ?? 0,
      fatal,
    });
    await store.start();
    this.stores.set(storeId, { storeId, runtime, disk, engine, store, fatals });
  }
}

function readResult(kind: ResultKind, body: Buffer): OpResult {
  switch (kind) {
    case ResultKind.error:
      return { error: errorName(body) };
    case ResultKind.write: {
      const { applied, current } = decodeWriteResult(body);
      return { applied, current: current?.toString() ?? null };
    }
    case ResultKind.get:
      return { value: decodeValueResult(body)?.toString() ?? null };
    case ResultKind.exists:
      return { exists: decodeExistsResult(body) };
    case ResultKind.rows: {
      const { rows, more, nextKey } = decodeRowsResult(body);
      return { rows: rows.map(({ key, value }) => [key.toString(), value.toString()] as const), more, nextKey };
    }
    case ResultKind.unknown:
      throw new Error('a result of no kind');
  }
}

/** The detail's name, with the limit or reason where there is one. */
function errorName(body: Buffer): string {
  const { detail } = decodeErrorResult(body);
  if (detail?.$case === 'serverIsBusy') return `serverIsBusy ${detail.value.limit}`;
  if (detail?.$case === 'invalidArgument') return `invalidArgument ${detail.value.reason}`;
  if (detail?.$case === 'notLeader') return `notLeader ${detail.value.leaderStoreId}`;
  if (detail?.$case !== 'epochNotMatch') return detail?.$case ?? 'none';
  return `epochNotMatch ${detail.value.currentShards.map((s) => s.shardId).join()}`;
}
