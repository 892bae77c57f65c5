import t from 'tap';
import type { Runtime } from '../../src/base/runtime.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import type { StoreCommand, StoreSessionResponse, WatchRoutesResponse } from '../../src/gen/skerry/v1/placement.js';
import { DescriptorInbox } from '../../placement/descriptor_inbox.js';
import { MemberList } from '../../src/gen/skerry/v1/members.js';
import { LeaderTable } from '../../placement/leader_table.js';
import {
  commandsPerFrameMax,
  descriptorBacklogMax,
  routesPerFrameMax,
  sessionBacklogMax,
  shardsPerCommandMax,
  watcherBacklogMax,
  watchersMax,
} from '../../placement/limits.js';
import { RouteFeed } from '../../placement/route_feed.js';
import type { WatchSink } from '../../placement/route_feed.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import type { PlacementCommand } from '../../placement/state/commands.js';
import { StoreSessions } from '../../placement/store_sessions.js';

/** Turns are taken by hand. */
function turns(): { runtime: Runtime; turn: () => void } {
  const queue: (() => void)[] = [];
  const unused = (): never => {
    throw new Error('only turns are expected here');
  };
  const runtime: Runtime = {
    nowMs: () => 0,
    wallMs: () => 0,
    nextTurn: (fn) => void queue.push(fn),
    after: unused,
    every: unused,
    random: unused,
  };
  const turn = (): void => {
    for (const fn of queue.splice(0)) fn();
  };
  return { runtime, turn };
}

function shardOf(shardId: number, keyspaceId = 1): Shard {
  const startKey = Buffer.alloc(4);
  startKey.writeUInt32BE(shardId);
  const epoch = { confVer: 1, version: 1 };
  return {
    shardId,
    keyspaceId,
    partitioning: Partitioning.RANGE,
    startKey,
    endKey: Buffer.alloc(0),
    epoch,
    replicas: [],
    merge: undefined,
  };
}

function stateWith(shards: number): ClusterState {
  const state = new ClusterState();
  for (const keyspaceId of [1, 2]) {
    state.restoreKeyspace({
      keyspaceId,
      name: `ks${keyspaceId}`,
      partitioning: Partitioning.RANGE,
      replicaCount: 1,
      initialShards: shards,
      phase: 'ready',
    });
  }
  for (let id = 1; id <= shards; id++) {
    const shard = shardOf(id);
    state.restoreShard({
      ...shard,
      startKey: Buffer.from(shard.startKey),
      endKey: Buffer.alloc(0),
      epoch: { confVer: 1, version: 1 },
    });
  }
  return state;
}

class Sink implements WatchSink {
  readonly frames: WatchRoutesResponse[] = [];
  ended = false;
  accepts = true;

  write(frame: WatchRoutesResponse): boolean {
    this.frames.push(frame);
    return this.accepts;
  }

  end(): void {
    this.ended = true;
  }

  routes(): number[] {
    return this.frames.splice(0).flatMap((f) => f.routes.map((r) => r.shard?.shardId ?? 0));
  }
}

const noMembers = (): MemberList => MemberList.create();

t.test('a listing goes out in frames, the last one says so', async (t) => {
  const { runtime } = turns();
  const state = stateWith(routesPerFrameMax + 1);
  const feed = new RouteFeed(runtime, () => state, new LeaderTable(), noMembers);
  const sink = new Sink();
  feed.watch(1, false, sink);
  t.same(
    sink.frames.map((f) => [f.routes.length, f.initialDone]),
    [
      [routesPerFrameMax, false],
      [1, true],
    ],
  );
});

t.test('changes of a turn are one frame, and those of a slow watcher gather', async (t) => {
  const { runtime, turn } = turns();
  const state = stateWith(10);
  const leaders = new LeaderTable();
  const feed = new RouteFeed(runtime, () => state, leaders, noMembers);
  const sink = new Sink();
  const watcher = feed.watch(1, false, sink);
  const stranger = new Sink();
  feed.watch(2, false, stranger);
  sink.routes();
  stranger.routes();
  feed.routeChanged(3);
  feed.routeChanged(4);
  feed.routeChanged(3);
  sink.accepts = false;
  turn();
  t.equal(sink.frames.length, 1);
  t.same(sink.routes(), [3, 4]);
  for (let i = 0; i < 5; i++) {
    leaders.set(5, { leaderReplicaId: 1, leaderStoreId: 1, term: i + 1 });
    feed.routeChanged(5);
    turn();
  }
  t.equal(sink.frames.length, 0, 'it is not written to while it holds back');
  sink.accepts = true;
  watcher?.drained();
  t.equal(sink.frames[0]?.routes[0]?.term, 5, 'it gets the latest');
  t.same(sink.routes(), [5], 'once');
  t.same(stranger.routes(), [], 'watchers of other keyspaces hear nothing');
});

