import t from 'tap';
import { AdminService } from '../../src/gen/skerry/v1/admin.js';
import { PlacementService } from '../../src/gen/skerry/v1/placement.js';
import type { CreateKeyspaceRequest } from '../../src/gen/skerry/v1/admin.js';
import { KeyspaceState, Partitioning } from '../../src/gen/skerry/v1/meta.js';
import type { RunningMember } from './support/running_members.js';
import { call, raftOfSeveral, startMember, startMembers, until } from './support/running_members.js';
import { ScriptedStore, newWorld } from './support/scripted_stores.js';

// A guard against hanging, not a measurement: the machine may be busy.
t.setTimeout(280_000);

/** Three members in this process, on real ports, logs and engines. */
const directory = t.testdir();
let directories = 0;
function freshDirectory(): string {
  return `${directory}/${directories++}`;
}

function wish(clusterId: number, name: string): CreateKeyspaceRequest {
  const partitioning = Partitioning.HASH;
  const shape = { partitioning, shards: 8, splitKeys: [], replicaCount: 3, policy: undefined };
  return { clusterId, name, ...shape, wait: true, plan: false };
}

function leaderOf(members: readonly RunningMember[]): RunningMember | undefined {
  return members.find((m) => m.server.isLeading);
}

async function untilLed(members: readonly RunningMember[]): Promise<RunningMember> {
  await until('a member leads a cluster with a name that all know', () => {
    return leaderOf(members) !== undefined && members.every((m) => m.server.clusterId !== 0);
  });
  const leader = leaderOf(members);
  if (leader === undefined) throw new Error('no leader');
  return leader;
}

/** Keeps trying, as clients do, while a call is answered by PlacementUnavailable or not at all. */
async function persist<A extends { error: { detail: { $case: string } | undefined } | undefined }>(
  attempt: () => Promise<A>,
): Promise<A> {
  const answers: A[] = [];
  await until('an answer', async () => {
    try {
      const answer = await attempt();
      if (answer.error?.detail?.$case !== 'placementUnavailable') answers.push(answer);
    } catch {
      // The member is gone or not there yet.
    }
    return answers.length > 0;
  });
  const [answer] = answers;
  if (answer === undefined) throw new Error('no answer');
  return answer;
}

t.test('three members agree on one cluster, and any of them answers', async (t) => {
  const members = await startMembers(freshDirectory());
  t.teardown(() => Promise.all(members.map((m) => m.stop())));
  const leader = await untilLed(members);
  const clusterId = leader.server.clusterId;
  t.same(
    members.map((m) => m.server.clusterId),
    [clusterId, clusterId, clusterId],
  );

  const [one, two] = members.filter((m) => m !== leader);
  if (one === undefined || two === undefined) throw new Error('three members');
  const world = newWorld();
  const stores: ScriptedStore[] = [];
  t.teardown(() => stores.forEach((store) => store.disconnect()));
  for (const name of ['a', 'b', 'c']) {
    const store = await ScriptedStore.register(world, one.placement, clusterId, name);
    store.connect(one.placement);
    stores.push(store);
  }
  await until('the sessions are sent to the leader', () => stores.every((s) => s.ended));
  const addresses = new Set(stores.map((s) => s.responses.at(-1)?.leaderAddress));
  t.same([...addresses], [leader.server.address], 'by its address');
  for (const store of stores) store.connect(leader.placement);

  const created = await call(one.admin, AdminService.createKeyspace, wish(clusterId, 'through-another'));
  t.equal(created.error, undefined, 'a write through another member is passed on');
  t.equal(created.keyspace?.state, KeyspaceState.READY);
  const found = await call(two.placement, PlacementService.getKeyspace, { clusterId, name: 'through-another' });
  t.equal(found.keyspace?.name, 'through-another', 'a member that may lag behind looks again before it says no');
  const keyspaceId = found.keyspace?.keyspaceId ?? 0;
  const listing = { clusterId, keyspaceId, startKey: Buffer.alloc(0), endKey: Buffer.alloc(0), limit: 0 };
  for (const member of [one, two]) {
    await until('it knows every leader by its mirror', async () => {
      const { routes } = await call(member.placement, PlacementService.listRoutes, listing);
      return routes.length === 8 && routes.every((r) => r.leaderStoreId !== 0);
    });
  }
  const status = await call(two.admin, AdminService.getClusterStatus, { clusterId });
  t.equal(status.leaderId, leader.memberId);
  t.same(status.findings, []);
  const missing = await call(two.placement, PlacementService.getKeyspace, { clusterId, name: 'none' });
  t.equal(missing.error?.detail?.$case, 'keyspaceNotFound');
});

