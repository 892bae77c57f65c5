import t from 'tap';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { Partitioning, ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import { storesMax } from '../../placement/limits.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import { decodeCommand, encodeCommand } from '../../placement/state/command_codec.js';
import type { CommandOutcome, PlacementCommand } from '../../placement/state/commands.js';
import { RangeIndex } from '../../placement/state/range_index.js';
import { changedRows, restoreRow } from '../../placement/state/rows.js';

type Registration = Extract<PlacementCommand, { kind: 'registerStore' }>;

function registration(directoryId: string, part: Partial<Registration> = {}): Registration {
  const address = `${directoryId}:1`;
  return { kind: 'registerStore', storeId: 0, address, labels: [], version: '1', engine: 'e', directoryId, ...part };
}

const creation: PlacementCommand = {
  kind: 'createKeyspace',
  name: 'ks',
  partitioning: Partitioning.RANGE,
  replicaCount: 2,
  initialShards: 3,
};

function plan(start: string, end: string): Extract<PlacementCommand, { kind: 'addShards' }>['shards'][number] {
  return { startKey: Buffer.from(start), endKey: Buffer.from(end), storeIds: [2, 1] };
}

/** Two stores and a keyspace with shards ['', f), [f, m), [m, '') that have the ids 1, 4 and 7. */
function populated(): ClusterState {
  const state = new ClusterState();
  const commands: PlacementCommand[] = [
    { kind: 'bootstrap', clusterId: 77 },
    registration('d1'),
    registration('d2', { labels: [{ key: 'zone', value: 'z' }] }),
    creation,
    { kind: 'addShards', keyspaceId: 1, shards: [plan('', 'f'), plan('f', 'm')] },
    { kind: 'addShards', keyspaceId: 1, shards: [plan('m', '')] },
    { kind: 'markKeyspaceReady', keyspaceId: 1 },
  ];
  for (const command of commands) ok(state.apply(command));
  return state;
}

function ok(outcome: CommandOutcome): number {
  if (outcome.ok) return outcome.value;
  throw new Error(outcome.error.message);
}

function refusal(outcome: CommandOutcome): string {
  if (outcome.ok) return 'none';
  const detail = outcome.error.detail;
  return detail?.$case === 'failedPrecondition' ? detail.value.reason : (detail?.$case ?? 'untyped');
}

function changed(state: ClusterState, shardId: number, part: Partial<Shard>): Shard {
  const shard = state.shard(shardId);
  if (shard === undefined) throw new Error('no such shard');
  return { ...shard, ...part };
}

t.test('the first bootstrap names the cluster and later ones change nothing', async (t) => {
  const state = new ClusterState();
  t.equal(ok(state.apply({ kind: 'bootstrap', clusterId: 5 })), 5);
  t.equal(ok(state.apply({ kind: 'bootstrap', clusterId: 6 })), 5);
  t.equal(state.clusterId, 5);
});

t.test('a store keeps its id by its directory, and a newcomer takes an address over', async (t) => {
  const state = new ClusterState();
  t.equal(ok(state.apply(registration('d1'))), 1);
  t.equal(ok(state.apply(registration('d2'))), 2);
  t.equal(ok(state.apply(registration('d1', { address: 'd2:1' }))), 1);
  t.equal(state.store(2)?.address, '', 'the address has one owner');
  t.equal(refusal(state.apply(registration('d1', { storeId: 2 }))), 'DIRECTORY_MISMATCH');
  t.equal(refusal(state.apply(registration('d9', { storeId: 9 }))), 'storeNotFound');
});

t.test('stores past the limit are refused', async (t) => {
  const state = new ClusterState();
  for (let i = 0; i < storesMax; i++) ok(state.apply(registration(`d${i}`)));
  t.equal(refusal(state.apply(registration('one-more'))), 'serverIsBusy');
  t.equal(ok(state.apply(registration('d7'))), 8, 'known ones come back');
});

t.test('a store becomes a tombstone only when it is drained and empty, and stays one', async (t) => {
  const state = populated();
  t.equal(refusal(state.apply({ kind: 'setStoreState', storeId: 1, state: 'tombstone' })), 'STORE_NOT_EMPTY');
  ok(state.apply(registration('d3')));
  t.equal(refusal(state.apply({ kind: 'setStoreState', storeId: 3, state: 'tombstone' })), 'STORE_NOT_EMPTY');
  ok(state.apply({ kind: 'setStoreState', storeId: 3, state: 'draining' }));
  ok(state.apply({ kind: 'setStoreState', storeId: 3, state: 'tombstone' }));
  t.equal(refusal(state.apply({ kind: 'setStoreState', storeId: 3, state: 'up' })), 'STORE_TOMBSTONE');
  t.equal(refusal(state.apply(registration('d3'))), 'STORE_TOMBSTONE');
});

t.test('a keyspace is planned in chunks, created, and ready', async (t) => {
  const state = new ClusterState();
  ok(state.apply(registration('d1')));
  ok(state.apply(registration('d2')));
  ok(state.apply(creation));
  t.equal(refusal(state.apply(creation)), 'alreadyExists');
  t.equal(ok(state.apply({ kind: 'addShards', keyspaceId: 1, shards: [plan('', 'f')] })), 1);
  t.equal(state.keyspace(1)?.phase, 'planning');
  t.equal(ok(state.apply({ kind: 'addShards', keyspaceId: 1, shards: [plan('f', 'm'), plan('m', '')] })), 3);
  t.equal(state.keyspace(1)?.phase, 'creating');
  t.equal(refusal(state.apply({ kind: 'addShards', keyspaceId: 1, shards: [plan('z', '')] })), 'KEYSPACE_PLANNED');
  t.equal(refusal(state.apply({ kind: 'abandonKeyspace', keyspaceId: 1 })), 'KEYSPACE_PLANNED');
  ok(state.apply({ kind: 'markKeyspaceReady', keyspaceId: 1 }));
  t.equal(state.keyspace(1)?.phase, 'ready');
  const ids = [...state.shards()].flatMap((s) => [s.shardId, ...s.replicas.map((r) => r.replicaId)]);
  t.same(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9], 'ids are allocated in the command, in order');
});

