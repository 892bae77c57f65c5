import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Test } from 'tap';
import t from 'tap';
import { MemberList } from '../../src/gen/skerry/v1/members.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import type { Runtime } from '../../src/base/runtime.js';
import { consistencyFollower, consistencyLinearizable, consistencyStale } from '../../src/client/consistency.js';
import { PlacementMembers } from '../../src/client/placement_members.js';
import { SkerryClient } from '../../src/client/index.js';
import type { AllocateIdsRequest, AllocateIdsResponse } from '../../src/gen/skerry/v1/placement.js';
import { PlacementService } from '../../src/gen/skerry/v1/placement.js';
import { Consistency } from '../../src/gen/skerry/v1/kv.js';
import { FakeCluster, failure } from './support/fake_cluster.js';
import { errorOf } from './support/set_up.js';
import { dialGrpc } from '../../src/rpc/grpc_channel.js';

const runtime = nodeRuntime();
const method = PlacementService.allocateIds;
const request: AllocateIdsRequest = { clusterId: 1, count: 1 };
const unavailable = failure('no leader here', { $case: 'placementUnavailable', value: { leaderAddress: '' } });

type Answer = (calls: number) => AllocateIdsResponse | 'silence';

/** A member that answers AllocateIds as it is told to. */
async function member(test: Test, answer: Answer): Promise<{ address: string; calls: () => number }> {
  const server = new Server();
  let calls = 0;
  const handle = (
    _call: ServerUnaryCall<AllocateIdsRequest, AllocateIdsResponse>,
    callback: sendUnaryData<AllocateIdsResponse>,
  ): void => {
    const reply = answer(++calls);
    if (reply !== 'silence') callback(null, reply);
  };
  server.addService({ allocateIds: method }, { allocateIds: handle });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  test.teardown(() => server.forceShutdown());
  return { address: `127.0.0.1:${port}`, calls: () => calls };
}

function membersOf(test: Test, addresses: readonly string[], clock: Runtime = runtime): PlacementMembers {
  const members = new PlacementMembers(addresses, clock, dialGrpc(runtime));
  test.teardown(() => members.close());
  return members;
}

const answering =
  (firstId: number): Answer =>
  () => ({ error: undefined, firstId, count: 1 });
const within = (ms: number): number => runtime.nowMs() + ms;

t.test('a member that is gone or knows no leader is passed over, and the one that answers is kept', async (t) => {
  const [clueless, good] = [
    await member(t, () => ({ error: unavailable, firstId: 0, count: 0 })),
    await member(t, answering(7)),
  ];
  const members = membersOf(t, ['127.0.0.1:1', clueless.address, good.address]);
  for (let i = 0; i < 3; i++) {
    t.equal((await members.call(method, request, { deadlineMs: within(30_000), repeatable: true })).firstId, 7);
  }
  t.same([clueless.calls(), good.calls()], [1, 3]);
});

