import t from 'tap';
import { AdminService } from '../../src/gen/skerry/v1/admin.js';
import { GetShardByIdRequest, PlacementService } from '../../src/gen/skerry/v1/placement.js';
import type { Test } from 'tap';
import { hashSplitKeys } from '../../src/base/encoded_key.js';
import type { TypedError } from '../../src/base/wire_errors.js';
import type { CreateKeyspaceRequest } from '../../src/gen/skerry/v1/admin.js';
import { KeyspaceState, Partitioning, StoreState } from '../../src/gen/skerry/v1/meta.js';
import type { WatchRoutesResponse } from '../../src/gen/skerry/v1/placement.js';
import { OperatorState } from '../../src/gen/skerry/v1/admin.js';
import type { RunningMember } from './support/running_members.js';
import { call, startMember, until } from './support/running_members.js';
import { ScriptedStore, newWorld } from './support/scripted_stores.js';

// A guard against hanging, not a measurement: the machine may be busy.
t.setTimeout(280_000);

interface Stage {
  readonly member: RunningMember;
  readonly clusterId: number;
  readonly stores: ScriptedStore[];
}

// The root's, because a test's own directory goes before its teardown runs.
const directory = t.testdir();
let directories = 0;
function freshDirectory(): string {
  return `${directory}/${directories++}`;
}

/** Many heartbeats of a scripted store (50 ms), so that one that a busy machine holds up is not taken for silent. */
const silence = { storeDisconnectMs: 1_500, storeDownMs: 3_000 };

async function stage(t: Test, storeCount: number, settings: Record<string, unknown> = {}): Promise<Stage> {
  const member = await startMember(freshDirectory(), 1, undefined, settings);
  const clusterId = member.server.clusterId;
  const world = newWorld();
  const stores: ScriptedStore[] = [];
  t.teardown(async () => {
    for (const store of stores) store.disconnect();
    await member.stop();
    const fatal = member.fatal[0];
    if (fatal !== undefined) throw fatal;
  });
  for (let i = 1; i <= storeCount; i++) {
    const store = await ScriptedStore.register(world, member.placement, clusterId, `store-${i}`);
    store.connect(member.placement);
    stores.push(store);
  }
  return { member, clusterId, stores };
}

function wish(clusterId: number, name: string, shards = 4): CreateKeyspaceRequest {
  return {
    clusterId,
    name,
    partitioning: Partitioning.HASH,
    shards,
    splitKeys: [],
    replicaCount: 0,
    wait: true,
    policy: undefined,
    plan: false,
  };
}

function askById(clusterId: number, shardId: number): GetShardByIdRequest {
  return { ...GetShardByIdRequest.create(), clusterId, shardId };
}

function reasonOf(error: TypedError | undefined): string {
  const detail = error?.detail;
  if (detail === undefined) return 'none';
  return 'reason' in detail.value ? `${detail.$case} ${detail.value.reason}` : detail.$case;
}

t.test('a single member bootstraps itself and names the cluster', async (t) => {
  const { member, clusterId } = await stage(t, 0);
  const info = await call(member.placement, PlacementService.getClusterInfo, {});
  t.equal(info.clusterId, clusterId);
  t.ok(clusterId > 0);
  t.equal(info.leaderId, 1);
  t.same(info.members, [{ memberId: 1, address: member.server.address }]);
  const again = await call(member.placement, PlacementService.bootstrap, {});
  t.equal(again.clusterId, clusterId, 'bootstrap is idempotent');
});

