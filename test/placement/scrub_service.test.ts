import t from 'tap';
import { must } from '../../src/base/assert.js';
import type { VerifyShardResponse } from '../../src/gen/skerry/v1/admin.js';
import { AdminService, ReplicaCheckState, VerifyOutcome } from '../../src/gen/skerry/v1/admin.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import { metric } from '../cluster/support.js';
import { call, startMember } from './support/running_members.js';
import { newWorld, ScriptedStore } from './support/scripted_stores.js';

const directory = t.testdir();

t.test('VerifyShard names the replica that differs, and so do the cluster status and the metrics', async (t) => {
  const member = await startMember(directory);
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
  const [shardId] = [...world.shards.keys()];
  const verify = (id = must(shardId, 'a shard')): Promise<VerifyShardResponse> =>
    call(admin, AdminService.verifyShard, { clusterId, shardId: id });
  const findings = async (): Promise<string[]> =>
    (await call(admin, AdminService.getClusterStatus, { clusterId })).findings;
  const counted = async (): Promise<number | undefined> =>
    (await metric(server.metricsAddress, 'skerry_placement_inconsistent_shards')).get('');

  t.match(await verify(), { error: undefined, shardId, outcome: VerifyOutcome.CONSISTENT, index: 9 });
  t.same([await findings(), await counted()], [[], 0]);

  const odd = must(stores[1], 'a store');
  odd.checksum = 8;
  const answer = await verify();
  t.equal(answer.outcome, VerifyOutcome.INCONSISTENT);
  t.same(
    answer.replicas.filter((r) => r.state === ReplicaCheckState.ODD).map((r) => r.storeId),
    [odd.storeId],
  );
  t.match(await findings(), [new RegExp(`shard ${shardId} differs from most replicas: \\d+ on store ${odd.storeId} `)]);
  t.equal(await counted(), 1);

  odd.checksum = 7;
  t.equal((await verify()).outcome, VerifyOutcome.CONSISTENT);
  t.same([await findings(), await counted()], [[], 0]);
  t.match((await verify(999)).error, { detail: { $case: 'shardNotFound' } });
});