t.test('when nobody answers in time, the error says what each member said', async (t) => {
  const clueless = await member(t, () => ({ error: unavailable, firstId: 0, count: 0 }));
  // The time is over when both have been asked.
  const clock = { ...runtime, nowMs: () => runtime.nowMs() + (clueless.calls() > 0 ? 60_000 : 0) };
  const members = membersOf(t, ['127.0.0.1:1', clueless.address], clock);
  const error = await errorOf(members.call(method, request, { deadlineMs: within(30_000), repeatable: true }));
  t.equal(error.code, 'PLACEMENT_UNAVAILABLE');
  t.match(error.message, /127\.0\.0\.1:1 \(no connection/);
  t.match(error.message, /no leader here/);
});

t.test('a call that must not be repeated is not, once it may have taken effect', async (t) => {
  const silent = await member(t, () => 'silence');
  const good = await member(t, answering(7));
  const members = membersOf(t, [silent.address, good.address]);
  const limits = { deadlineMs: within(30_000), repeatable: false, attemptMs: 2_000 };
  t.equal((await errorOf(members.call(method, request, limits))).code, 'UNDETERMINED');
  t.equal(good.calls(), 0);
  const elsewhere = membersOf(t, ['127.0.0.1:1', good.address]);
  const reply = await elsewhere.call(method, request, { deadlineMs: within(30_000), repeatable: false });
  t.equal(reply.firstId, 7, 'but where nothing was sent another member may be asked');
});

t.test('a typed error that no other member would answer differently is final', async (t) => {
  const refusing = await member(t, () => ({
    error: failure('not you', { $case: 'clusterMismatch', value: { requestedClusterId: 1, actualClusterId: 2 } }),
    firstId: 0,
    count: 0,
  }));
  const good = await member(t, answering(7));
  const members = membersOf(t, [refusing.address, good.address]);
  const error = await errorOf(members.call(method, request, { deadlineMs: within(30_000), repeatable: true }));
  t.equal(error.code, 'CLUSTER_MISMATCH');
  t.same([refusing.calls(), good.calls()], [1, 0]);
});

t.test('members are learned up to a bound, and none twice', async (t) => {
  const members = membersOf(t, ['a:1', 'a:1', 'b:1']);
  t.same(members.addresses, ['a:1', 'b:1']);
  members.learn(listOf(1, ['b:1', '', 'c:1', ...Array.from({ length: 100 }, (_, i) => `d:${i + 1}`)]));
  t.equal(members.addresses.length, 32);
  t.same(members.addresses.slice(0, 3), ['b:1', 'c:1', 'd:1']);
});

t.test(
  'members that left are forgotten, those named by the caller come last, and a late list changes nothing',
  async (t) => {
    const members = membersOf(t, ['a:1', 'b:1']);
    members.learn(listOf(3, ['c:1', 'b:1']));
    t.same(members.addresses, ['c:1', 'b:1', 'a:1']);
    members.learn(listOf(2, ['z:1']));
    members.learn(undefined);
    t.same(members.addresses, ['c:1', 'b:1', 'a:1']);
    members.learn(listOf(4, ['d:1']));
    t.same(members.addresses, ['d:1', 'a:1', 'b:1']);
  },
);

t.test('a client goes on with the member that answers when it hears of others', async (t) => {
  const [one, two] = [await member(t, answering(1)), await member(t, answering(2))];
  const members = membersOf(t, [one.address]);
  await members.call(method, request, { deadlineMs: within(30_000), repeatable: true });
  members.learn(listOf(1, [two.address, one.address]));
  await members.call(method, request, { deadlineMs: within(30_000), repeatable: true });
  t.same([one.calls(), two.calls()], [2, 0]);
  members.learn(listOf(2, [two.address]));
  members.rotate();
  await members.call(method, request, { deadlineMs: within(30_000), repeatable: true });
  t.same([one.calls(), two.calls()], [2, 1], 'and with the others when it leaves');
});

function listOf(version: number, addresses: readonly string[]): MemberList {
  return { ...MemberList.create(), version, members: addresses.map((address, i) => ({ memberId: i + 1, address })) };
}

t.test('a cluster that is not bootstrapped is waited for, and named when it does not come', async (t) => {
  const cluster = await FakeCluster.start();
  t.teardown(() => cluster.stop());
  cluster.bootstrapped = false;
  const connect = (connectTimeoutMs: number): Promise<SkerryClient> =>
    SkerryClient.connect({ placement: cluster.placement, connectTimeoutMs });
  const error = await errorOf(connect(3_000));
  t.equal(error.code, 'FAILED_PRECONDITION');
  t.equal(error.details['reason'], 'NOT_BOOTSTRAPPED');
  t.match(error.message, /start its stores/);
  const connecting = connect(30_000);
  cluster.bootstrapped = true;
  (await connecting).close();
});

t.test('the names of consistencies are the numbers of the protocol', async (t) => {
  t.same(
    [consistencyLinearizable, consistencyFollower, consistencyStale],
    [Consistency.LINEARIZABLE, Consistency.FOLLOWER, Consistency.STALE],
  );
});
