import { request } from 'node:http';
import { join } from 'node:path';
import type { ServiceError } from '@grpc/grpc-js';
import { credentials } from '@grpc/grpc-js';
import t from 'tap';
import { resolveConfig } from '../../src/base/config_schema.js';
import { partitioningHash } from '../../src/base/encoded_key.js';
import { silentLogger } from '../../src/base/logger.js';
import { failedPrecondition } from '../../src/base/wire_errors.js';
import { KvClient, RequestHeader } from '../../src/gen/skerry/v1/kv.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole, Shard as ShardMessage } from '../../src/gen/skerry/v1/meta.js';
import type { PlacementServer, RegisterStoreRequest, StoreSessionRequest } from '../../src/gen/skerry/v1/placement.js';
import { PlacementService, StoreSessionResponse } from '../../src/gen/skerry/v1/placement.js';
import type { GrpcServer } from '../../src/transport/grpc_server.js';
import { AddressInUseError, startGrpcServer } from '../../src/transport/grpc_server.js';
import { encodeBatchRequest, decodeBatchResponse, OpKind, ResultKind } from '../../src/wire/kv_codec.js';
import { DataDirectoryError } from '../../store/data_directory.js';
import { PlacementRefusal } from '../../store/placement_members.js';
import type { StoreConfig } from '../../store/store_config.js';
import { storeConfigSchema } from '../../store/store_config.js';
import { StoreServer } from '../../store/store_server.js';

const clusterId = 4711;

/** A placement member over real gRPC that knows one keyspace of one shard, on the one store that registers. */
class PlacementStub {
  readonly registrations: RegisterStoreRequest[] = [];
  readonly frames: StoreSessionRequest[] = [];
  refuse = false;
  private server: GrpcServer | null = null;
  private frameSeen: () => void = () => undefined;

  get address(): string {
    return `127.0.0.1:${this.server?.port ?? 0}`;
  }

  async start(): Promise<void> {
    const implementation: Partial<PlacementServer> = {
      bootstrap: (_call, callback) => callback(null, { error: undefined, clusterId }),
      registerStore: (call, callback) => {
        this.registrations.push(call.request);
        const error = this.refuse ? failedPrecondition('STORE_TOMBSTONE') : undefined;
        callback(null, { error, clusterId, storeId: 1 });
      },
      storeSession: (call) => {
        const { shard } = this;
        const value = { shards: [shard], firstLeaders: [shard.replicas[0]?.replicaId ?? 0] };
        const commands = [{ commandId: 1, command: { $case: 'createShards' as const, value } }];
        call.write({ ...StoreSessionResponse.create(), commands });
        call.on('data', (frame: StoreSessionRequest) => {
          this.frames.push(frame);
          this.frameSeen();
        });
        call.on('end', () => call.end());
      },
    };
    this.server = await startGrpcServer({
      address: '127.0.0.1:0',
      services: [{ definition: PlacementService, implementation: implementation as PlacementServer }],
      serviceNames: ['skerry.v1.Placement'],
      closeGraceMs: 10,
    });
  }

  /** Waits until a frame from the store fits. */
  async heard(fits: (frame: StoreSessionRequest) => boolean): Promise<void> {
    while (!this.frames.some(fits)) await new Promise<void>((resolve) => (this.frameSeen = resolve));
  }

  async close(): Promise<void> {
    await this.server?.close();
  }

  private get shard(): Shard {
    const replicas = [{ replicaId: 11, storeId: 1, role: ReplicaRole.VOTER }];
    const epoch = { confVer: 1, version: 1 };
    return { ...ShardMessage.create(), shardId: 5, keyspaceId: 2, partitioning: partitioningHash, epoch, replicas };
  }
}

function configOf(values: Record<string, unknown>): StoreConfig {
  const source = { values: new Map(Object.entries(values)), describe: () => 'test' };
  return resolveConfig(storeConfigSchema, [source]);
}

async function startStore(
  placement: PlacementStub,
  dataDir: string,
  extra: Record<string, unknown> = {},
): Promise<{ server: StoreServer; fatals: Error[] }> {
  const fatals: Error[] = [];
  const values = {
    placement: [placement.address],
    data_dir: dataDir,
    disk_reserve_bytes: 0,
    'raft.tick_ms': 20,
    ...extra,
  };
  const server = new StoreServer({
    config: configOf(values),
    logger: silentLogger,
    fatal: (error) => void fatals.push(error),
  });
  await server.start();
  return { server, fatals };
}

const header = RequestHeader.fromPartial({ clusterId, keyspaceId: 2 });

function call<T>(start: (done: (error: ServiceError | null, response: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    start((error, response) => (error === null ? resolve(response) : reject(error))),
  );
}

function httpGet(address: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request(`http://${address}${path}`, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .on('error', reject)
      .end();
  });
}

