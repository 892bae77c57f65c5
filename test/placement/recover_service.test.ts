import t from 'tap';
import type { Test } from 'tap';
import type { TypedError } from '../../src/base/wire_errors.js';
import { AdminService } from '../../src/gen/skerry/v1/admin.js';
import { Partitioning, StoreState } from '../../src/gen/skerry/v1/meta.js';
import { PlacementService } from '../../src/gen/skerry/v1/placement.js';
import type { RecoverPlanResponse } from '../../src/gen/skerry/v1/recover.js';
import { RecoverService } from '../../src/gen/skerry/v1/recover.js';
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
  readonly stores: readonly ScriptedStore[];
  readonly shardIds: () => number[];
}

/** Three stores with four shards on all of them. */
async function stage(t: Test): Promise<Stage> {
  const silence = { storeDisconnectMs: 1_500, storeDownMs: 600_000 };
  const member = await startMember(`${directory}/${directories++}`, 1, undefined, silence);
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
  const wish = {
    name: 'orders',
    partitioning: Partitioning.HASH,
    shards: 4,
    splitKeys: [],
    replicaCount: 3,
    wait: true,
    policy: undefined,
    plan: false,
  };
  await call(member.admin, AdminService.createKeyspace, { clusterId, ...wish });
  return { member, clusterId, stores, shardIds: () => [...world.shards.keys()] };
}

/** The second and the third are gone; the first can not lead without them. */
function loseTwo({ stores, shardIds }: Stage): void {
  stores[1]?.disconnect();
  stores[2]?.disconnect();
  stores[0]?.send({ noLongerLed: shardIds() });
}

function plan({ member, clusterId }: Stage, deadStoreIds: number[]): Promise<RecoverPlanResponse> {
  return call(member.admin, RecoverService.plan, { clusterId, deadStoreIds });
}

function reasonOf(error: TypedError | undefined): string {
  const detail = error?.detail;
  if (detail === undefined) return 'none';
  return 'reason' in detail.value ? detail.value.reason : detail.$case;
}

t.test('stores that are given up must be known and silent, and all others must answer', async (t) => {
  const at = await stage(t);
  t.equal(reasonOf((await plan(at, [])).error), 'NO_STORES');
  t.equal(reasonOf((await plan(at, [9])).error), 'storeNotFound');
  t.equal(reasonOf((await plan(at, [1])).error), 'STORE_ALIVE');
  at.stores[1]?.disconnect();
  at.stores[2]?.disconnect();
  await until('only the third is missed', async () => reasonOf((await plan(at, [2])).error) === 'STORE_SILENT');
});

t.test('a plan is applied once it is confirmed, and its stores never come back', async (t) => {
  const at = await stage(t);
  const { member, clusterId } = at;
  loseTwo(at);
  await until('both are missed', async () => (await plan(at, [2, 3])).shards.length === 4);
  const { planId, confirmation, shards, unrecoverable } = await plan(at, [3, 2, 3]);
  t.equal((await plan(at, [2, 3])).planId, planId, 'the same again is the same plan');
  t.same(unrecoverable, []);
  t.match(shards[0], { storeId: 1, lastIndex: 9, voters: 3, votersLeft: 1 });
  const request = { clusterId, deadStoreIds: [2, 3], planId, confirmation, wait: true };
  const unsure = await call(member.admin, RecoverService.apply, { ...request, confirmation: 'yes' });
  t.equal(reasonOf(unsure.error), 'NOT_CONFIRMED');
  const stale = await call(member.admin, RecoverService.apply, { ...request, planId: 'other' });
  t.equal(reasonOf(stale.error), 'PLAN_CHANGED');
  t.equal((await plan(at, [2, 3])).planId, planId, 'a refusal changes nothing');

  const applied = await call(member.admin, RecoverService.apply, request);
  t.match(applied, { error: undefined, shards: 4, underWay: 0 });
  t.same((await call(member.admin, RecoverService.status, { clusterId })).shards, []);
  const { stores } = await call(member.admin, AdminService.listStores, { clusterId });
  t.same(
    stores.map((s) => s.state),
    [StoreState.UP, StoreState.TOMBSTONE, StoreState.TOMBSTONE],
  );
  const labels = { labels: [], version: '', engine: '' };
  const back = { clusterId, storeId: 2, address: 'b:1', directoryId: 'b', ...labels };
  t.equal(reasonOf((await call(member.placement, PlacementService.registerStore, back)).error), 'STORE_TOMBSTONE');
  t.same((await plan(at, [2, 3])).shards, [], 'nothing is left to recover');
});

t.test(
  'a recovery that its store refuses is listed with the reason, and goes on when it does not any more',
  async (t) => {
    const at = await stage(t);
    const { member, clusterId } = at;
    const [left] = at.stores;
    left?.ignored.add('forceReplica');
    loseTwo(at);
    await until('both are missed', async () => (await plan(at, [2, 3])).shards.length === 4);
    const { planId, confirmation } = await plan(at, [2, 3]);
    const request = { clusterId, deadStoreIds: [2, 3], planId, confirmation, wait: false };
    t.match(await call(member.admin, RecoverService.apply, request), { shards: 4, underWay: 4 });
    const status = () => call(member.admin, RecoverService.status, { clusterId });
    t.equal((await status()).shards.length, 4);
    const orders = () => left?.commands.filter((c) => c.command?.$case === 'forceReplica') ?? [];
    await until('the store is told', () => orders().length >= 4);
    const commandId = orders()[0]?.commandId ?? 0;
    const error = {
      message: 'not now',
      detail: { $case: 'failedPrecondition' as const, value: { reason: 'FORCE', storeIds: [] } },
    };
    left?.send({ results: [{ commandId, error }] });
    await until('why is told', async () => (await status()).shards.some((s) => s.detail === 'not now'));
    left?.ignored.delete('forceReplica');
    await until('it is told again', async () => (await status()).shards.length === 0);
    t.pass();
  },
);
