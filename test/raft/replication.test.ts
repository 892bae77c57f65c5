import t from 'tap';
import { MsgType } from '../../src/raft/message.js';
import type { Message } from '../../src/raft/message.js';
import { Group, message, normal, Peer, testConfig, voters, without } from './group.js';
import type { RaftConfig } from '../../src/raft/config.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* Raft §5.3, §5.4.2, §7. */

function followerWith(terms: readonly number[], commit: number, overrides: Partial<RaftConfig> = {}): Peer {
  const storage = new MemoryRaftStorage(voters(1, 2, 3));
  storage.append(terms.map((term, i) => normal(term, i + 1)));
  storage.hardState = { term: terms[terms.length - 1] ?? 1, vote: 0, commit };
  return new Peer(testConfig(1, overrides), storage);
}

function lastAnswer(peer: Peer): Message | undefined {
  peer.handleReadys();
  return peer.outgoing.splice(0).at(-1);
}

void t.test('what is proposed is applied everywhere, in order', (t) => {
  for (const asyncStorageWrites of [false, true]) {
    const group = new Group(5, { asyncStorageWrites });
    group.elect(1);
    for (const value of ['a', 'b', 'c']) group.propose(1, value);
    for (const peer of group.peers) t.strictSame(peer.values, ['a', 'b', 'c']);
  }
  t.end();
});

void t.test('a leader commits only entries of its own term, and others with them (Raft §5.4.2, figure 8)', (t) => {
  const group = new Group(3);
  group.elect(1);
  group.peer(1).node.propose(Buffer.from('old'));
  group.settle(without(2, 3));
  const { commit } = group.peer(1).node;
  t.equal(group.peer(1).node.lastIndex, commit + 1);
  // The same replica leads again, in a later term; its empty entry reaches nobody yet.
  group.peer(1).node.step(message(MsgType.MsgVote, 2, 1, { term: 2 }));
  group.peer(1).node.campaign();
  group.settle((m) => m.type !== MsgType.MsgApp);
  t.equal(group.peer(1).node.role, 'leader');
  // A quorum gets to have the old entry, but nothing of the present term.
  const { term } = group.peer(1).node;
  const old = group.peer(1).storage.entry(commit + 1);
  const append = message(MsgType.MsgApp, 1, 2, { term, index: commit, logTerm: 1, entries: [old], commit });
  group.peer(2).node.step(append);
  group.peer(2).handleReadys();
  const ack = group.peer(2).outgoing.splice(0).at(-1);
  t.match(ack, { type: MsgType.MsgAppResp, index: commit + 1, reject: false });
  if (ack !== undefined) group.peer(1).node.step(ack);
  t.equal(group.peer(1).node.commit, commit, 'on a majority and still not committed');
  group.peer(1).tick(2);
  group.settle();
  t.ok(group.peer(1).node.commit > commit + 1);
  t.strictSame(group.peer(3).values, ['old']);
  t.end();
});

void t.test('a follower commits no further than an append proves (Raft §5.3)', (t) => {
  const peer = followerWith([1, 1, 1, 1], 1);
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 2, index: 1, logTerm: 1, entries: [normal(2, 2)], commit: 9 }));
  t.equal(peer.node.commit, 2);
  const agreeing = followerWith([1, 1, 1, 1], 1);
  const entries = [normal(1, 2)];
  agreeing.node.step(message(MsgType.MsgApp, 2, 1, { term: 2, index: 1, logTerm: 1, entries, commit: 9 }));
  t.equal(agreeing.node.lastIndex, 4);
  t.equal(agreeing.node.commit, 2, 'entries 3 and 4 may be somebody else’s');
  agreeing.node.step(message(MsgType.MsgApp, 2, 1, { term: 2, index: 3, logTerm: 1, commit: 9 }));
  t.equal(agreeing.node.commit, 3);
  t.end();
});

void t.test('a heartbeat commits nothing in a log that is not the leader’s', (t) => {
  const peer = followerWith([1, 1, 1], 1);
  peer.node.step(message(MsgType.MsgHeartbeat, 2, 1, { term: 2, commit: 3 }));
  t.equal(peer.node.commit, 1, 'the last entry is of an earlier term');
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 2, index: 1, logTerm: 1, entries: [normal(2, 2)] }));
  peer.node.step(message(MsgType.MsgHeartbeat, 2, 1, { term: 2, commit: 9 }));
  t.equal(peer.node.commit, 2, 'no further than the log goes');
  t.end();
});

