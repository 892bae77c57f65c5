import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { CreateKeyspaceRequest, PlacementPolicy } from '../../src/gen/skerry/v1/admin.js';
import { AdminService } from '../../src/gen/skerry/v1/admin.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import { call, startMember } from './support/running_members.js';
import { newWorld, ScriptedStore } from './support/scripted_stores.js';

const policy: PlacementPolicy = {
  voters: 3,
  votersOn: [{ key: 'disk', values: ['ssd'] }],
  spread: 'zone',
  spreadOver: 3,
  leaderOn: [{ key: 'zone', values: ['a'] }],
  learners: [],
};

/** Zone and disk of each store. */
const stores = ['a ssd', 'a ssd', 'b ssd', 'c ssd', 'c ssd', 'b hdd', 'd hdd'];

const directory = t.testdir();
// Time that it has on a busy machine; alone it takes seconds.
t.setTimeout(300_000);

t.test('a keyspace is created where its policy wants it, and a plan creates nothing', async (t) => {
  t.setTimeout(300_000);
  const member = await startMember(directory, 1, { 1: '127.0.0.1:0' }, { balance: false });
  const { admin, placement, server } = member;
  const { clusterId } = server;
  const world = newWorld();
  const scripted: ScriptedStore[] = [];
  for (const [i, text] of stores.entries()) {
    const [zone = '', disk = ''] = text.split(' ');
    const labels = [
      { key: 'zone', value: zone },
      { key: 'disk', value: disk },
      { key: 'host', value: `h${i}` },
    ];
    const store = await ScriptedStore.register(world, placement, clusterId, `s${i}`, labels);
    store.connect(placement);
    scripted.push(store);
  }
  t.teardown(async () => {
    for (const store of scripted) store.disconnect();
    await member.stop();
  });
  const create = (part: Partial<CreateKeyspaceRequest>) =>
    call(admin, AdminService.createKeyspace, {
      clusterId,
      name: 'ks',
      partitioning: Partitioning.HASH,
      shards: 12,
      splitKeys: [],
      replicaCount: 0,
      wait: true,
      policy,
      plan: false,
      ...part,
    });
  const reason = async (part: Partial<CreateKeyspaceRequest>): Promise<string> => {
    const detail = (await create(part)).error?.detail;
    return detail?.$case === 'failedPrecondition' || detail?.$case === 'invalidArgument' ? detail.value.reason : 'none';
  };

  const planned = await create({ plan: true });
  t.equal(planned.keyspace, undefined);
  t.equal(planned.changes.length, 5, 'the stores with the label');
  t.match(planned.changes[0], /^store 1 gets 6 replicas and leads 6 shards$/);
  t.same((await call(admin, AdminService.listKeyspaces, { clusterId })).keyspaces, []);

  t.equal(await reason({ policy: { ...policy, voters: 0 } }), 'VOTERS_OUT_OF_RANGE');
  t.equal(await reason({ replicaCount: 5 }), 'REPLICA_COUNT_NOT_VOTERS');
  t.equal(await reason({ policy: { ...policy, votersOn: [{ key: 'disk', values: ['hdd'] }] } }), 'TOO_FEW_STORES');
  t.equal(await reason({ policy: { ...policy, voters: 5, spreadOver: 4 } }), 'TOO_FEW_PLACES');
  t.equal(await reason({ policy: { ...policy, leaderOn: [{ key: 'zone', values: ['d'] }] } }), 'NO_LEADER_PLACE');

  const created = await create({});
  t.equal(created.error, undefined);
  t.equal(created.keyspace?.replicaCount, 3);
  const kept = await call(admin, AdminService.getKeyspacePolicy, { clusterId, keyspace: 'ks' });
  t.same(kept.policy, policy);
  const zoneOf = (storeId: number): string => must(stores[storeId - 1], 'a store').split(' ')[0] ?? '';
  for (const { shard, leaderStoreId } of world.shards.values()) {
    const zones = shard.replicas.map((r) => zoneOf(r.storeId)).sort();
    t.same(zones, ['a', 'b', 'c']);
    t.equal(zoneOf(leaderStoreId), 'a');
    t.ok(shard.replicas.every((r) => r.storeId <= 5));
  }
  t.equal(world.shards.size, 12);
  const changes = await call(admin, AdminService.setKeyspacePolicy, { clusterId, keyspace: 'ks', policy, plan: true });
  t.same(changes.changes, [], 'nothing is left to move');
});
