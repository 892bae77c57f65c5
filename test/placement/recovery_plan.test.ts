import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { Replica, Shard } from '../../src/gen/skerry/v1/meta.js';
import { Partitioning, ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { SurveyedReplica } from '../../src/gen/skerry/v1/placement.js';
import type { HeldReplica, RecoveryPlan } from '../../placement/recovery/recovery_plan.js';
import { planRecovery } from '../../placement/recovery/recovery_plan.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import { decodeCommand, encodeCommand } from '../../placement/state/command_codec.js';
import { changedRows, restoreRow } from '../../placement/state/rows.js';

interface Given {
  /** Stores of the replicas, each with its role behind it: v voter, l learner, i incoming, o outgoing. */
  readonly replicas: string;
  readonly id?: number;
  readonly start?: string;
  readonly end?: string;
  readonly version?: number;
  readonly confVer?: number;
  readonly merging?: boolean;
}

const roles: Readonly<Record<string, ReplicaRole>> = {
  v: ReplicaRole.VOTER,
  l: ReplicaRole.LEARNER,
  i: ReplicaRole.INCOMING_VOTER,
  o: ReplicaRole.OUTGOING_VOTER,
};

function shardOf(given: Given) {
  const { id = 1, start = '', end = '', version = 1, confVer = 5, merging = false } = given;
  const replicas: Replica[] = given.replicas.split(' ').map((word) => {
    const storeId = Number(word.charAt(0));
    return { replicaId: id * 10 + storeId, storeId, role: must(roles[word.charAt(1) || 'v'], 'a role') };
  });
  const into = { shardId: 99, epoch: { confVer: 1, version: 1 }, index: 3, term: 3 };
  return {
    shardId: id,
    keyspaceId: 1,
    partitioning: Partitioning.RANGE,
    startKey: Buffer.from(start),
    endKey: Buffer.from(end),
    epoch: { confVer, version },
    replicas,
    merge: merging ? { into, merged: [] } : undefined,
  };
}

/** What a store says of its replica of the shard. */
function held(
  storeId: number,
  shard: Shard,
  [lastTerm, lastIndex]: [number, number],
  change: Partial<SurveyedReplica> = {},
): HeldReplica {
  const replicaId = shard.shardId * 10 + storeId;
  const at = { term: lastTerm + 1, lastTerm, lastIndex, commitIndex: lastIndex, appliedIndex: lastIndex };
  return { storeId, replica: { replicaId, shard, unusable: false, ...at, ...change } };
}

/** Stores 1 to 5; 4 and 5 are dead. */
function stateOf(...shards: ReturnType<typeof shardOf>[]): ClusterState {
  const state = new ClusterState();
  for (let storeId = 1; storeId <= 5; storeId++) {
    const plain = { labels: [], state: 'up' as const, version: '', engine: '' };
    state.restoreStore({ storeId, address: `s${storeId}`, directoryId: `d${storeId}`, ...plain });
  }
  state.restoreKeyspace({
    keyspaceId: 1,
    name: 'ks',
    partitioning: Partitioning.RANGE,
    replicaCount: 3,
    initialShards: 1,
    phase: 'ready',
  });
  for (const shard of shards) state.restoreShard(shard);
  return state;
}

function planOf(state: ClusterState, replicas: readonly HeldReplica[], known = { term: 0, index: 0 }): RecoveryPlan {
  return planRecovery({
    state,
    deadStoreIds: new Set([4, 5]),
    replicas,
    isLed: () => false,
    lastKnown: () => known,
  });
}

function inShort({ recoveries, unrecoverable }: RecoveryPlan): string[] {
  return [
    ...recoveries.map((r) => `${r.record.shardId} from store ${r.record.storeId}`),
    ...unrecoverable.map((u) => `${u.shardId}: ${u.reason}`),
  ];
}

t.test('of what is left the replica whose log ends last goes on, by term before index', async (t) => {
  const shard = shardOf({ replicas: '1 2 3 4 5', confVer: 7 });
  const three = shardOf({ replicas: '1 2 4 5 3l', confVer: 7 });
  t.same(
    inShort(planOf(stateOf(shard), [held(1, shard, [3, 10]), held(2, shard, [3, 9])])),
    [],
    'three of five are left',
  );
  const state = stateOf(three);
  const plan = planOf(state, [held(1, three, [3, 90]), held(2, three, [4, 10]), held(3, three, [4, 9])], {
    term: 9,
    index: 15,
  });
  t.same(inShort(plan), ['1 from store 2']);
  t.match(plan.recoveries[0], { missingEntriesMin: 5, voters: 4, votersLeft: 2, lastTerm: 4, lastIndex: 10 });
  t.match(plan.recoveries[0]?.record, { epoch: { confVer: 1_000_007, version: 1 }, term: 1_000_009 });
});

t.test('a learner may go on where no voter is left, and who lost data may not', async (t) => {
  const shard = shardOf({ replicas: '4 5 1l' });
  t.same(inShort(planOf(stateOf(shard), [held(1, shard, [3, 9])])), ['1 from store 1']);
  const reason = '1: no usable replica of it is left';
  t.same(inShort(planOf(stateOf(shard), [held(1, shard, [3, 9], { unusable: true })])), [reason]);
  t.same(inShort(planOf(stateOf(shardOf({ replicas: '4 5' })), [])), [reason]);
  const damaged = shardOf({ replicas: '1 2 4' });
  const replicas = [held(1, damaged, [3, 9], { unusable: true }), held(2, damaged, [3, 8])];
  t.same(inShort(planOf(stateOf(damaged), replicas)), ['1 from store 2'], 'damage counts as loss');
});

t.test('in a joint configuration both halves need their majority', async (t) => {
  const shard = shardOf({ replicas: '1 2 3i 4o' });
  t.same(inShort(planOf(stateOf(shard), [held(1, shard, [3, 9])])), [], '2 of 3, and 3 of 3');
  const worse = shardOf({ replicas: '1 4o 5o 2i 3i' });
  t.same(inShort(planOf(stateOf(worse), [held(1, worse, [3, 9]), held(2, worse, [3, 8])])), ['1 from store 1']);
});

t.test('the newest configuration decides who votes, wherever it is known', async (t) => {
  // Placement has heard that the shard moved to the dead stores; the replica left has not.
  const old = shardOf({ replicas: '1 2 3', confVer: 5 });
  const now = shardOf({ replicas: '1 4 5', confVer: 9 });
  const plan = planOf(stateOf(now), [held(1, old, [3, 9])]);
  t.same(inShort(plan), ['1 from store 1']);
  t.equal(plan.recoveries[0]?.record.epoch.confVer, 1_000_009);
});

t.test('splits that only one side knows of', async (t) => {
  const whole = shardOf({ replicas: '1 4 5', version: 1 });
  const left = shardOf({ replicas: '1 4 5', version: 2, end: 'm' });
  const right = shardOf({ id: 2, replicas: '1 4 5', version: 2, start: 'm' });
  t.same(inShort(planOf(stateOf(left, right), [held(1, whole, [3, 9])])), [
    '1: the replica on store 1 has not seen a split or a merge of it',
    '2: no usable replica of it is left',
  ]);
  const both = [held(1, left, [3, 9]), held(1, right, [3, 9])];
  t.same(inShort(planOf(stateOf(whole), both)), ['1 from store 1', '2 from store 1'], 'placement hears of it now');
  const strange = [held(1, right, [3, 9])];
  t.same(inShort(planOf(stateOf(whole), strange)), [
    '1: no usable replica of it is left',
    '2: its keys are those of shard 1, too',
  ]);
});

t.test('a shard in the middle of a merge, and one that is led, are left alone', async (t) => {
  const merging = shardOf({ replicas: '1 4 5', merging: true });
  t.same(inShort(planOf(stateOf(merging), [held(1, merging, [3, 9])])), ['1: a merge of it was under way']);
  const shard = shardOf({ replicas: '1 4 5' });
  const facts = { state: stateOf(shard), deadStoreIds: new Set([4, 5]), replicas: [held(1, shard, [3, 9])] };
  const led = planRecovery({ ...facts, isLed: () => true, lastKnown: () => ({ term: 0, index: 0 }) });
  t.same(inShort(led), []);
});

t.test('a choice stays while its store is there, survives a restart, and ends with the shard’s report', async (t) => {
  const shard = shardOf({ replicas: '1 2 4 5' });
  const state = stateOf(shard);
  const replicas = [held(1, shard, [3, 9]), held(2, shard, [3, 8])];
  const [first] = planOf(state, replicas).recoveries;
  const record = must(first, 'a recovery').record;
  const command = decodeCommand(encodeCommand({ kind: 'recoverShards', shards: [record] }));
  t.same(state.apply(decodeCommand(encodeCommand({ kind: 'buryStores', storeIds: [4, 5] }))), { ok: true, value: 2 });
  t.same(state.apply(command), { ok: true, value: 1 });
  t.equal(state.store(4)?.state, 'tombstone');
  t.same(inShort(planOf(state, replicas)), [], 'it is not planned again');
  const other = { ...record, storeId: 2, replicaId: 12 };
  t.same(
    state.apply({ kind: 'recoverShards', shards: [other] }),
    { ok: true, value: 0 },
    'nor given to another replica',
  );
  const copy = new ClusterState();
  for (const { key, value } of changedRows(state, state.takeChanges()))
    if (value !== null) restoreRow(copy, key, value);
  t.same(copy.recoveries.get(1), record);

  const alone = { ...shard, epoch: record.epoch, replicas: [{ replicaId: 11, storeId: 1, role: ReplicaRole.VOTER }] };
  state.apply({ kind: 'updateShards', shards: [alone] });
  t.equal(state.recoveries.size, 0);
  t.ok(
    changedRows(state, state.takeChanges()).some((row) => row.value === null),
    'its row is gone',
  );
  t.same(state.apply(command), { ok: true, value: 0 }, 'and a late command does not begin it again');
});

t.test('when the chosen store is lost, too, another one is chosen, above the first', async (t) => {
  const shard = shardOf({ replicas: '1 2 4 5' });
  const state = stateOf(shard);
  const record = { shardId: 1, replicaId: 11, storeId: 1, epoch: { confVer: 1_000_005, version: 1 }, term: 1_000_004 };
  state.apply({ kind: 'recoverShards', shards: [record] });
  const plan = planRecovery({
    state,
    deadStoreIds: new Set([1, 4, 5]),
    replicas: [held(2, shard, [3, 8])],
    isLed: () => false,
    lastKnown: () => ({ term: 0, index: 0 }),
  });
  t.match(plan.recoveries[0]?.record, { storeId: 2, epoch: { confVer: 2_000_005 }, term: 2_000_004 });
  state.apply({ kind: 'buryStores', storeIds: [1, 4, 5] });
  t.same(state.apply({ kind: 'recoverShards', shards: plan.recoveries.map((r) => r.record) }), { ok: true, value: 1 });
});
