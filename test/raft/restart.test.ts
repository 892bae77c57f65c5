import t from 'tap';
import { ConfChangeTransition } from '../../src/raft/conf_change.js';
import { leaveJoint } from '../../src/raft/conf_change_codec.js';
import { MsgType } from '../../src/raft/message.js';
import { RawNode } from '../../src/raft/raw_node.js';
import {
  changeOf,
  electionTick,
  Group,
  heartbeatTick,
  message,
  normal,
  Peer,
  testConfig,
  voters,
  without,
} from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* What a peer starts from (Raft figure 2: what is persistent). */

void t.test('a blank replica starts with nothing and says nothing', (t) => {
  const storage = new MemoryRaftStorage({ ...voters(), voters: [] });
  const node = new RawNode(testConfig(9), storage);
  t.match(node.status(), { term: 0, vote: 0, commit: 0, applied: 0, lastIndex: 0, role: 'follower', leaderId: 0 });
  t.notOk(node.hasReady());
  for (let i = 0; i < 100; i++) node.tick();
  t.equal(node.role, 'follower', 'it is no voter in its own view');
  t.end();
});

void t.test('an initial replica starts at its log’s position', (t) => {
  const storage = new MemoryRaftStorage(voters(1, 2, 3), 5, 5);
  storage.hardState = { term: 5, vote: 0, commit: 5 };
  const node = new RawNode(testConfig(1, { applied: 5 }), storage);
  t.match(node.status(), { term: 5, commit: 5, applied: 5, firstIndex: 6, lastIndex: 5, stableIndex: 5 });
  t.notOk(node.hasReady());
  t.end();
});

void t.test('term, vote and commit survive; role and leader do not', (t) => {
  const group = new Group(3);
  group.elect(1);
  group.propose(1, 'x');
  const peer = group.peer(1);
  const before = peer.node.status();
  peer.restart();
  const after = peer.node.status();
  t.match(after, { term: before.term, vote: before.vote, commit: before.commit, applied: before.applied });
  t.equal(after.role, 'follower');
  t.equal(after.leaderId, 0);
  t.notOk(peer.node.hasReady(), 'nothing new to say');
  t.end();
});

void t.test('committed entries that were not applied are handed out again', (t) => {
  const group = new Group(3);
  group.elect(1);
  group.propose(1, 'x');
  group.propose(1, 'y');
  const peer = group.peer(2);
  peer.applied.length = 0;
  peer.restart({ applied: 1 });
  peer.handleReadys();
  t.strictSame(peer.values, ['x', 'y']);
  t.end();
});

void t.test('a state machine ahead of the hard state is believed: what is applied was committed', (t) => {
  const storage = new MemoryRaftStorage(voters(1, 2, 3));
  storage.append([normal(1, 1), normal(1, 2), normal(1, 3)]);
  storage.hardState = { term: 1, vote: 0, commit: 1 };
  const peer = new Peer(testConfig(1, { applied: 2 }), storage);
  t.match(peer.node.status(), { commit: 2, applied: 2 });
  peer.handleReadys();
  t.equal(peer.applied.length, 0);
  t.end();
});

void t.test('a storage that lost committed entries is refused', (t) => {
  const storage = new MemoryRaftStorage(voters(1, 2, 3));
  storage.append([normal(1, 1)]);
  storage.hardState = { term: 1, vote: 0, commit: 3 };
  t.throws(() => new RawNode(testConfig(1), storage), /in the log/);
  storage.hardState = { term: 1, vote: 0, commit: 1 };
  t.throws(() => new RawNode(testConfig(1, { applied: 2 }), storage), /in the log/);
  t.end();
});

void t.test('a compacted log starts where it begins', (t) => {
  const group = new Group(3);
  group.elect(1);
  for (const value of ['a', 'b', 'c']) group.propose(1, value);
  const peer = group.peer(3);
  peer.storage.compact(3);
  peer.restart();
  t.match(peer.node.status(), { firstIndex: 4, lastIndex: 4, applied: 4 });
  group.propose(1, 'd');
  t.strictSame(peer.values, ['a', 'b', 'c', 'd']);
  t.end();
});