t.test('a store finds its id again by its directory, and a foreign directory is refused', async (t) => {
  const { member, clusterId } = await stage(t, 0);
  const { placement } = member;
  const request = { clusterId, storeId: 0, address: 'a:1', labels: [], version: '', engine: '', directoryId: 'd1' };
  const first = await call(placement, PlacementService.registerStore, request);
  t.equal(first.storeId, 1);
  t.equal((await call(placement, PlacementService.registerStore, { ...request, address: 'a:2' })).storeId, 1);
  const other = await call(placement, PlacementService.registerStore, { ...request, storeId: 1, directoryId: 'd2' });
  t.equal(reasonOf(other.error), 'failedPrecondition DIRECTORY_MISMATCH');
  const unknown = await call(placement, PlacementService.registerStore, { ...request, storeId: 9 });
  t.equal(reasonOf(unknown.error), 'storeNotFound');
  const nowhere = await call(placement, PlacementService.registerStore, { ...request, address: '' });
  t.equal(reasonOf(nowhere.error), 'invalidArgument ADDRESS_EMPTY');
  const stores = await call(placement, PlacementService.listStoreAddresses, { clusterId });
  t.same(
    stores.stores.map((s) => s.address),
    ['a:2'],
  );
});

t.test('a created keyspace has every shard on three stores with leaders spread evenly', async (t) => {
  const { member, clusterId, stores } = await stage(t, 3);
  const created = await call(member.admin, AdminService.createKeyspace, wish(clusterId, 'orders', 64));
  t.equal(created.error, undefined);
  t.equal(created.keyspace?.state, KeyspaceState.READY);
  const keyspaceId = created.keyspace?.keyspaceId ?? 0;
  const { routes, more } = await call(member.placement, PlacementService.listRoutes, {
    clusterId,
    keyspaceId,
    startKey: Buffer.alloc(0),
    endKey: Buffer.alloc(0),
    limit: 0,
  });
  t.equal(more, false);
  t.same(
    routes.map((r) => Buffer.from(r.shard?.startKey ?? [])),
    hashSplitKeys(64),
    'the shards cover all slots in order',
  );
  for (const store of stores) {
    const led = routes.filter((r) => r.leaderStoreId === store.storeId).length;
    t.ok(led === 21 || led === 22, `store ${store.storeId} leads ${led} of 64`);
  }
  const found = await call(member.placement, PlacementService.getKeyspace, { clusterId, name: 'orders' });
  t.equal(found.keyspace?.keyspaceId, keyspaceId);
  const encodedKey = Buffer.from([0xff, 0xff, 1]);
  const route = await call(member.placement, PlacementService.lookupRoute, { clusterId, keyspaceId, encodedKey });
  t.same(route.route?.shard?.shardId, routes.at(-1)?.shard?.shardId);
  t.equal(route.stores.length, 3, 'with the addresses of its stores');
  const shardId = routes[0]?.shard?.shardId ?? 0;
  const byId = await call(member.placement, PlacementService.getShardById, askById(clusterId, shardId));
  t.equal(byId.route?.shard?.shardId, shardId);
});

t.test('routes are listed a page at a time', async (t) => {
  const { member, clusterId } = await stage(t, 3);
  const { keyspace } = await call(member.admin, AdminService.createKeyspace, wish(clusterId, 'paged', 10));
  const keyspaceId = keyspace?.keyspaceId ?? 0;
  const starts: string[] = [];
  let startKey: Uint8Array = Buffer.alloc(0);
  for (;;) {
    const request = { clusterId, keyspaceId, startKey, endKey: Buffer.alloc(0), limit: 4 };
    const page = await call(member.placement, PlacementService.listRoutes, request);
    starts.push(...page.routes.map((r) => Buffer.from(r.shard?.startKey ?? []).toString('hex')));
    if (!page.more) break;
    startKey = page.routes.at(-1)?.shard?.endKey ?? Buffer.alloc(0);
  }
  t.same(
    starts,
    hashSplitKeys(10).map((key) => key.toString('hex')),
  );
});

t.test('a range keyspace begins with the split keys given, sorted', async (t) => {
  const { member, clusterId } = await stage(t, 1);
  const created = await call(member.admin, AdminService.createKeyspace, {
    ...wish(clusterId, 'names', 0),
    partitioning: Partitioning.RANGE,
    splitKeys: [Buffer.from('m'), Buffer.from('f')],
    replicaCount: 1,
  });
  t.equal(created.error, undefined);
  t.equal(created.keyspace?.initialShards, 3);
  const { shards } = await call(member.admin, AdminService.listShards, {
    clusterId,
    keyspace: 'names',
    storeId: 0,
    afterShardId: 0,
    limit: 0,
  });
  t.same(
    shards.map((s) => Buffer.from(s.route?.shard?.startKey ?? []).toString()),
    ['', 'f', 'm'],
  );
});