t.test('an abandoned keyspace leaves nothing behind, and its name is free', async (t) => {
  const state = new ClusterState();
  ok(state.apply(registration('d1')));
  ok(state.apply(creation));
  ok(state.apply({ kind: 'addShards', keyspaceId: 1, shards: [plan('', 'f')] }));
  ok(state.apply({ kind: 'abandonKeyspace', keyspaceId: 1 }));
  t.equal(state.shardCount, 0);
  t.equal(state.shardIdsOn(1).size, 0);
  t.equal(state.keyspaceByName('ks'), undefined);
  t.equal(ok(state.apply(creation)), 2, 'ids are not used twice');
});

t.test('a descriptor is taken only if its epoch is newer', async (t) => {
  const cases: { confVer: number; version: number; taken: boolean }[] = [
    { confVer: 1, version: 1, taken: false },
    { confVer: 0, version: 1, taken: false },
    { confVer: 9, version: 0, taken: false },
    { confVer: 2, version: 1, taken: true },
    { confVer: 1, version: 2, taken: true },
    { confVer: 0, version: 2, taken: true },
  ];
  for (const { confVer, version, taken } of cases) {
    const state = populated();
    const shards = [changed(state, 1, { epoch: { confVer, version } })];
    t.equal(ok(state.apply({ kind: 'updateShards', shards })), taken ? 1 : 0, `epoch ${confVer}.${version}`);
  }
});

t.test('a changed descriptor moves the shard between stores', async (t) => {
  const state = populated();
  ok(state.apply(registration('d3')));
  const replicas = [
    { replicaId: 2, storeId: 2, role: ReplicaRole.VOTER },
    { replicaId: 50, storeId: 3, role: ReplicaRole.LEARNER },
  ];
  ok(
    state.apply({ kind: 'updateShards', shards: [changed(state, 1, { epoch: { confVer: 2, version: 1 }, replicas })] }),
  );
  t.notOk(state.shardIdsOn(1).has(1));
  t.ok(state.shardIdsOn(3).has(1));
  t.ok(ok(state.apply({ kind: 'allocateIds', count: 1 })) > 50, 'the counter stays ahead of every id seen');
});