t.test('a watcher whose backlog passes the limit is ended', async (t) => {
  const { runtime, turn } = turns();
  const state = stateWith(1);
  const feed = new RouteFeed(runtime, () => state, new LeaderTable(), noMembers);
  const sink = new Sink();
  sink.accepts = false;
  feed.watch(0, false, sink);
  for (let id = 1; id <= watcherBacklogMax; id++) feed.routeChanged(id);
  turn();
  t.notOk(sink.ended);
  feed.routeChanged(watcherBacklogMax + 1);
  turn();
  t.ok(sink.ended);
  t.equal(feed.size, 0);
});

t.test('watchers past the limit are refused, and mirrors end with leadership', async (t) => {
  const { runtime } = turns();
  const state = stateWith(1);
  const feed = new RouteFeed(runtime, () => state, new LeaderTable(), noMembers);
  const mirror = new Sink();
  feed.watch(0, true, mirror);
  for (let i = 1; i < watchersMax; i++) feed.watch(0, false, new Sink());
  t.equal(feed.watch(0, false, new Sink()), null);
  feed.endMirrors();
  t.ok(mirror.ended);
  t.equal(feed.size, watchersMax - 1);
});

class SessionSinkStub {
  readonly frames: StoreSessionResponse[] = [];
  ended = false;
  accepts = true;

  write(frame: StoreSessionResponse): boolean {
    this.frames.push(frame);
    return this.accepts;
  }

  end(): void {
    this.ended = true;
  }
}

function commandNumber(commandId: number): StoreCommand {
  return { commandId, command: { $case: 'transferLeader', value: { shardId: 1, toReplicaId: 1 } } };
}

t.test('commands of a turn leave in frames of a bounded size, and past the backlog they are dropped', async (t) => {
  const { runtime, turn } = turns();
  const state = stateWith(0);
  const sessions = new StoreSessions(runtime, () => state, noMembers);
  const sink = new SessionSinkStub();
  const session = sessions.open(7, sink);
  for (let i = 0; i < sessionBacklogMax + 3; i++) sessions.send(7, commandNumber(i));
  sessions.send(8, commandNumber(1));
  t.equal(sessions.dropped, 4, 'three past the limit, one without a session');
  sink.accepts = false;
  turn();
  t.same(
    sink.frames.map((f) => f.commands.length),
    [commandsPerFrameMax],
  );
  sink.accepts = true;
  session.drained();
  t.equal(sink.frames.flatMap((f) => f.commands).length, sessionBacklogMax, 'the rest in order');
});

t.test('a frame of large commands holds few of them', async (t) => {
  const { runtime, turn } = turns();
  const sessions = new StoreSessions(runtime, () => stateWith(0), noMembers);
  const sink = new SessionSinkStub();
  sessions.open(7, sink);
  const shards = Array.from({ length: 256 }, (_, i) => shardOf(i + 1));
  const create: StoreCommand = {
    commandId: 0,
    command: { $case: 'createShards', value: { shards, firstLeaders: [] } },
  };
  for (let i = 0; i < 32; i++) sessions.send(7, create);
  turn();
  t.equal(sink.frames.length, 2, '16 commands of 256 shards each');
});

t.test('a second session of a store replaces the first, and the end of leadership sends all away', async (t) => {
  const { runtime } = turns();
  const sessions = new StoreSessions(runtime, () => stateWith(0), noMembers);
  const first = new SessionSinkStub();
  const second = new SessionSinkStub();
  sessions.open(7, first);
  sessions.open(7, second);
  t.ok(first.ended);
  t.equal(sessions.size, 1);
  sessions.endAll('elsewhere:1');
  t.ok(second.ended);
  t.equal(second.frames.at(-1)?.leaderAddress, 'elsewhere:1');
});

t.test('descriptors wait until their command was applied, and go out in chunks', async (t) => {
  const proposed: PlacementCommand[] = [];
  let broken = true;
  let failures = 0;
  const inbox = new DescriptorInbox(
    (command) => {
      if (broken) return Promise.reject(new Error('no leader'));
      proposed.push(command);
      return Promise.resolve({ ok: true, value: 0 });
    },
    () => {
      failures++;
    },
  );
  for (let id = 1; id <= shardsPerCommandMax + 1; id++) inbox.add(shardOf(id));
  inbox.flush();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(failures, 1);
  t.equal(inbox.size, shardsPerCommandMax + 1, 'nothing is lost');
  broken = false;
  inbox.flush();
  inbox.flush();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(
    proposed.map((c) => (c.kind === 'updateShards' ? c.shards.length : 0)),
    [shardsPerCommandMax, 1],
  );
  t.equal(inbox.size, 0);
});

t.test('past the descriptor backlog a report is refused', async (t) => {
  const inbox = new DescriptorInbox(
    () => Promise.reject(new Error('unused')),
    () => undefined,
  );
  const shard = shardOf(1);
  for (let id = 1; id <= descriptorBacklogMax; id++) inbox.add({ ...shard, shardId: id });
  t.equal(inbox.add({ ...shard, shardId: descriptorBacklogMax + 1 }), false);
});