t.test('bad requests are refused with a typed error that names the cure', async (t) => {
  const { member, clusterId } = await stage(t, 1);
  const { admin, placement } = member;
  const create = async (part: Partial<CreateKeyspaceRequest>): Promise<string> =>
    reasonOf((await call(admin, AdminService.createKeyspace, { ...wish(clusterId, 'x'), ...part })).error);
  t.equal(await create({ clusterId: 0 }), 'clusterMismatch');
  t.equal(await create({ clusterId: clusterId + 1 }), 'clusterMismatch');
  t.equal(await create({ name: '' }), 'invalidArgument NAME_EMPTY');
  t.equal(await create({ name: 'x'.repeat(129) }), 'invalidArgument NAME_TOO_LONG');
  t.equal(await create({ name: 'a b' }), 'invalidArgument NAME_INVALID');
  t.equal(await create({ shards: 16_385 }), 'invalidArgument SHARDS_OUT_OF_RANGE');
  t.equal(await create({ replicaCount: 8 }), 'invalidArgument REPLICA_COUNT_OUT_OF_RANGE');
  t.equal(await create({ splitKeys: [Buffer.from('a')] }), 'invalidArgument SPLIT_KEYS_NOT_ALLOWED');
  const range = { partitioning: Partitioning.RANGE, shards: 0 };
  t.equal(
    await create({ ...range, splitKeys: [Buffer.from('a'), Buffer.from('a')] }),
    'invalidArgument SPLIT_KEY_TWICE',
  );
  t.equal(await create({ ...range, splitKeys: [Buffer.alloc(0)] }), 'invalidArgument KEY_EMPTY');
  t.equal(await create({ ...range, splitKeys: [Buffer.alloc(5000)] }), 'invalidArgument KEY_TOO_LARGE');
  t.equal(await create({ replicaCount: 3 }), 'failedPrecondition TOO_FEW_STORES');
  t.equal(await create({ name: 'once', replicaCount: 1 }), 'none');
  t.equal(await create({ name: 'once', replicaCount: 1 }), 'alreadyExists');
  t.equal(
    reasonOf((await call(placement, PlacementService.getKeyspace, { clusterId, name: 'none' })).error),
    'keyspaceNotFound',
  );
  t.equal(
    reasonOf((await call(placement, PlacementService.getShardById, askById(clusterId, 99))).error),
    'shardNotFound',
  );
  const lookup = { clusterId, keyspaceId: 99, encodedKey: Buffer.alloc(2) };
  t.equal(reasonOf((await call(placement, PlacementService.lookupRoute, lookup)).error), 'keyspaceNotFound');
  t.equal(reasonOf((await call(admin, AdminService.getShard, { clusterId, shardId: 99 })).error), 'shardNotFound');
  t.equal(
    reasonOf(
      (await call(admin, AdminService.drainStore, { clusterId, storeId: 99, cancel: false, leadersOnly: false })).error,
    ),
    'storeNotFound',
  );
  t.equal(
    reasonOf((await call(admin, AdminService.cancelOperator, { clusterId, operatorId: 99, wait: false })).error),
    'operatorNotFound',
  );
  t.equal(
    reasonOf((await call(placement, PlacementService.allocateIds, { clusterId, count: 0 })).error),
    'invalidArgument COUNT_OUT_OF_RANGE',
  );
  const drain = { clusterId, storeId: 1, cancel: false, leadersOnly: false };
  t.equal(reasonOf((await call(admin, AdminService.drainStore, drain)).error), 'failedPrecondition TOO_FEW_STORES');
});

