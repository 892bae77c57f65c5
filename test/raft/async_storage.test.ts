import t from 'tap';
import type { RaftConfig } from '../../src/raft/config.js';
import { appendThread, MsgType } from '../../src/raft/message.js';
import { Group, message, normal, Peer, testConfig, voters, without } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* Async storage writes: thesis §10.2.1, and the guard of the append path. */

const async = { asyncStorageWrites: true };

function follower(overrides: Partial<RaftConfig> = {}): Peer {
  return new Peer(testConfig(1, { ...async, ...overrides }), new MemoryRaftStorage(voters(1, 2, 3)));
}

function append(term: number, previous: readonly [number, number], terms: readonly number[], commit = 0) {
  const [logTerm, index] = previous;
  const entries = terms.map((entryTerm, i) => normal(entryTerm, index + 1 + i));
  return message(MsgType.MsgApp, 2, 1, { term, logTerm, index, entries, commit });
}

void t.test('a leader sends entries before they are on its own disk, and counts itself only afterwards', (t) => {
  const group = new Group(3, async);
  const leader = group.elect(1);
  const { commit } = leader.node;
  leader.node.propose(Buffer.from('x'));
  leader.handleReadys();
  t.equal(leader.outgoing.filter((m) => m.type === MsgType.MsgApp).length, 2);
  group.collect(leader);
  for (const m of group.network.splice(0)) if (m.to === 2) group.peer(2).node.step(m);
  group.work(group.peer(2));
  for (const m of group.network.splice(0)) leader.node.step(m);
  t.equal(leader.node.commit, commit, 'one follower alone is no quorum of three');
  while (leader.appendQueue.length > 0) leader.sync();
  t.equal(leader.node.commit, commit + 1);
  t.end();
});

void t.test('a commit may pass the leader’s own disk, what it hands out may not', (t) => {
  const group = new Group(3, async);
  const leader = group.elect(1);
  leader.node.propose(Buffer.from('x'));
  leader.handleReadys();
  group.collect(leader);
  for (const m of group.network.splice(0)) group.peer(m.to).node.step(m);
  for (const id of [2, 3]) group.work(group.peer(id));
  for (const m of group.network.splice(0)) leader.node.step(m);
  leader.handleReadys();
  t.ok(leader.node.commit > leader.storage.all().length, 'both followers have it');
  t.equal(leader.applyQueue.length, 0, 'the entry is not on this disk yet');
  while (leader.appendQueue.length > 0) leader.sync();
  leader.handleReadys();
  t.equal(leader.applyQueue.length, 1);
  t.end();
});

void t.test('a follower answers only after its sync', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1]));
  peer.handleReadys();
  t.equal(peer.outgoing.length, 0);
  peer.sync();
  t.match(peer.outgoing, [{ type: MsgType.MsgAppResp, index: 1 }]);
  t.equal(peer.node.status().stableIndex, 1);
  t.end();
});

void t.test('a write of an earlier term confirms nothing, even if the entry looks the same again (ABA)', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1, 1]));
  peer.handleReadys();
  peer.node.step({ ...append(2, [1, 1], [2]), from: 3 });
  peer.handleReadys();
  // Entry 2 of term 1 comes back, and is not written yet.
  peer.node.step(append(3, [1, 1], [1, 3]));
  peer.sync();
  t.equal(peer.node.status().stableIndex, 0, 'the first write spoke of another entry 2');
  peer.sync();
  t.equal(peer.node.status().stableIndex, 0);
  peer.handleReadys();
  peer.sync();
  t.equal(peer.node.status().stableIndex, 3, 'the last write confirms everything before it');
  t.strictSame(
    peer.storage.all().map((e) => e.term),
    [1, 1, 3],
  );
  t.end();
});

void t.test('a write confirms what is unconfirmed, also what earlier writes were overtaken with', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1]));
  peer.handleReadys();
  peer.node.step(message(MsgType.MsgHeartbeat, 3, 1, { term: 2 }));
  peer.handleReadys();
  t.equal(peer.appendQueue.length, 2);
  peer.sync();
  t.equal(peer.node.status().stableIndex, 0);
  peer.sync();
  t.equal(peer.node.status().stableIndex, 1, 'a hard state alone was written, after the entry');
  t.end();
});