void t.test('an unsynced tail is gone and comes again', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  const leader = group.elect(1);
  leader.node.propose(Buffer.from('x'));
  leader.handleReadys();
  group.collect(leader);
  const peer = group.peer(2);
  for (const m of group.network.splice(0)) if (m.to === 2) peer.node.step(m);
  peer.handleReadys();
  const last = peer.node.lastIndex;
  peer.restart();
  t.equal(peer.node.lastIndex, last - 1);
  leader.tick(2);
  group.settle();
  t.strictSame(peer.values, ['x']);
  t.end();
});

void t.test('a restarted leader makes room and may be elected again', (t) => {
  const group = new Group(3, { preVote: true, checkQuorum: true });
  group.elect(1);
  group.propose(1, 'x');
  const peer = group.peer(1);
  peer.restart();
  for (const other of group.peers) other.tick(10);
  group.settle();
  peer.node.campaign();
  group.settle();
  const leaders = group.peers.filter((p) => p.node.role === 'leader');
  t.equal(leaders.length, 1);
  t.ok((leaders[0]?.node.term ?? 0) > 1);
  t.end();
});

void t.test('the configuration at the applied index is what a replica restarts with', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 3]]));
  group.settle();
  const peer = group.peer(2);
  peer.restart();
  t.strictSame(peer.node.confState, voters(1, 2));
  t.end();
});

void t.test('a candidate that restarts with its vote does not vote for another in the term', (t) => {
  const group = new Group(3);
  const peer = group.peer(1);
  peer.node.campaign();
  peer.handleReadys();
  peer.restart();
  peer.node.step(message(MsgType.MsgVote, 2, 1, { term: 1, index: 9, logTerm: 9 }));
  peer.handleReadys();
  t.match(peer.outgoing.pop(), { type: MsgType.MsgVoteResp, reject: true });
  t.end();
});

void t.test('a candidate whose vote was not durable may vote again: nobody heard of it', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  const peer = group.peer(1);
  peer.node.campaign();
  peer.handleReadys();
  peer.restart();
  t.equal(peer.node.term, 0);
  peer.node.step(message(MsgType.MsgVote, 2, 1, { term: 1, index: 9, logTerm: 9 }));
  group.work(peer);
  t.match(group.network.pop(), { type: MsgType.MsgVoteResp, reject: false });
  t.end();
});

void t.test('whoever restarts in a joint configuration needs both halves, and can leave it (thesis §4.3)', (t) => {
  const group = new Group(4, {}, voters(1, 2, 3));
  const change = changeOf(
    [
      ['add', 4],
      ['remove', 3],
    ],
    ConfChangeTransition.JointExplicit,
  );
  group.elect(1).node.proposeConfChange(change);
  group.settle();
  const joint = { ...voters(1, 2, 4), votersOutgoing: [1, 2, 3] };
  for (const peer of group.peers) {
    peer.restart();
    t.strictSame(peer.node.confState, joint);
  }
  const peer = group.peer(1);
  peer.node.campaign();
  group.settle(without(2, 3));
  t.equal(peer.node.role, 'candidate', '1 and 4 are no majority of the outgoing half');
  peer.node.campaign();
  group.settle();
  t.equal(peer.node.role, 'leader');
  peer.node.proposeConfChange(leaveJoint);
  group.settle();
  t.strictSame(peer.node.confState, voters(1, 2, 4));
  t.end();
});

void t.test('a joint configuration that leaves by itself is left after a restart of all', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 3]], ConfChangeTransition.JointImplicit));
  // The change is applied everywhere; the one that leaves it is lost.
  group.settle((m) => !m.entries.some((e) => e.data.length === 0 && e.type !== 0));
  for (const peer of group.peers) {
    t.ok(peer.node.confState.autoLeave);
    peer.restart();
  }
  group.elect(1);
  for (const id of [1, 2]) t.strictSame(group.peer(id).node.confState, voters(1, 2));
  t.end();
});

void t.test('a learner restarts as a learner, a removed replica as none: neither campaigns', (t) => {
  const group = new Group(4, {}, { ...voters(1, 2, 4), learners: [3] });
  group.elect(1).node.proposeConfChange(changeOf([['remove', 4]]));
  group.settle();
  for (const id of [3, 4]) {
    const peer = group.peer(id);
    peer.restart();
    peer.tick(5 * electionTick);
    peer.node.campaign();
    t.equal(peer.node.role, 'follower', String(id));
  }
  group.propose(1, 'x');
  t.strictSame(group.peer(3).values, ['x']);
  t.end();
});