t.test('a store session of a stranger is refused', async (t) => {
  const { member, clusterId, stores } = await stage(t, 1);
  const foreign = new Promise<WatchOrSession>((resolve) => {
    const stream = member.placement.storeSession();
    stream.on('data', resolve);
    stream.write({
      clusterId,
      storeId: 77,
      store: undefined,
      shards: [],
      noLongerLed: [],
      results: [],
      held: [],
      checksums: [],
      surveys: [],
    });
  });
  t.equal(reasonOf((await foreign).error), 'storeNotFound');
  t.equal(stores[0]?.ended, false, 'others go on');
});
interface WatchOrSession {
  readonly error: TypedError | undefined;
}

t.test('operators of people run to their end, and the shard keeps what they asked for', async (t) => {
  const { member, clusterId } = await stage(t, 4, { balance: false });
  const { admin } = member;
  await call(admin, AdminService.createKeyspace, wish(clusterId, 'moves', 1));
  const listing = { clusterId, keyspace: 'moves', storeId: 0, afterShardId: 0, limit: 0 };
  const shard = async () => (await call(admin, AdminService.listShards, listing)).shards[0];
  const holders = async () =>
    ((await shard())?.route?.shard?.replicas ?? []).map((r) => r.storeId).sort((a, b) => a - b);
  const shardId = (await shard())?.route?.shard?.shardId ?? 0;
  const before = await holders();
  const free = [1, 2, 3, 4].find((id) => !before.includes(id)) ?? 0;
  const leader = (await shard())?.route?.leaderStoreId ?? 0;

  const added = await call(admin, AdminService.addReplica, {
    clusterId,
    shardId,
    storeId: free,
    learner: false,
    wait: true,
  });
  t.equal(added.error, undefined);
  t.equal(added.operator?.state, OperatorState.SUCCESS);
  t.same(await holders(), [1, 2, 3, 4]);

  const removed = await call(admin, AdminService.removeReplica, { clusterId, shardId, storeId: leader, wait: true });
  t.equal(removed.operator?.state, OperatorState.SUCCESS);
  t.same(
    await holders(),
    [1, 2, 3, 4].filter((id) => id !== leader),
    'the leader handed over and left',
  );

  const now = (await shard())?.route?.leaderStoreId ?? 0;
  const moved = await call(admin, AdminService.moveReplica, {
    clusterId,
    shardId,
    fromStoreId: now,
    toStoreId: leader,
    wait: true,
  });
  t.equal(moved.operator?.state, OperatorState.SUCCESS);
  t.same(
    await holders(),
    [1, 2, 3, 4].filter((id) => id !== now),
  );
  const heir = (await holders()).find((id) => id !== leader) ?? 0;
  const transferred = await call(admin, AdminService.transferLeader, { clusterId, shardId, storeId: heir, wait: true });
  t.equal(transferred.operator?.state, OperatorState.SUCCESS);
  t.equal((await shard())?.route?.leaderStoreId, heir);

  const learner = await call(admin, AdminService.addReplica, {
    clusterId,
    shardId,
    storeId: now,
    learner: true,
    wait: true,
  });
  t.equal(learner.operator?.state, OperatorState.SUCCESS);
  const promoted = await call(admin, AdminService.promoteLearner, { clusterId, shardId, storeId: now, wait: true });
  t.equal(promoted.operator?.state, OperatorState.SUCCESS);
  t.same(await holders(), [1, 2, 3, 4]);
  const twice = await call(admin, AdminService.addReplica, {
    clusterId,
    shardId,
    storeId: now,
    learner: false,
    wait: true,
  });
  t.equal(reasonOf(twice.error), 'alreadyExists');
  const { operators } = await call(admin, AdminService.listOperators, { clusterId, history: true, shardId: 0 });
  t.same(
    operators.map((o) => o.kind),
    ['add-replica', 'remove-replica', 'move-replica', 'transfer-leader', 'add-learner', 'promote-learner'],
    'no checker undid any of it',
  );
});