void t.test('a report about an index that is not the entry’s is ignored', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1, 1]));
  peer.handleReadys();
  const stored = { term: 1, logTerm: 9, index: 2 };
  peer.node.step(message(MsgType.MsgStorageAppendResp, appendThread, 1, stored));
  t.equal(peer.node.status().stableIndex, 0);
  peer.node.step(message(MsgType.MsgStorageAppendResp, appendThread, 1, { ...stored, logTerm: 1, index: 1 }));
  t.equal(peer.node.status().stableIndex, 1);
  peer.node.step(message(MsgType.MsgStorageAppendResp, appendThread, 1, { ...stored, logTerm: 1, index: 1 }));
  t.equal(peer.node.status().stableIndex, 1, 'twice is once');
  t.end();
});

void t.test('committed entries are handed out in pages, the next one when the last is applied', (t) => {
  const peer = follower({ maxCommittedSizePerReady: 32 });
  peer.node.step(append(1, [0, 0], [1, 1, 1, 1, 1], 5));
  peer.handleReadys();
  while (peer.appendQueue.length > 0) peer.sync();
  peer.handleReadys();
  t.strictSame(
    peer.applyQueue.map((m) => m.entries.length),
    [2],
    'two entries of 16 bytes each',
  );
  peer.applyOne();
  peer.handleReadys();
  t.equal(peer.applyQueue[0]?.entries[0]?.index, 3);
  peer.applyOne();
  peer.handleReadys();
  peer.applyOne();
  t.equal(peer.node.applied, 5);
  t.end();
});

void t.test('committed entries that have to be loaded are handed out once they are', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1, 1], 2));
  peer.handleReadys();
  peer.storage.pendingBelow = 3;
  peer.sync();
  peer.handleReadys();
  t.equal(peer.applyQueue.length, 0);
  t.notOk(peer.node.hasReady(), 'nothing to do until they are loaded');
  peer.storage.pendingBelow = 0;
  peer.node.entriesLoaded();
  peer.handleReadys();
  t.equal(peer.applyQueue[0]?.entries.length, 2);
  t.end();
});

void t.test('nothing is handed out to apply while a snapshot is being stored', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1], 0));
  const snapshot = { index: 5, term: 1, confState: voters(1, 2, 3) };
  peer.node.step(message(MsgType.MsgSnap, 2, 1, { term: 1, snapshot }));
  peer.node.step(append(1, [1, 5], [1], 6));
  peer.handleReadys();
  t.equal(peer.node.commit, 6);
  t.equal(peer.applyQueue.length, 0);
  const [work] = peer.appendQueue;
  t.equal(work?.snapshot?.index, 5);
  t.equal(work?.entries.length, 1);
  peer.sync();
  peer.handleReadys();
  t.equal(peer.node.applied, 5);
  t.equal(peer.applyQueue[0]?.entries[0]?.index, 6);
  t.end();
});

void t.test('an overtaken snapshot does not end the wait for the newer one', (t) => {
  const peer = follower();
  const snap = (index: number): void => {
    const snapshot = { index, term: 1, confState: voters(1, 2, 3) };
    peer.node.step(message(MsgType.MsgSnap, 2, 1, { term: 1, snapshot }));
    peer.handleReadys();
  };
  snap(5);
  snap(8);
  peer.sync();
  peer.node.campaign();
  t.equal(peer.node.role, 'follower', 'the newer one is not stored');
  t.equal(peer.node.applied, 5);
  peer.sync();
  t.equal(peer.node.applied, 8);
  t.end();
});

void t.test('a follower that is far ahead of its disk keeps the order of its answers', (t) => {
  const group = new Group(3, async);
  const leader = group.elect(1);
  for (let i = 0; i < 5; i++) {
    leader.node.propose(Buffer.from(String(i)));
    leader.handleReadys();
  }
  group.collect(leader);
  const peer = group.peer(2);
  for (const m of group.network.splice(0).filter(without(3))) {
    peer.node.step(m);
    peer.handleReadys();
  }
  while (peer.appendQueue.length > 0) peer.sync();
  const indexes = peer.outgoing.filter((m) => m.type === MsgType.MsgAppResp).map((m) => m.index);
  t.strictSame(
    indexes,
    [...indexes].sort((a, b) => a - b),
  );
  t.equal(indexes.length, 5);
  t.end();
});