t.test('the halves of a split may be reported in either order', async (t) => {
  for (const parentFirst of [true, false]) {
    const state = populated();
    const epoch = { confVer: 1, version: 2 };
    const parent = changed(state, 4, { endKey: Buffer.from('h'), epoch });
    const child = changed(state, 4, { shardId: 20, startKey: Buffer.from('h'), epoch });
    const reports = parentFirst ? [parent, child] : [child, parent];
    for (const shard of reports) t.equal(ok(state.apply({ kind: 'updateShards', shards: [shard] })), 1);
    t.equal(state.shardAt(1, Buffer.from('g'))?.shardId, 4);
    t.equal(state.shardAt(1, Buffer.from('h'))?.shardId, 20);
    t.equal(state.shardAt(1, Buffer.from('m'))?.shardId, 7);
    const order = [...state.shardsIn(1, Buffer.alloc(0), Buffer.alloc(0))].map((s) => s.shardId);
    t.same(order, [1, 4, 20, 7]);
  }
});

t.test('look-ups by key and range find exactly the shards concerned', async (t) => {
  const state = populated();
  const at = (key: string): number | undefined => state.shardAt(1, Buffer.from(key))?.shardId;
  t.same(['', 'a', 'ezz', 'f', 'lzz', 'm', 'zzz'].map(at), [1, 1, 1, 4, 4, 7, 7]);
  const range = (from: string, to: string): number[] =>
    [...state.shardsIn(1, Buffer.from(from), Buffer.from(to))].map((s) => s.shardId);
  t.same(range('', ''), [1, 4, 7]);
  t.same(range('f', 'm'), [4]);
  t.same(range('e', 'f'), [1]);
  t.same(range('e', 'g'), [1, 4]);
  t.same(range('x', ''), [7]);
  t.equal(state.shardAt(9, Buffer.from('a')), undefined);
});

t.test('a shard target overrides the keyspace until it is taken back', async (t) => {
  const state = populated();
  const shard = changed(state, 1, {}) as Parameters<ClusterState['wantedVoters']>[0];
  t.equal(state.wantedVoters(shard), 2);
  ok(state.apply({ kind: 'setShardTarget', shardId: 1, voters: 4, learnerStoreIds: [2] }));
  t.equal(state.wantedVoters(shard), 4);
  ok(state.apply({ kind: 'setShardTarget', shardId: 1, voters: 0, learnerStoreIds: [] }));
  t.equal(state.wantedVoters(shard), 2);
  t.equal(
    refusal(state.apply({ kind: 'setShardTarget', shardId: 99, voters: 1, learnerStoreIds: [] })),
    'shardNotFound',
  );
});

t.test('every command survives its encoding', async (t) => {
  const state = populated();
  const commands: PlacementCommand[] = [
    { kind: 'bootstrap', clusterId: 2 ** 52 - 1 },
    registration('d1', { labels: [{ key: 'host', value: 'ü' }] }),
    { kind: 'setStoreState', storeId: 3, state: 'draining' },
    creation,
    { kind: 'addShards', keyspaceId: 1, shards: [plan('', 'f'), plan('f', '\u0000')] },
    { kind: 'abandonKeyspace', keyspaceId: 1 },
    { kind: 'markKeyspaceReady', keyspaceId: 1 },
    { kind: 'updateShards', shards: [changed(state, 1, {})] },
    { kind: 'allocateIds', count: 7 },
    { kind: 'setShardTarget', shardId: 1, voters: 2, learnerStoreIds: [4] },
  ];
  for (const command of commands) t.same(decodeCommand(encodeCommand(command)), command, command.kind);
  t.throws(() => decodeCommand(Buffer.from([9, 0, 0, 0, 0])), /version 9/);
});