t.test('a split makes two shards with ids of their own', async (t) => {
  const { member, clusterId } = await stage(t, 3);
  const { admin } = member;
  await call(admin, AdminService.createKeyspace, wish(clusterId, 'halves', 1));
  const listing = { clusterId, keyspace: 'halves', storeId: 0, afterShardId: 0, limit: 0 };
  const shardId = (await call(admin, AdminService.listShards, listing)).shards[0]?.route?.shard?.shardId ?? 0;
  const bad = await call(admin, AdminService.splitShard, {
    clusterId,
    shardId,
    splitKey: Buffer.from([1, 1]),
    wait: true,
  });
  t.equal(reasonOf(bad.error), 'invalidArgument NOT_A_SLOT');
  const split = await call(admin, AdminService.splitShard, {
    clusterId,
    shardId,
    splitKey: Buffer.from([128, 0]),
    wait: true,
  });
  t.equal(split.operator?.state, OperatorState.SUCCESS);
  await until(
    'both halves are known',
    async () => (await call(admin, AdminService.listShards, listing)).shards.length === 2,
  );
  const { shards } = await call(admin, AdminService.listShards, listing);
  const ids = shards.flatMap((s) => s.route?.shard?.replicas.map((r) => r.replicaId) ?? []);
  t.equal(new Set(ids).size, 6, 'no replica id is used twice');
  t.same(
    shards.map((s) => s.route?.shard?.epoch?.version),
    [2, 2],
  );
  const keyspaceId = shards[0]?.route?.shard?.keyspaceId ?? 0;
  const encodedKey = Buffer.from([200, 0]);
  const upper = await call(member.placement, PlacementService.lookupRoute, { clusterId, keyspaceId, encodedKey });
  t.not(upper.route?.shard?.shardId, shardId, 'the new shard is the right half');
  const lower = await call(member.placement, PlacementService.lookupRoute, {
    clusterId,
    keyspaceId,
    encodedKey: Buffer.from([1, 0]),
  });
  t.equal(lower.route?.shard?.shardId, shardId);
});

t.test('an operator whose command is not carried out can be canceled', async (t) => {
  const { member, clusterId, stores } = await stage(t, 4, { balance: false });
  const { admin } = member;
  await call(admin, AdminService.createKeyspace, wish(clusterId, 'stuck', 1));
  for (const store of stores) store.ignored.add('changeReplicas');
  const listing = { clusterId, keyspace: 'stuck', storeId: 0, afterShardId: 0, limit: 0 };
  const { route } = (await call(admin, AdminService.listShards, listing)).shards[0] ?? {};
  const shardId = route?.shard?.shardId ?? 0;
  const free = [1, 2, 3, 4].find((id) => route?.shard?.replicas.every((r) => r.storeId !== id)) ?? 0;
  const request = { clusterId, shardId, storeId: free, learner: false, wait: false };
  const added = await call(admin, AdminService.addReplica, request);
  t.equal(added.operator?.state, OperatorState.RUNNING);
  const second = await call(admin, AdminService.addReplica, request);
  t.equal(reasonOf(second.error), 'failedPrecondition OPERATOR_RUNNING');
  const { operatorId = 0 } = added.operator ?? {};
  const waiting = call(admin, AdminService.cancelOperator, { clusterId, operatorId, wait: true });
  t.equal((await waiting).operator?.state, OperatorState.CANCELED);
  for (const store of stores) store.ignored.delete('changeReplicas');
  // In between a checker may have begun to fulfil the target; what it added is removed again.
  await until('nothing runs and the shard has as many replicas as before', async () => {
    const { operators } = await call(admin, AdminService.listOperators, { clusterId, history: false, shardId: 0 });
    const { shard } = await call(admin, AdminService.getShard, { clusterId, shardId });
    return operators.length === 0 && shard?.route?.shard?.replicas.length === 3;
  });
});

