import type { sendUnaryData, ServerUnaryCall, ServerWritableStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { must } from '../../../src/base/assert.js';
import { encodeKey, hashSplitKeys, inRange } from '../../../src/base/encoded_key.js';
import type { Error as ErrorReply } from '../../../src/gen/skerry/v1/error.js';
import type { BatchOp, BatchRequest, BatchResult, WriteCommand } from '../../../src/gen/skerry/v1/kv.js';
import type { Shard, ShardRoute, Store } from '../../../src/gen/skerry/v1/meta.js';
import { KeyspaceState, Partitioning, ReplicaRole, StoreState } from '../../../src/gen/skerry/v1/meta.js';
import type { WatchRoutesRequest, WatchRoutesResponse } from '../../../src/gen/skerry/v1/placement.js';
import { PlacementService } from '../../../src/gen/skerry/v1/placement.js';
import { FakePort, type FakeStream } from './fake_port.js';

/**
 * A cluster for the client's tests: real servers in this process, with one truth (who leads, which epochs, what is
 * stored) that the fake stores answer from, and a map of routes that the fake placement member answers from. A test changes
 * the truth without the map, or plays tricks on single operations, and watches the client find its way.
 */
export const clusterId = 77;
export const keyspaceId = 3;

/** What a trick does with an operation instead of serving it. null: serve it. */
export type Trick = (op: BatchOp, storeId: number) => ErrorReply | 'ignore' | 'breakBefore' | 'breakAfter' | null;

type Result = BatchResult['result'];

interface FakeShard {
  shard: Shard;
  leaderStoreId: number;
  term: number;
}

export interface FakeOptions {
  readonly stores?: number;
  readonly shards?: number;
  readonly partitioning?: Partitioning;
  /** Bounds of a range keyspace. */
  readonly splitKeys?: readonly string[];
  readonly pageRows?: number;
}

export class FakeCluster {
  readonly shards = new Map<number, FakeShard>();
  readonly partitioning: Partitioning;
  /** By encoded key, as latin1. */
  readonly values = new Map<string, Buffer>();
  /** How often each session and sequence took effect, for keys of each shard at that time. */
  readonly applied = new Map<string, number>();
  readonly writes: { command: WriteCommand; storeId: number; shardId: number; tookEffect: boolean }[] = [];
  /** False once a write came below a floor that its session had told the shard. */
  floorsHeld = true;
  readonly #floors = new Map<number, number>();
  readonly operations: { op: BatchOp; storeId: number }[] = [];
  trick: Trick = () => null;
  bootstrapped = true;
  /** True: a watch is accepted and stays silent. */
  withholdWatch = false;
  placementTrick: (method: string) => ErrorReply | null = () => null;
  readonly calls = new Map<string, number>();
  readonly #stores = new Map<number, FakePort>();
  readonly #watchers = new Set<ServerWritableStream<WatchRoutesRequest, WatchRoutesResponse>>();
  #placement: Server | null = null;
  #placementPort = 0;
  #routes = new Map<number, ShardRoute>();
  readonly #pageRows: number;
  #nextSession = 9_000;
  readonly #onWatch: (() => void)[] = [];

  private constructor(options: FakeOptions) {
    this.partitioning = options.partitioning ?? Partitioning.HASH;
    this.#pageRows = options.pageRows ?? 1_000;
    const stores = options.stores ?? 3;
    const starts =
      this.partitioning === Partitioning.HASH
        ? hashSplitKeys(options.shards ?? 4)
        : [Buffer.alloc(0), ...(options.splitKeys ?? []).map((k) => Buffer.from(k))];
    starts.forEach((startKey, i) => {
      const shardId = 100 + i;
      const replicas = Array.from({ length: stores }, (_, s) => ({
        replicaId: shardId * 10 + s + 1,
        storeId: s + 1,
        role: ReplicaRole.VOTER,
      }));
      this.shards.set(shardId, {
        shard: {
          shardId,
          keyspaceId,
          partitioning: this.partitioning,
          startKey,
          endKey: starts[i + 1] ?? Buffer.alloc(0),
          epoch: { confVer: 1, version: 1 },
          replicas,
          merge: undefined,
        },
        leaderStoreId: (i % stores) + 1,
        term: 6,
      });
    });
  }

  static async start(options: FakeOptions = {}): Promise<FakeCluster> {
    const cluster = new FakeCluster(options);
    for (let storeId = 1; storeId <= (options.stores ?? 3); storeId++) await cluster.startStore(storeId);
    await cluster.startPlacement();
    cluster.publish();
    return cluster;
  }

  get placement(): string {
    return `127.0.0.1:${this.#placementPort}`;
  }

  shardOf(key: string): FakeShard {
    const encoded = encodeKey(this.partitioning, Buffer.from(key));
    const found = [...this.shards.values()].find((s) => inRange(encoded, s.shard.startKey, s.shard.endKey));
    return must(found, `a shard for ${key}`);
  }

  /** The truth moves on; the placement service does not know until publish(). */
  setLeader(shardId: number, storeId: number): void {
    const shard = must(this.shards.get(shardId), 'the shard');
    shard.leaderStoreId = storeId;
    shard.term++;
  }

  /** Splits a shard at an encoded key; both halves have the next version. */
  split(shardId: number, at: Buffer, newShardId: number): void {
    const left = must(this.shards.get(shardId), 'the shard');
    const epoch = { confVer: left.shard.epoch?.confVer ?? 1, version: (left.shard.epoch?.version ?? 1) + 1 };
    this.shards.set(newShardId, {
      ...left,
      shard: { ...left.shard, shardId: newShardId, startKey: at, epoch },
    });
    left.shard = { ...left.shard, endKey: at, epoch };
    // The session table goes with the keys.
    this.#floors.set(newShardId, this.#floors.get(shardId) ?? 0);
    for (const [name, count] of [...this.applied]) {
      if (name.startsWith(`${shardId}/`)) this.applied.set(`${newShardId}/${name.slice(name.indexOf('/') + 1)}`, count);
    }
  }

  /** Splits at the end of this turn: after the operation that is being served. */
  splitAfterwards(shardId: number, at: Buffer, newShardId: number): void {
    queueMicrotask(() => this.split(shardId, at, newShardId));
  }

  /** The placement service learns the truth and tells everyone who watches. */
  publish(): void {
    this.publishQuietly();
    for (const watcher of this.#watchers) watcher.write(this.#listing());
  }

  /** The placement service learns the truth, and tells it only when asked. */
  publishQuietly(): void {
    this.#routes = new Map(
      [...this.shards].map(([id, { shard, leaderStoreId, term }]) => [
        id,
        { shard, leaderReplicaId: shard.shardId * 10 + leaderStoreId, leaderStoreId, term },
      ]),
    );
  }

  /** Resolves when a client next begins to watch. */
  watching(): Promise<void> {
    return new Promise((resolve) => this.#onWatch.push(resolve));
  }

  #listing(): WatchRoutesResponse {
    const routes = [...this.#routes.values()];
    return { error: undefined, routes, stores: this.#storeList(), initialDone: true, memberList: undefined };
  }

  #storeList(): Store[] {
    return [...this.#stores].map(([storeId, { port }]) => ({
      storeId,
      address: `127.0.0.1:${port}`,
      labels: [],
      state: StoreState.UP,
      capacityBytes: 0,
      usedBytes: 0,
      replicaCount: 0,
      leaderCount: 0,
      version: '',
      engine: '',
      lastHeartbeatAgeMs: 0,
      diskFull: false,
    }));
  }

  async startStore(storeId: number): Promise<void> {
    const before = this.#stores.get(storeId);
    await before?.kill();
    const port = await FakePort.open(before?.port ?? 0, (stream, request) => this.#serve(storeId, stream, request));
    this.#stores.set(storeId, port);
  }

  /** As a kill: every connection breaks, the port refuses. */
  killStore(storeId: number): void {
    void this.#stores.get(storeId)?.kill();
  }

  breakStreams(storeId: number): void {
    this.#stores.get(storeId)?.breakStreams();
  }

  async startPlacement(): Promise<void> {
    const server = new Server();
    server.addService(PlacementService, this.#placementMethods());
    this.#placementPort = await bind(server, this.#placementPort);
    this.#placement = server;
  }

  killPlacement(): void {
    this.#watchers.clear();
    this.#placement?.forceShutdown();
  }

  stop(): void {
    this.killPlacement();
    for (const port of this.#stores.values()) void port.kill();
  }

  #placementMethods(): UntypedServiceImplementation {
    const unary = <Q, R>(name: string, answer: (request: Q) => R) => {
      return (
        call: ServerUnaryCall<Q, R | { error: ErrorReply }>,
        callback: sendUnaryData<R | { error: ErrorReply }>,
      ) => {
        this.calls.set(name, (this.calls.get(name) ?? 0) + 1);
        const error = this.placementTrick(name);
        callback(null, error === null ? answer(call.request) : { ...answer(call.request), error });
      };
    };
    const inOrder = (): ShardRoute[] =>
      [...this.#routes.values()].sort((a, b) =>
        Buffer.compare(a.shard?.startKey ?? Buffer.alloc(0), b.shard?.startKey ?? Buffer.alloc(0)),
      );
    const absent = unary('other', () => ({ error: undefined }));
    return {
      getClusterInfo: unary('getClusterInfo', () => ({
        error: undefined,
        clusterId: this.bootstrapped ? clusterId : 0,
        members: [{ memberId: 1, address: this.placement }],
        leaderId: 1,
        memberId: 1,
      })),
      getKeyspace: unary('getKeyspace', ({ name }: { name: string }) =>
        name === 'default'
          ? {
              error: undefined,
              keyspace: {
                keyspaceId,
                name,
                partitioning: this.partitioning,
                replicaCount: 3,
                state: KeyspaceState.READY,
                initialShards: this.shards.size,
              },
            }
          : {
              keyspace: undefined,
              error: failure(`no keyspace is called ${name}`, {
                $case: 'keyspaceNotFound',
                value: { name, keyspaceId: 0 },
              }),
            },
      ),
      listRoutes: unary('listRoutes', () => ({
        error: undefined,
        routes: inOrder(),
        stores: this.#storeList(),
        more: false,
      })),
      allocateIds: unary('allocateIds', ({ count }: { count: number }) => {
        const firstId = this.#nextSession;
        this.#nextSession += count;
        return { error: undefined, firstId, count };
      }),
      watchRoutes: (call: ServerWritableStream<WatchRoutesRequest, WatchRoutesResponse>) => {
        this.calls.set('watchRoutes', (this.calls.get('watchRoutes') ?? 0) + 1);
        this.#watchers.add(call);
        call.on('cancelled', () => this.#watchers.delete(call));
        if (!this.withholdWatch) call.write(this.#listing());
        for (const resolve of this.#onWatch.splice(0)) resolve();
      },
      bootstrap: absent,
      registerStore: absent,
      lookupRoute: absent,
      getShardById: absent,
      listStoreAddresses: absent,
      storeSession: absent,
    };
  }

  #serve(storeId: number, stream: FakeStream, request: BatchRequest): void {
    const results: BatchResult[] = [];
    let broken = false;
    for (const op of request.ops) {
      this.operations.push({ op, storeId });
      const trick = this.trick(op, storeId);
      if (trick === 'ignore') continue;
      if (trick === 'breakBefore') broken = true;
      else if (trick === 'breakAfter') {
        this.#answer(op, storeId);
        broken = true;
      } else if (trick !== null) results.push({ id: op.id, result: { $case: 'error', value: trick } });
      else results.push({ id: op.id, result: this.#answer(op, storeId) });
    }
    if (broken) stream.break();
    else if (results.length > 0) stream.answer(results);
  }

  /** As a store does: shard, leader, epoch, range, then the operation. */
  #answer(op: BatchOp, storeId: number): Result {
    const held = this.shards.get(op.shardId);
    if (held === undefined || !held.shard.replicas.some((r) => r.storeId === storeId)) {
      return errorResult('not here', { $case: 'shardNotFound', value: { shardId: op.shardId } });
    }
    const { shard, leaderStoreId, term } = held;
    if (leaderStoreId !== storeId && op.consistency <= 1) {
      const leaderReplicaId = leaderStoreId === 0 ? 0 : shard.shardId * 10 + leaderStoreId;
      return errorResult('not the leader', {
        $case: 'notLeader',
        value: { shardId: shard.shardId, leaderReplicaId, leaderStoreId, term },
      });
    }
    if (op.confVer !== shard.epoch?.confVer || op.version !== shard.epoch.version) {
      const currentShards = [...this.shards.values()].map((s) => s.shard);
      return errorResult('old epoch', { $case: 'epochNotMatch', value: { currentShards } });
    }
    return this.#execute(op, shard);
  }

  #execute(op: BatchOp, shard: Shard): Result {
    const kind = op.op;
    switch (kind?.$case) {
      case 'write':
        return this.#write(kind.value, shard, op);
      case 'get':
        return { $case: 'get', value: { value: this.#read(kind.value) } };
      case 'exists':
        return { $case: 'exists', value: this.#read(kind.value) !== undefined };
      case 'batchGet': {
        const rows = kind.value.keys.flatMap((key) => {
          const value = this.#read(key);
          return value === undefined ? [] : [{ key, value }];
        });
        return { $case: 'rows', value: { rows, more: false, nextKey: Buffer.alloc(0) } };
      }
      case 'scan':
        return this.#scan(kind.value, shard);
      case undefined:
        return errorResult('no operation', { $case: 'invalidArgument', value: { field: 'op', reason: 'EMPTY' } });
    }
  }

  #read(key: Uint8Array): Buffer | undefined {
    return this.values.get(this.#name(key));
  }

  #name(key: Uint8Array): string {
    return encodeKey(this.partitioning, Buffer.from(key)).toString('latin1');
  }

  #write(command: WriteCommand, shard: Shard, op: BatchOp): Result {
    const name = `${shard.shardId}/${command.sessionId}/${command.sequence}`;
    const storeId = must(this.operations.at(-1), 'the operation').storeId;
    const seen = { command, storeId, shardId: op.shardId, tookEffect: false };
    this.writes.push(seen);
    const floor = this.#floors.get(op.shardId) ?? 0;
    if (command.sequence < floor) this.floorsHeld = false;
    this.#floors.set(op.shardId, Math.max(floor, command.ackedBelow));
    for (const { key } of command.mutations) {
      if (!inRange(encodeKey(this.partitioning, Buffer.from(key)), shard.startKey, shard.endKey)) {
        return errorResult('outside', {
          $case: 'keyNotInShard',
          value: { shardId: shard.shardId, key, startKey: shard.startKey, endKey: shard.endKey },
        });
      }
    }
    if (this.applied.has(name)) return { $case: 'write', value: { applied: true } };
    for (const { key, op: change } of command.mutations) {
      if (change?.$case !== 'compareAndSwap') continue;
      const current = this.#read(key);
      const { expected } = change.value;
      const asExpected = expected === undefined ? current === undefined : current?.equals(expected) === true;
      if (!asExpected) return { $case: 'write', value: { applied: false, current } };
    }
    seen.tookEffect = true;
    this.applied.set(name, (this.applied.get(name) ?? 0) + 1);
    for (const { key, op: change } of command.mutations) {
      const value =
        change?.$case === 'set' ? change.value : change?.$case === 'compareAndSwap' ? change.value.value : undefined;
      if (value === undefined) this.values.delete(this.#name(key));
      else this.values.set(this.#name(key), Buffer.from(value));
    }
    return { $case: 'write', value: { applied: true } };
  }

  #scan(
    scan: { startKey: Uint8Array; endKey: Uint8Array; limit: number; reverse: boolean; prefix: Uint8Array },
    shard: Shard,
  ): Result {
    const tokenBytes = this.partitioning === Partitioning.HASH ? 2 : 0;
    const all = [...this.values]
      .map(([name, value]) => ({ encoded: Buffer.from(name, 'latin1'), value }))
      .filter(({ encoded }) => inRange(encoded, shard.startKey, shard.endKey))
      .filter(({ encoded }) => inRange(encoded, scan.startKey, scan.endKey))
      .filter(({ encoded }) => encoded.subarray(tokenBytes, tokenBytes + scan.prefix.length).equals(scan.prefix))
      .sort((a, b) => a.encoded.compare(b.encoded));
    if (scan.reverse) all.reverse();
    const limit = Math.min(this.#pageRows, scan.limit === 0 ? Infinity : scan.limit);
    const page = all.slice(0, limit);
    const next = scan.reverse ? page.at(-1)?.encoded : all[limit]?.encoded;
    const more = all.length > limit && next !== undefined;
    return {
      $case: 'rows',
      value: {
        rows: page.map(({ encoded, value }) => ({ key: encoded.subarray(tokenBytes), value })),
        more,
        nextKey: more ? next : Buffer.alloc(0),
      },
    };
  }
}

export function failure(message: string, detail: NonNullable<ErrorReply['detail']>): ErrorReply {
  return { message, detail };
}

function errorResult(message: string, detail: NonNullable<ErrorReply['detail']>): Result {
  return { $case: 'error', value: failure(message, detail) };
}

function bind(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
}