t.test('changed rows, loaded again, make the same state', async (t) => {
  const engine = new MemoryEngine();
  const state = new ClusterState();
  const reference = populated();
  const commands: PlacementCommand[] = [
    { kind: 'bootstrap', clusterId: 77 },
    registration('d1'),
    registration('d2', { labels: [{ key: 'zone', value: 'z' }] }),
    creation,
    { kind: 'addShards', keyspaceId: 1, shards: [plan('', 'f')] },
    { kind: 'abandonKeyspace', keyspaceId: 1 },
    creation,
    { kind: 'addShards', keyspaceId: 2, shards: [plan('', 'f'), plan('f', 'm'), plan('m', '')] },
    { kind: 'setShardTarget', shardId: 4, voters: 3, learnerStoreIds: [] },
  ];
  for (const command of commands) {
    ok(state.apply(command));
    const batch = engine.newBatch();
    for (const row of changedRows(state, state.takeChanges())) {
      if (row.value === null) batch.delete(row.key);
      else batch.put(row.key, row.value);
    }
    await engine.write(batch);
  }
  t.not(state.shardCount, 0);
  const loaded = new ClusterState();
  const everything = { start: Buffer.from('p'), end: Buffer.from('q') };
  const page = await engine.scan({ ...everything, limit: 100, maxBytes: 1e6, reverse: false, keysOnly: false });
  for (const { key, value } of page.rows) restoreRow(loaded, key, value);
  t.same(loaded.metaRecord, state.metaRecord);
  t.same([...loaded.stores()], [...state.stores()]);
  t.same([...loaded.keyspaces()], [...state.keyspaces()]);
  t.same([...loaded.targets()], [...state.targets()]);
  const sorted = (s: ClusterState): Shard[] => [...s.shards()].sort((a, b) => a.shardId - b.shardId);
  t.same(sorted(loaded), sorted(state));
  t.same(loaded.shardIdsOn(1), state.shardIdsOn(1));
  t.equal(ok(loaded.apply(registration('d1'))), 1, 'directories are known');
  t.equal(reference.shardCount, loaded.shardCount);
});

t.test('a keyspace of 16,384 shards is planned in chunks', async (t) => {
  const state = new ClusterState();
  ok(state.apply(registration('d1')));
  ok(state.apply({ ...creation, initialShards: 16_384 }));
  for (let first = 0; first < 16_384; first += 512) {
    const shards = Array.from({ length: 512 }, (_, i) => {
      const key = (n: number): Buffer =>
        n === 0 || n === 16_384 ? Buffer.alloc(0) : Buffer.from([n >> 6, (n & 63) << 2]);
      return { startKey: key(first + i), endKey: key(first + i + 1), storeIds: [1] };
    });
    ok(state.apply(decodeCommand(encodeCommand({ kind: 'addShards', keyspaceId: 1, shards }))));
  }
  t.equal(state.keyspace(1)?.phase, 'creating');
  t.equal(state.shardCountOf(1), 16_384);
  t.equal(state.shardAt(1, Buffer.from([0x80, 0]))?.shardId, 1 + 8192 * 2);
});

t.test('the range index keeps one shard per start key', async (t) => {
  const index = new RangeIndex();
  index.insert(Buffer.from('b'), 2);
  index.insert(Buffer.from('a'), 1);
  t.throws(() => index.insert(Buffer.from('a'), 3), /one shard per start key/);
  t.equal(index.floor(Buffer.from('0')), undefined);
  t.equal(index.floor(Buffer.from('az')), 1);
  t.same([...index.from(Buffer.from('b'))], [2]);
  index.remove(Buffer.from('a'), 1);
  t.equal(index.floor(Buffer.from('az')), undefined);
  t.equal(index.size, 1);
});

t.test('a merged shard takes the place of what it took in, and a late report does not bring that back', async (t) => {
  const state = populated();
  const merge = { into: undefined, merged: [{ shardId: 4, version: 3 }] };
  const merged = changed(state, 7, { startKey: Buffer.from('f'), epoch: { confVer: 1, version: 3 }, merge });
  const late = changed(state, 4, { epoch: { confVer: 1, version: 2 } });
  t.equal(ok(state.apply({ kind: 'updateShards', shards: [merged] })), 1);
  t.equal(state.shard(4), undefined);
  t.equal(state.shardAt(1, Buffer.from('g'))?.shardId, 7);
  t.equal(ok(state.apply({ kind: 'updateShards', shards: [late] })), 0, 'a report from before the merge');
  t.equal(state.shard(4), undefined);
  t.equal(state.holderOf(4)?.shardId, 7, 'whoever still has a replica of it hears where it went');
  t.equal(state.holderOf(1), undefined);
  t.ok(state.shardIdsOn(1).has(7));
  t.notOk(state.shardIdsOn(1).has(4));
});