t.test('watchers get all routes first, and then each change', async (t) => {
  const { member, clusterId } = await stage(t, 3, { balance: false });
  const { keyspace } = await call(member.admin, AdminService.createKeyspace, wish(clusterId, 'seen', 8));
  const keyspaceId = keyspace?.keyspaceId ?? 0;
  await call(member.admin, AdminService.createKeyspace, wish(clusterId, 'other', 8));
  const stream = member.placement.watchRoutes({ clusterId, keyspaceId });
  const frames: WatchRoutesResponse[] = [];
  stream.on('data', (frame: WatchRoutesResponse) => void frames.push(frame));
  stream.on('error', () => undefined);
  t.teardown(() => stream.cancel());
  await until('the listing is complete', () => frames.some((f) => f.initialDone));
  const routes = frames.flatMap((f) => f.routes);
  t.equal(routes.length, 8, 'those of its keyspace');
  t.equal(frames.flatMap((f) => f.stores).length, 3);
  const { shard, leaderStoreId } = routes[0] ?? {};
  const shardId = shard?.shardId ?? 0;
  const storeId = shard?.replicas.find((r) => r.storeId !== leaderStoreId)?.storeId ?? 0;
  const seen = frames.length;
  await call(member.admin, AdminService.transferLeader, { clusterId, shardId, storeId, wait: true });
  const news = (): WatchRoutesResponse['routes'] => frames.slice(seen).flatMap((f) => f.routes);
  await until('the new leader is told', () => news().some((r) => r.leaderStoreId === storeId));
  t.ok(
    news().every((r) => r.shard?.shardId === shardId),
    'and nothing else',
  );
});

t.test('a store that holds a removed replica is told to destroy it', async (t) => {
  const { member, clusterId, stores } = await stage(t, 4, { balance: false });
  const { admin } = member;
  await call(admin, AdminService.createKeyspace, wish(clusterId, 'gone', 1));
  const listing = { clusterId, keyspace: 'gone', storeId: 0, afterShardId: 0, limit: 0 };
  const { route } = (await call(admin, AdminService.listShards, listing)).shards[0] ?? {};
  const shard = route?.shard;
  const victim = shard?.replicas.find((r) => r.storeId !== route?.leaderStoreId);
  const free = [1, 2, 3, 4].find((id) => shard?.replicas.every((r) => r.storeId !== id)) ?? 0;
  await call(admin, AdminService.moveReplica, {
    clusterId,
    shardId: shard?.shardId ?? 0,
    fromStoreId: victim?.storeId ?? 0,
    toStoreId: free,
    wait: true,
  });
  const store = stores.find((s) => s.storeId === victim?.storeId);
  if (store === undefined || shard === undefined || victim === undefined) throw new Error('no victim');
  store.connect(member.placement, [{ shardId: shard.shardId, replicaId: victim.replicaId, epoch: shard.epoch }]);
  await until('it is told', () => store.commands.some((c) => c.command?.$case === 'destroyReplica'));
  const told = store.commands.map((c) => c.command).find((c) => c?.$case === 'destroyReplica');
  t.match(told?.value, { shardId: shard.shardId, replicaId: victim.replicaId });
});

t.test('a silent store is disconnected, then down, and the status says so', async (t) => {
  const { member, clusterId, stores } = await stage(t, 3, silence);
  await call(member.admin, AdminService.createKeyspace, wish(clusterId, 'quiet', 4));
  stores[0]?.disconnect();
  const stateOf = async (): Promise<StoreState | undefined> =>
    (await call(member.admin, AdminService.listStores, { clusterId })).stores[0]?.state;
  await until('it is disconnected or down', async () => (await stateOf()) !== StoreState.UP);
  await until('it is down', async () => (await stateOf()) === StoreState.DOWN);
  const status = await call(member.admin, AdminService.getClusterStatus, { clusterId });
  t.equal(status.shardsUnderReplicated, 4);
  t.ok(status.shardsWithoutLeader > 0, 'the leaders that it had cannot be reached');
  t.ok(
    status.findings.some((f) => f.startsWith('store 1 ')),
    status.findings.join('\n'),
  );
});