t.test('when the leader stops another takes over, and nothing is lost', async (t) => {
  const members = await startMembers(freshDirectory(), { storeDisconnectMs: 2_000, balance: false });
  const stores: ScriptedStore[] = [];
  const stopped = new Set<RunningMember>();
  t.teardown(async () => {
    for (const store of stores) store.disconnect();
    await Promise.all(members.filter((m) => !stopped.has(m)).map((m) => m.stop()));
  });
  const first = await untilLed(members);
  const clusterId = first.server.clusterId;
  const world = newWorld();
  for (const name of ['a', 'b', 'c']) {
    const store = await ScriptedStore.register(world, first.placement, clusterId, name);
    store.connect(first.placement);
    stores.push(store);
  }
  await call(first.admin, AdminService.createKeyspace, wish(clusterId, 'before'));
  stopped.add(first);
  await first.stop();
  const rest = members.filter((m) => m !== first);
  const second = await untilLed(rest);
  const found = await persist(() =>
    call(second.placement, PlacementService.getKeyspace, { clusterId, name: 'before' }),
  );
  t.equal(found.error, undefined);
  await until('the old leader has ended the sessions', () => stores.every((store) => store.ended));
  for (const store of stores) store.connect(second.placement);
  const created = await persist(() => call(second.admin, AdminService.createKeyspace, wish(clusterId, 'after')));
  t.equal(created.keyspace?.state, KeyspaceState.READY);
  const { firstId } = await call(second.placement, PlacementService.allocateIds, { clusterId, count: 1 });
  const ids = [...world.shards.values()].flatMap((s) => s.shard.replicas.map((r) => r.replicaId));
  t.equal(new Set(ids).size, ids.length, 'no id was used twice');
  t.ok(firstId > Math.max(...ids));
});

t.test('a member without a majority says so within the deadline, and still answers look-ups', async (t) => {
  const members = await startMembers(freshDirectory(), { balance: false });
  const leader = await untilLed(members);
  const clusterId = leader.server.clusterId;
  const world = newWorld();
  const store = await ScriptedStore.register(world, leader.placement, clusterId, 'a');
  store.connect(leader.placement);
  await call(leader.admin, AdminService.createKeyspace, { ...wish(clusterId, 'alone'), replicaCount: 1 });
  const survivor = members.find((m) => m !== leader);
  if (survivor === undefined) throw new Error('three members');
  t.teardown(async () => {
    store.disconnect();
    await survivor.stop();
  });
  const request = { clusterId, name: 'alone' };
  await until('the survivor has it', async () => {
    return (await call(survivor.placement, PlacementService.getKeyspace, request)).error === undefined;
  });
  for (const member of members) if (member !== survivor) await member.stop();
  const refused = await persistUntilRefused(survivor, clusterId);
  t.equal(refused, 'placementUnavailable');
  const found = await call(survivor.placement, PlacementService.getKeyspace, request);
  t.equal(found.keyspace?.name, 'alone');
  const status = await call(survivor.admin, AdminService.getClusterStatus, { clusterId });
  t.equal(status.error, undefined, 'the status is answered without a leader too');
  t.ok(
    status.findings.some((f) => f.includes('no placement leader')),
    status.findings.join('\n'),
  );
});

/** Until the survivor has noticed, a request is passed on to the dead leader and fails as unavailable as well. */
async function persistUntilRefused(member: RunningMember, clusterId: number): Promise<string> {
  await until('no leader is known', async () => {
    return (await call(member.placement, PlacementService.getClusterInfo, {})).leaderId === 0;
  });
  const answer = await call(member.placement, PlacementService.allocateIds, { clusterId, count: 1 });
  return answer.error?.detail?.$case ?? 'none';
}

t.test('a member that was away catches up from the log', async (t) => {
  const dataDir = freshDirectory();
  const members = await startMembers(dataDir, { balance: false });
  const leader = await untilLed(members);
  const clusterId = leader.server.clusterId;
  const away = members.find((m) => m !== leader);
  if (away === undefined) throw new Error('three members');
  await away.stop();
  const { firstId } = await call(leader.placement, PlacementService.allocateIds, { clusterId, count: 10 });
  t.ok(firstId > 0);
  const request = { clusterId, storeId: 0, address: 'x:1', labels: [], version: '', engine: '', directoryId: 'x' };
  await call(leader.placement, PlacementService.registerStore, request);
  const info = await call(leader.placement, PlacementService.getClusterInfo, {});
  const list = info.members.map((m) => ({ id: m.memberId, address: m.address }));
  const back = await startMember(dataDir, away.memberId, list, { raft: raftOfSeveral });
  t.teardown(() => Promise.all([back, ...members.filter((m) => m !== away)].map((m) => m.stop())));
  await until('it knows the store', async () => {
    const { stores } = await call(back.placement, PlacementService.listStoreAddresses, { clusterId });
    return stores.some((s) => s.address === 'x:1');
  });
});