void t.test('conflicting entries are replaced, what agrees stays', (t) => {
  const peer = followerWith([1, 1, 2, 2], 1);
  const entries = [normal(1, 2), normal(3, 3)];
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 3, index: 1, logTerm: 1, entries, commit: 1 }));
  t.equal(lastAnswer(peer)?.index, 3);
  t.strictSame(
    peer.storage.all().map((e) => e.term),
    [1, 1, 3],
  );
  t.end();
});

void t.test('an old append does not truncate what came after it', (t) => {
  const peer = followerWith([1], 1);
  const all = [normal(1, 2), normal(1, 3), normal(1, 4)];
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 1, index: 1, logTerm: 1, entries: all, commit: 1 }));
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 1, index: 1, logTerm: 1, entries: all.slice(0, 1), commit: 1 }));
  t.equal(lastAnswer(peer)?.index, 2);
  t.equal(peer.storage.lastIndex(), 4);
  t.end();
});

void t.test('an append below the commit index is answered with the commit index', (t) => {
  const peer = followerWith([1, 1, 1], 3);
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 1, index: 1, logTerm: 1, entries: [normal(1, 2)] }));
  const answer = lastAnswer(peer);
  t.equal(answer?.index, 3);
  t.notOk(answer?.reject);
  t.end();
});

void t.test('a refused append hints at where the logs may agree (Raft §5.3)', (t) => {
  const peer = followerWith([1, 2, 2, 2], 1);
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 5, index: 9, logTerm: 5 }));
  t.match(lastAnswer(peer), { reject: true, index: 9, rejectHint: 4, logTerm: 2 });
  peer.node.step(message(MsgType.MsgApp, 2, 1, { term: 5, index: 4, logTerm: 1 }));
  t.match(lastAnswer(peer), { reject: true, index: 4, rejectHint: 1, logTerm: 1 });
  t.end();
});

void t.test('an append whose entries do not follow each other is dropped', (t) => {
  const peer = followerWith([1], 1);
  const gap = message(MsgType.MsgApp, 2, 1, { term: 1, index: 1, logTerm: 1, entries: [normal(1, 3)] });
  t.strictSame(peer.node.step(gap), { ok: false, reason: 'dropped' });
  t.equal(peer.node.lastIndex, 1);
  t.end();
});

void t.test('followers that are behind, ahead or on another branch catch up (Raft figure 7)', (t) => {
  const logs = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ];
  const group = new Group(7);
  logs.forEach((terms, i) => {
    const peer = group.peer(i + 1);
    peer.storage.append(terms.map((term, j) => normal(term, j + 1)));
    peer.storage.hardState = { term: terms[terms.length - 1] ?? 0, vote: 0, commit: 0 };
    peer.restart();
  });
  group.peer(1).node.step(message(MsgType.MsgAppResp, 2, 1, { term: 7 }));
  group.elect(1);
  t.equal(group.peer(1).node.role, 'leader');
  const terms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8];
  for (const peer of group.peers) {
    t.strictSame(
      peer.storage.all().map((e) => e.term),
      terms,
    );
    t.equal(peer.node.commit, 11);
  }
  t.end();
});

void t.test('windows limit what is on its way, in messages and in bytes', (t) => {
  const onTheWay = (overrides: Partial<RaftConfig>): number => {
    const group = new Group(2, overrides);
    group.elect(1);
    for (let i = 0; i < 10; i++) group.peer(1).node.propose(Buffer.alloc(84));
    group.peer(1).handleReadys();
    return group.peer(1).outgoing.reduce((sum, m) => sum + m.entries.length, 0);
  };
  t.equal(onTheWay({}), 10);
  t.equal(onTheWay({ maxInflightMsgs: 3 }), 3);
  t.equal(onTheWay({ maxSizePerMsg: 100, maxInflightBytes: 400 }), 4);
  t.end();
});

void t.test('a window opens with acknowledgements and the rest follows', (t) => {
  const group = new Group(2, { maxInflightMsgs: 2, maxSizePerMsg: 100 });
  group.elect(1);
  const leader = group.peer(1);
  for (let i = 0; i < 10; i++) leader.node.propose(Buffer.from(`v${String(i)}`));
  t.equal(leader.node.status().progress.get(2)?.inflightFull, true);
  group.settle();
  t.equal(group.peer(2).values.length, 10);
  t.equal(leader.node.status().progress.get(2)?.inflightMsgs, 0);
  t.end();
});