t.test('a store that was drained and stopped becomes a tombstone, and its directory is refused', async (t) => {
  const { member, clusterId, stores } = await stage(t, 4, silence);
  await call(member.admin, AdminService.createKeyspace, wish(clusterId, 'left', 4));
  const drained = await call(member.admin, AdminService.drainStore, {
    clusterId,
    storeId: 4,
    cancel: false,
    leadersOnly: false,
  });
  t.equal(drained.store?.state, StoreState.DRAINING);
  const storeFour = async () => (await call(member.admin, AdminService.listStores, { clusterId })).stores[3];
  await until('it is empty', async () => (await storeFour())?.replicaCount === 0);
  stores[3]?.disconnect();
  await until('it is buried', async () => (await storeFour())?.state === StoreState.TOMBSTONE);
  const request = {
    clusterId,
    storeId: 0,
    address: 'x:1',
    labels: [],
    version: '',
    engine: '',
    directoryId: 'store-4',
  };
  const again = await call(member.placement, PlacementService.registerStore, request);
  t.equal(reasonOf(again.error), 'failedPrecondition STORE_TOMBSTONE');
  const back = await call(member.admin, AdminService.drainStore, {
    clusterId,
    storeId: 4,
    cancel: true,
    leadersOnly: false,
  });
  t.equal(reasonOf(back.error), 'failedPrecondition STORE_TOMBSTONE');
});

t.test('a keyspace of 16,384 shards is created, listed and watched', async (t) => {
  const { member, clusterId } = await stage(t, 3);
  const created = await call(member.admin, AdminService.createKeyspace, wish(clusterId, 'large', 16_384), 120_000);
  t.equal(created.error, undefined);
  t.equal(created.keyspace?.state, KeyspaceState.READY);
  const listing = { clusterId, keyspace: 'large', storeId: 0, afterShardId: 0, limit: 16_384 };
  const { shards, more } = await call(member.admin, AdminService.listShards, listing);
  t.equal(shards.length, 16_384);
  t.equal(more, false);
  const led = [1, 2, 3].map((id) => shards.filter((s) => s.route?.leaderStoreId === id).length);
  t.ok(Math.max(...led) - Math.min(...led) <= 1, led.join(' '));
});

t.test('figures are served for Prometheus', async (t) => {
  const { member } = await stage(t, 2);
  const response = await fetch(`http://${member.server.metricsAddress}/metrics`);
  const text = await response.text();
  t.match(text, /^skerry_placement_is_leader 1$/m);
  t.match(text, /^skerry_placement_stores 2$/m);
  t.equal((await fetch(`http://${member.server.metricsAddress}/other`)).status, 404);
});

t.test('everything is there after a restart', async (t) => {
  const dataDir = freshDirectory();
  const first = await startMember(dataDir);
  const clusterId = first.server.clusterId;
  const world = newWorld();
  const stores = await Promise.all(
    [1, 2, 3].map((i) => ScriptedStore.register(world, first.placement, clusterId, `s${i}`)),
  );
  for (const store of stores) store.connect(first.placement);
  await call(first.admin, AdminService.createKeyspace, wish(clusterId, 'kept', 600));
  const listing = { clusterId, keyspace: 'kept', storeId: 0, afterShardId: 0, limit: 10_000 };
  const before = await call(first.admin, AdminService.listShards, listing);
  for (const store of stores) store.disconnect();
  await first.stop();

  const second = await startMember(dataDir);
  t.teardown(() => second.stop());
  t.equal(second.server.clusterId, clusterId);
  const after = await call(second.admin, AdminService.listShards, listing);
  t.same(
    after.shards.map((s) => s.route?.shard),
    before.shards.map((s) => s.route?.shard),
  );
  const { firstId } = await call(second.placement, PlacementService.allocateIds, { clusterId, count: 1 });
  const used = after.shards.flatMap((s) => s.route?.shard?.replicas.map((r) => r.replicaId) ?? []);
  t.ok(firstId > Math.max(...used), 'no id is handed out twice');
});