void t.test('a follower hands out nothing that is committed and not on its own disk', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1, 1], 2));
  peer.handleReadys();
  t.equal(peer.node.commit, 2, 'the leader says so');
  t.equal(peer.applyQueue.length, 0, 'after a crash the log would end before what was applied');
  peer.sync();
  peer.handleReadys();
  t.strictSame(
    peer.applyQueue.map((m) => m.entries.map((e) => e.index)),
    [[1, 2]],
  );
  t.end();
});

void t.test('pages follow the disk: what is synced later is handed out later, within the same limit', (t) => {
  const peer = follower({ maxCommittedSizePerReady: 48 });
  for (const index of [0, 1, 2, 3]) {
    peer.node.step(append(1, [index === 0 ? 0 : 1, index], [1], 4));
    peer.handleReadys();
  }
  const handedOut = (): number[] => peer.applyQueue.flatMap((m) => m.entries.map((e) => e.index));
  for (const expected of [[1], [1, 2], [1, 2, 3], [1, 2, 3]]) {
    peer.sync();
    peer.handleReadys();
    t.strictSame(handedOut(), expected, 'three entries of 16 bytes fill the limit');
  }
  peer.applyOne();
  peer.handleReadys();
  t.strictSame(handedOut(), [2, 3, 4]);
  while (peer.applyQueue.length > 0) peer.applyOne();
  t.equal(peer.node.applied, 4);
  t.end();
});

void t.test('a new leader counts what is on its disk, not what is in its log', (t) => {
  // Only earlyVoteRequests lets anyone win before its log is durable.
  const peer = follower({ earlyVoteRequests: true });
  peer.node.step(append(1, [0, 0], [1]));
  peer.handleReadys();
  peer.node.campaign();
  peer.handleReadys();
  for (const from of [2, 3]) peer.node.step(message(MsgType.MsgVoteResp, from, 1, { term: 2 }));
  t.equal(peer.node.role, 'leader');
  t.equal(peer.node.status().progress.get(1)?.match, 0);
  peer.node.step(message(MsgType.MsgAppResp, 2, 1, { term: 2, index: 2 }));
  t.equal(peer.node.commit, 0, 'one disk of three has it');
  peer.handleReadys();
  while (peer.appendQueue.length > 0) peer.sync();
  t.equal(peer.node.commit, 2);
  t.end();
});

void t.test('a snapshot is acknowledged once it is stored', (t) => {
  const peer = follower();
  const snapshot = { index: 5, term: 1, confState: voters(1, 2, 3) };
  peer.node.step(message(MsgType.MsgSnap, 2, 1, { term: 1, snapshot, context: 7 }));
  peer.handleReadys();
  t.strictSame(peer.outgoing, []);
  peer.sync();
  t.match(peer.outgoing, [{ type: MsgType.MsgAppResp, index: 5, context: 7, reject: false }]);
  t.end();
});

void t.test('applying that ends after a snapshot was installed does not take applied back', (t) => {
  const peer = follower();
  peer.node.step(append(1, [0, 0], [1, 1], 2));
  peer.handleReadys();
  peer.sync();
  peer.handleReadys();
  const snapshot = { index: 9, term: 1, confState: voters(1, 2, 3) };
  peer.node.step(message(MsgType.MsgSnap, 2, 1, { term: 1, snapshot }));
  peer.handleReadys();
  while (peer.appendQueue.length > 0) peer.sync();
  t.equal(peer.node.applied, 9);
  peer.applyOne();
  t.equal(peer.node.applied, 9);
  t.end();
});

void t.test('every entry is handed out to be written once', (t) => {
  const peer = follower();
  const written: number[] = [];
  for (const index of [0, 1, 2]) {
    peer.node.step(append(1, [index === 0 ? 0 : 1, index], [1]));
    written.push(...peer.node.ready().entries.map((e) => e.index));
  }
  t.strictSame(written, [1, 2, 3]);
  t.end();
});
