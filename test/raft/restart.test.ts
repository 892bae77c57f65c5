import t from 'tap';
import { MsgType } from '../../src/raft/message.js';
import { RawNode } from '../../src/raft/raw_node.js';
import { changeOf, Group, message, normal, Peer, testConfig, voters } from './group.js';
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