void t.test(
  'a membership change that is committed and not applied is applied before anything is campaigned for',
  (t) => {
    const group = new Group(3, { asyncStorageWrites: true });
    group.elect(1).node.proposeConfChange(changeOf([['remove', 3]]));
    group.settle();
    const peer = group.peer(2);
    peer.applied.length = 0;
    peer.storage.confState = voters(1, 2, 3);
    peer.restart({ applied: 1 });
    peer.node.campaign();
    t.equal(peer.node.role, 'follower', 'it would ask the voters of an old configuration');
    group.work(peer);
    group.network.length = 0;
    t.strictSame(peer.node.confState, voters(1, 2));
    peer.node.campaign();
    group.work(peer);
    t.strictSame(
      group.network.map((m) => [m.type, m.to]),
      [[MsgType.MsgVote, 1]],
    );
    t.end();
  },
);

void t.test('a snapshot that was not stored is gone, and comes again', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  group.elect(1);
  for (let i = 0; i < 5; i++) group.propose(1, 'v', [1, 2]);
  const leader = group.peer(1);
  leader.storage.snapshotMeta = { index: 6, term: 1, confState: voters(1, 2, 3) };
  leader.storage.compact(6);
  const behind = group.peer(3);
  const before = behind.node.status();
  leader.tick(heartbeatTick);
  for (let i = 0; behind.node.commit < 6 && i < 10; i++) {
    group.work(leader);
    for (const m of group.network.splice(0)) if (m.to === 3) behind.node.step(m);
    behind.handleReadys();
    while (behind.node.commit < 6 && behind.appendQueue.length > 0) behind.sync();
    group.collect(behind);
    for (const m of group.network.splice(0)) if (m.to === 1) leader.node.step(m);
  }
  t.equal(behind.node.commit, 6, 'it took the snapshot');
  behind.restart();
  t.match(behind.node.status(), { commit: before.commit, applied: before.applied, lastIndex: before.lastIndex });
  leader.node.reportSnapshot(3, false);
  leader.tick(heartbeatTick);
  group.settle();
  t.equal(behind.node.applied, leader.node.applied);
  behind.restart({ applied: 6 });
  t.match(behind.node.status(), { firstIndex: 7, applied: 6, commit: leader.node.commit }, 'once stored it is kept');
  t.end();
});

void t.test('a pre-candidate that restarts has changed nothing (thesis §9.6)', (t) => {
  const group = new Group(3, { preVote: true });
  group.elect(1);
  const peer = group.peer(2);
  const { term, vote } = peer.node.status();
  peer.node.campaign();
  peer.handleReadys();
  t.equal(peer.node.role, 'preCandidate');
  peer.restart();
  t.match(peer.node.status(), { role: 'follower', term, vote });
  t.end();
});

void t.test('a read that was asked before a restart has no answer after it, not even a late one', (t) => {
  const group = new Group(3);
  group.elect(1);
  const peer = group.peer(2);
  peer.node.readIndex(3);
  peer.handleReadys();
  peer.restart();
  peer.node.step(message(MsgType.MsgHeartbeat, 1, 2, { term: 1 }));
  peer.node.step(message(MsgType.MsgReadIndexResp, 1, 2, { term: 1, context: 3, index: 1 }));
  peer.handleReadys();
  t.strictSame(peer.readStates, []);
  t.end();
});

void t.test(
  'a log that begins behind a snapshot has everything before it committed, without a hard state, too',
  (t) => {
    const storage = new MemoryRaftStorage(voters(1, 2, 3), 5, 2);
    const node = new RawNode(testConfig(1), storage);
    t.equal(node.commit, 5);
    t.equal(node.applied, 5);
    t.notOk(node.hasReady(), 'nothing of it is handed out again');
    t.end();
  },
);

void t.test('a snapshot from before the start of a compacted log changes nothing (Raft §7)', (t) => {
  const storage = new MemoryRaftStorage(voters(1, 2, 3), 5, 2);
  storage.hardState = { term: 2, vote: 2, commit: 5 };
  const node = new RawNode(testConfig(1, { applied: 5 }), storage);
  const snapshot = { index: 3, term: 1, confState: voters(1, 2, 3) };
  node.step(message(MsgType.MsgSnap, 2, 1, { term: 2, snapshot }));
  t.equal(node.commit, 5);
  t.equal(node.lastIndex, 5);
  t.equal(node.ready().snapshot, null);
  t.end();
});
