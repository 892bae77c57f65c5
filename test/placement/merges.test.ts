import t from 'tap';
import type { Test } from 'tap';
import { AdminService, OperatorState } from '../../src/gen/skerry/v1/admin.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import { PlacementService } from '../../src/gen/skerry/v1/placement.js';
import type { RunningMember } from './support/running_members.js';
import { call, startMember, until } from './support/running_members.js';
import { ScriptedStore, newWorld } from './support/scripted_stores.js';

// A guard against hanging, not a measurement: the machine may be busy.
t.setTimeout(280_000);

// The root's, because a test's own directory goes before its teardown runs.
const directory = t.testdir();
let directories = 0;

interface Stage {
  readonly member: RunningMember;
  readonly clusterId: number;
  readonly keyspaceId: number;
}

/** Three stores and a keyspace of two shards. */
async function twoShards(t: Test, settings: Record<string, unknown>): Promise<Stage> {
  const member = await startMember(`${directory}/${directories++}`, 1, undefined, settings);
  const { clusterId } = member.server;
  const world = newWorld();
  const stores: ScriptedStore[] = [];
  t.teardown(async () => {
    for (const store of stores) store.disconnect();
    await member.stop();
    const fatal = member.fatal[0];
    if (fatal !== undefined) throw fatal;
  });
  for (const name of ['a', 'b', 'c']) {
    const store = await ScriptedStore.register(world, member.placement, clusterId, name);
    store.connect(member.placement);
    stores.push(store);
  }
  const wish = { name: 'orders', partitioning: Partitioning.RANGE, shards: 0, splitKeys: [Buffer.from('m')] };
  const created = await call(member.admin, AdminService.createKeyspace, {
    clusterId,
    ...wish,
    replicaCount: 0,
    wait: true,
    policy: undefined,
    plan: false,
  });
  return { member, clusterId, keyspaceId: created.keyspace?.keyspaceId ?? 0 };
}

async function shardsOf({ member, clusterId, keyspaceId }: Stage) {
  const range = { startKey: Buffer.alloc(0), endKey: Buffer.alloc(0), limit: 0 };
  const answer = await call(member.placement, PlacementService.listRoutes, { clusterId, keyspaceId, ...range });
  return answer.routes.flatMap((route) => route.shard ?? []);
}

/** A shard may be merged away while it is named here: then the split is asked for again. */
async function splitAt(stage: Stage, ...keys: string[]): Promise<void> {
  const { member, clusterId } = stage;
  for (const key of keys) {
    const splitKey = Buffer.from(key);
    await until(`a split at ${key}`, async () => {
      const shard = (await shardsOf(stage)).findLast((s) => Buffer.compare(s.startKey, splitKey) < 0);
      const request = { clusterId, shardId: shard?.shardId ?? 0, splitKey, wait: true };
      return (await call(member.admin, AdminService.splitShard, request)).error === undefined;
    });
  }
}

t.test(
  'shards that are split by hand and stay small come together again, down to those of the beginning',
  async (t) => {
    const stage = await twoShards(t, { shards: { restMs: 0 }, limits: { mergesInCluster: 1 } });
    await splitAt(stage, 'd', 'f', 'p', 's');
    await until('two shards are left', async () => (await shardsOf(stage)).length === 2);
    const shards = await shardsOf(stage);
    t.same(shards[0]?.endKey, shards[1]?.startKey, 'they have all keys');
    t.equal(shards[0]?.startKey.length, 0);
    t.equal(shards[1]?.endKey.length, 0);
    const { operators } = await call(stage.member.admin, AdminService.listOperators, {
      clusterId: stage.clusterId,
      history: true,
      shardId: 0,
    });
    const merges = operators.filter((o) => o.kind === 'merge-shards');
    t.equal(merges.filter((o) => o.state === OperatorState.SUCCESS).length, 4);
  },
);

/** Until `why` says so of merging the keyspace's first shard: right after a split an operator may be at work on it, or a neighbour may have yet to report. */
async function untilWhySays(stage: Stage, pattern: RegExp): Promise<void> {
  const { member, clusterId } = stage;
  await until(`why says ${pattern.source}`, async () => {
    const [first] = await shardsOf(stage);
    const request = { clusterId, shardId: first?.shardId ?? 0 };
    const { decisions } = await call(member.admin, AdminService.whyShard, request);
    const merge = decisions.find((d) => d.by === 'merge');
    return pattern.test(`${merge?.wants} (${merge?.heldBy}): ${merge?.detail}`);
  });
}

t.test('why says what holds a merge back, and a merge that waits is no finding', async (t) => {
  const stage = await twoShards(t, { shards: { restMs: 0 }, limits: { mergesInCluster: 0 } });
  await splitAt(stage, 'd');
  await untilWhySays(
    stage,
    /^merge-shards: merge into shard \d+; less than .* \(limit\): limits.merges_in_cluster \(0\) is reached$/,
  );
  t.equal((await shardsOf(stage)).length, 3);
  const { member, clusterId } = stage;
  const status = await call(member.admin, AdminService.getClusterStatus, { clusterId });
  t.notMatch(JSON.stringify(status), /merge/);

  const resting = await twoShards(t, {});
  await splitAt(resting, 'd');
  await untilWhySays(resting, /\(resting\): it was changed lately and rests for \d+ s more$/);
});
