import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { GetClusterStatusResponse, ShardStatus } from '../../src/gen/skerry/v1/admin.js';
import { AdminService } from '../../src/gen/skerry/v1/admin.js';
import { Partitioning, ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { call, startMember, until } from './support/running_members.js';
import { ScriptedStore, newWorld } from './support/scripted_stores.js';

const directory = t.testdir();

t.test('a replica that its store reports as damaged is replaced, and its store is told to drop it', async (t) => {
  const member = await startMember(directory, 1, undefined, {});
  const { admin, placement, server } = member;
  const { clusterId } = server;
  const world = newWorld();
  const stores: ScriptedStore[] = [];
  for (const name of ['a', 'b', 'c']) {
    const store = await ScriptedStore.register(world, placement, clusterId, name);
    store.connect(placement);
    stores.push(store);
  }
  t.teardown(async () => {
    for (const store of stores) store.disconnect();
    await member.stop();
  });
  const wish = { clusterId, name: 'ks', partitioning: Partitioning.HASH, shards: 1, splitKeys: [], replicaCount: 0 };
  t.equal(
    (await call(admin, AdminService.createKeyspace, { ...wish, wait: true, policy: undefined, plan: false })).error,
    undefined,
  );

  const listing = { clusterId, keyspace: 'ks', storeId: 0, afterShardId: 0, limit: 0 };
  const shard = async (): Promise<ShardStatus> =>
    must((await call(admin, AdminService.listShards, listing)).shards[0], 'the shard');
  const status = (): Promise<GetClusterStatusResponse> => call(admin, AdminService.getClusterStatus, { clusterId });
  const { route } = await shard();
  const { shardId, epoch, replicas } = must(route?.shard, 'the shard');
  const damaged = must(
    stores.find((store) => store.storeId !== route?.leaderStoreId),
    'a store that does not lead',
  );
  const onDamaged = (all: readonly Replica[]): Replica | undefined => all.find((r) => r.storeId === damaged.storeId);
  const { replicaId } = must(onDamaged(replicas), 'its replica');
  damaged.quarantined = [{ shardId, replicaId, epoch }];

  await until('another replica is there', async () => {
    const now = onDamaged((await shard()).route?.shard?.replicas ?? []);
    return now !== undefined && now.replicaId !== replicaId && now.role === ReplicaRole.VOTER;
  });
  t.match((await status()).findings, [`store ${damaged.storeId} has 1 replicas that lost data`]);
  const destroys = (): unknown[] =>
    damaged.commands.flatMap(({ command }) => (command?.$case === 'destroyReplica' ? [command.value] : []));
  await until('the store is told', () => destroys().length > 0);
  t.match(destroys()[0], { shardId, replicaId });
  damaged.quarantined = [];
  await until('no finding is left', async () => (await status()).findings.length === 0);
  t.pass('nothing is left to say');
});