void t.test('an append holds as many entries as fit, at least one', (t) => {
  const group = new Group(2, { maxSizePerMsg: 40 });
  group.elect(1);
  const leader = group.peer(1);
  leader.node.reportUnreachable(2);
  for (let i = 0; i < 6; i++) leader.node.propose(Buffer.from(i === 3 ? 'x'.repeat(100) : 'v'));
  leader.handleReadys();
  leader.outgoing.length = 0;
  const sizes: number[] = [];
  leader.node.step(message(MsgType.MsgHeartbeatResp, 2, 1, { term: 1 }));
  group.settle((m) => {
    if (m.type === MsgType.MsgApp && m.entries.length > 0) sizes.push(m.entries.length);
    return true;
  });
  t.strictSame(sizes, [2, 1, 1, 2]);
  t.equal(group.peer(2).values.length, 6);
  t.end();
});

void t.test('a lost append is found out by a heartbeat’s answer', (t) => {
  const group = new Group(2);
  group.elect(1);
  group.peer(1).node.propose(Buffer.from('lost'));
  group.settle((m) => m.type !== MsgType.MsgApp);
  t.strictSame(group.peer(2).values, []);
  group.peer(1).tick(2);
  group.settle();
  t.strictSame(group.peer(2).values, ['lost']);
  t.end();
});

void t.test('an unreachable follower is probed, not flooded', (t) => {
  const group = new Group(2);
  group.elect(1);
  const leader = group.peer(1);
  leader.node.reportUnreachable(2);
  for (let i = 0; i < 5; i++) leader.node.propose(Buffer.from('v'));
  leader.handleReadys();
  t.equal(leader.outgoing.filter((m) => m.type === MsgType.MsgApp).length, 1);
  t.end();
});

void t.test('a follower that needs compacted entries gets a snapshot', (t) => {
  for (const asyncStorageWrites of [false, true]) {
    const group = new Group(3, { asyncStorageWrites });
    group.elect(1);
    for (let i = 0; i < 5; i++) group.propose(1, 'v', [1, 2]);
    const leader = group.peer(1);
    leader.storage.snapshotMeta = { index: 6, term: 1, confState: voters(1, 2, 3) };
    leader.storage.compact(6);
    leader.tick(2);
    group.settle();
    const behind = group.peer(3);
    t.equal(behind.storage.firstIndex(), 7);
    t.equal(behind.node.applied, 6);
    group.propose(1, 'after');
    t.strictSame(behind.values, ['after']);
  }
  t.end();
});

void t.test(
  'a snapshot is not sent before there is one, nor to a silent follower, nor without the follower in it',
  (t) => {
    const group = new Group(3);
    group.elect(1);
    for (let i = 0; i < 5; i++) group.propose(1, 'v', [1, 2]);
    const leader = group.peer(1);
    leader.storage.compact(6);
    const stateOf = (): string | undefined => leader.node.status().progress.get(3)?.state;
    leader.tick(2);
    group.settle();
    t.not(stateOf(), 'snapshot', 'there is none yet');
    leader.storage.snapshotMeta = { index: 6, term: 1, confState: voters(1, 2) };
    leader.tick(2);
    group.settle();
    t.not(stateOf(), 'snapshot', 'this one is from before it was a member');
    leader.storage.snapshotMeta = { index: 6, term: 1, confState: voters(1, 2, 3) };
    leader.tick(2);
    group.settle((m) => m.type !== MsgType.MsgSnap);
    t.equal(stateOf(), 'snapshot');
    t.end();
  },
);

void t.test('after a snapshot was reported, its follower is probed behind it or, if it failed, before it', (t) => {
  for (const ok of [true, false]) {
    const group = new Group(3);
    group.elect(1);
    for (let i = 0; i < 5; i++) group.propose(1, 'v', [1, 2]);
    const leader = group.peer(1);
    leader.storage.snapshotMeta = { index: 6, term: 1, confState: voters(1, 2, 3) };
    leader.storage.compact(6);
    leader.tick(2);
    group.settle((m) => m.type !== MsgType.MsgSnap);
    const match = leader.node.status().progress.get(3)?.match ?? 0;
    leader.node.reportSnapshot(3, ok);
    const progress = leader.node.status().progress.get(3);
    t.match(progress, { state: 'probe', paused: true, next: ok ? 7 : match + 1 });
  }
  t.end();
});