t.test(
  'a store registers, makes its shard, serves unary and batch calls, and has it all after a restart',
  async (t) => {
    const placement = new PlacementStub();
    await placement.start();
    t.teardown(() => placement.close());
    const dataDir = join(t.testdir(), 'store');
    const first = await startStore(placement, dataDir);
    t.match(placement.registrations[0], { clusterId, storeId: 0, address: first.server.address, engine: 'rocksdb' });
    await placement.heard((frame) => frame.shards.some((report) => report.shard?.shardId === 5));
    const client = new KvClient(first.server.address, credentials.createInsecure());
    const key = Buffer.from('a');
    t.match(await call((done) => client.set({ header, key, value: Buffer.from('1') }, done)), { error: undefined });
    t.match(await call((done) => client.get({ header, key }, done)), { value: Buffer.from('1') });
    t.match(await call((done) => client.exists({ header, key }, done)), { exists: true });
    const swap = { header, key, expected: Buffer.from('1'), value: Buffer.from('2') };
    t.match(await call((done) => client.compareAndSwap(swap, done)), { swapped: true });
    t.match(await call((done) => client.compareAndSwap(swap, done)), { swapped: false, current: Buffer.from('2') });
    const mutations = [{ key: Buffer.from('a'), op: { $case: 'delete' as const, value: true } }];
    t.match(await call((done) => client.batchWrite({ header, mutations }, done)), { error: undefined });
    t.match(await call((done) => client.get({ header, key }, done)), { value: undefined });
    await call((done) => client.set({ header, key, value: Buffer.from('3') }, done));
    t.match(await call((done) => client.batchGet({ header, keys: [key, Buffer.from('a')] }, done)), { rows: [{}, {}] });
    const scan = {
      header,
      startKey: key,
      endKey: key,
      limit: 0,
      reverse: false,
      keysOnly: false,
      prefix: Buffer.alloc(0),
    };
    t.match(await call((done) => client.scan({ ...scan, startKey: Buffer.alloc(0), endKey: Buffer.alloc(0) }, done)), {
      rows: [{ key, value: Buffer.from('3') }],
      more: false,
    });
    const refused = { ...header, clusterId: 0 };
    t.match(await call((done) => client.get({ header: refused, key }, done)), {
      error: { detail: { $case: 'clusterMismatch' } },
    });
    const elsewhere = { ...header, storeId: 9 };
    t.match(await call((done) => client.get({ header: elsewhere, key }, done)), {
      error: { detail: { $case: 'storeNotMatch' } },
    });
    t.same(
      (await batch(client, key)).map((r) => r.kind),
      [ResultKind.get],
    );
    const metrics = await httpGet(first.server.metricsAddress, '/metrics');
    t.match(metrics, { status: 200, body: /^skerry_leaders 1$/m });
    t.equal((await httpGet(first.server.metricsAddress, '/else')).status, 404);
    client.close();
    await first.server.close();
    const second = await startStore(placement, dataDir);
    t.match(second.server, { storeId: 1, clusterId });
    await placement.heard((frame) => frame.held.some((held) => held.shardId === 5));
    const again = new KvClient(second.server.address, credentials.createInsecure());
    await placement.heard((frame) => (frame.store?.incarnation ?? 0) === 2 && (frame.store?.leaderCount ?? 0) === 1);
    t.match(await call((done) => again.get({ header, key }, done)), { value: Buffer.from('3') });
    again.close();
    await second.server.close();
    t.same([...first.fatals, ...second.fatals], []);
  },
);

/** One Get over the batch stream, as raw frames, ended by the client before the answer. */
function batch(client: KvClient, key: Buffer): Promise<ReturnType<typeof decodeBatchResponse>> {
  const asIs = (bytes: Buffer): Buffer => bytes;
  const stream = client.makeBidiStreamRequest('/skerry.v1.Kv/Batch', asIs, asIs);
  const op = { id: 9, shardId: 5, confVer: 1, version: 1, timeoutMs: 0, consistency: 0, allowForward: false };
  return new Promise((resolve, reject) => {
    const results: ReturnType<typeof decodeBatchResponse> = [];
    stream.on('data', (frame: Buffer) => results.push(...decodeBatchResponse(frame)));
    stream.on('end', () => resolve(results));
    stream.on('error', reject);
    stream.write(encodeBatchRequest(clusterId, 1, [{ ...op, kind: OpKind.get, body: key }]));
    stream.end();
  });
}

t.test('a directory in use, an address in use and a refusal by placement are told apart', async (t) => {
  const placement = new PlacementStub();
  await placement.start();
  t.teardown(() => placement.close());
  const root = t.testdir();
  const dataDir = join(root, 'store');
  const { server, fatals } = await startStore(placement, dataDir);
  await t.rejects(startStore(placement, dataDir), DataDirectoryError);
  const other = join(root, 'other');
  await t.rejects(startStore(placement, other, { address: server.address }), AddressInUseError);
  await server.close();
  placement.refuse = true;
  await t.rejects(startStore(placement, join(root, 'third')), PlacementRefusal);
  t.same(fatals, []);
  const known = await startStore(placement, dataDir);
  await placement.heard((frame) => (frame.store?.incarnation ?? 0) === 2);
  while (known.fatals.length === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  t.match(known.fatals[0], { name: 'DataDirectoryError', message: /placement refuses this store: STORE_TOMBSTONE/ });
  await known.server.close();
});

t.test('a store that waits for placement can be stopped', async (t) => {
  const dataDir = join(t.testdir(), 'store');
  const values = { placement: ['127.0.0.1:1'], data_dir: dataDir };
  const server = new StoreServer({
    config: configOf(values),
    logger: silentLogger,
    fatal: (error) => t.fail(error.message),
  });
  const starting = server.start();
  await new Promise<void>((resolve) => setImmediate(resolve));
  await server.close();
  await t.rejects(starting, /the store is stopping/);
});