void t.test('a snapshot behind the commit index is ignored, one that the log has moves the commit index only', (t) => {
  const peer = followerWith([1, 1, 1], 1);
  peer.handleReadys();
  const snap = (index: number): void => {
    const snapshot = { index, term: 1, confState: voters(1, 2, 3) };
    peer.node.step(message(MsgType.MsgSnap, 2, 1, { term: 1, snapshot }));
  };
  snap(1);
  t.equal(lastAnswer(peer)?.index, 1);
  snap(2);
  t.equal(lastAnswer(peer)?.index, 2);
  t.equal(peer.node.commit, 2);
  t.equal(peer.storage.lastIndex(), 3, 'the log is as it was');
  t.end();
});

void t.test('a replica refuses a snapshot of a group that it is no member of', (t) => {
  const peer = followerWith([1], 1);
  const snapshot = { index: 9, term: 1, confState: voters(2, 3) };
  peer.node.step(message(MsgType.MsgSnap, 2, 1, { term: 1, snapshot }));
  t.equal(lastAnswer(peer)?.index, 1);
  t.strictSame(peer.node.confState.voters, [1, 2, 3]);
  t.end();
});

void t.test('a follower whose entries have to be loaded waits until they are', (t) => {
  const group = new Group(2);
  group.elect(1);
  const leader = group.peer(1);
  leader.node.reportUnreachable(2);
  for (let i = 0; i < 3; i++) leader.node.propose(Buffer.from(`v${String(i)}`));
  leader.handleReadys();
  leader.outgoing.length = 0;
  leader.storage.pendingBelow = 4;
  for (let i = 0; i < 3; i++) {
    leader.node.step(message(MsgType.MsgHeartbeatResp, 2, 1, { term: 1 }));
    leader.handleReadys();
  }
  t.equal(leader.outgoing.length, 0);
  leader.storage.pendingBelow = 0;
  leader.node.entriesLoaded();
  group.settle();
  t.equal(group.peer(2).values.length, 3);
  t.end();
});

void t.test('an acknowledgement of an entry that the leader does not have is a broken invariant', (t) => {
  const group = new Group(2);
  group.elect(1);
  t.throws(() => group.peer(1).node.step(message(MsgType.MsgAppResp, 2, 1, { term: 1, index: 99 })), /has not/);
  t.end();
});

void t.test('a late rejection of what was acknowledged since changes nothing', (t) => {
  const group = new Group(2);
  group.elect(1);
  group.propose(1, 'a');
  const leader = group.peer(1);
  const late = message(MsgType.MsgAppResp, 2, 1, { term: 1, index: 1, reject: true, rejectHint: 0 });
  leader.node.step(late);
  t.equal(leader.node.status().progress.get(2)?.state, 'replicate');
  t.notOk(leader.node.hasReady());
  t.end();
});

void t.test('a follower that denies what it acknowledged is asked again at the pace of heartbeats only', (t) => {
  const group = new Group(2);
  group.elect(1);
  group.propose(1, 'a');
  const leader = group.peer(1);
  const { match = 0 } = leader.node.status().progress.get(2) ?? {};
  leader.node.reportUnreachable(2);
  const denial = message(MsgType.MsgAppResp, 2, 1, { term: 1, index: match, reject: true, rejectHint: 0 });
  for (let i = 0; i < 3; i++) leader.node.step({ ...denial });
  leader.handleReadys();
  t.equal(leader.outgoing.length, 0);
  leader.node.step(message(MsgType.MsgHeartbeatResp, 2, 1, { term: 1 }));
  leader.handleReadys();
  t.equal(leader.outgoing.length, 1);
  t.end();
});

void t.test('two leaders in one term are a broken invariant', (t) => {
  const group = new Group(3);
  group.elect(1);
  t.throws(() => group.peer(1).node.step(message(MsgType.MsgApp, 2, 1, { term: 1 })), /both lead/);
  t.throws(() => group.peer(3).node.step(message(MsgType.MsgHeartbeat, 2, 3, { term: 1 })), /both lead/);
  t.end();
});

void t.test('a follower that is silent gets no snapshot until it is heard', (t) => {
  const group = new Group(3, { checkQuorum: true });
  const leader = group.elect(1);
  for (let i = 0; i < 5; i++) group.propose(1, 'v', [1, 2]);
  leader.storage.snapshotMeta = { index: 6, term: 1, confState: voters(1, 2, 3) };
  leader.storage.compact(6);
  leader.tick(10);
  leader.node.reportUnreachable(3);
  leader.node.propose(Buffer.from('x'));
  leader.handleReadys();
  t.equal(leader.node.status().progress.get(3)?.state, 'probe');
  leader.node.step(message(MsgType.MsgHeartbeatResp, 3, 1, { term: 1 }));
  t.equal(leader.node.status().progress.get(3)?.state, 'snapshot');
  t.end();
});
