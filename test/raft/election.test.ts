import t from 'tap';
import { campaignTransfer, MsgType } from '../../src/raft/message.js';
import type { RaftConfig } from '../../src/raft/config.js';
import { electionPriorityMax } from '../../src/raft/limits.js';
import { RawNode } from '../../src/raft/raw_node.js';
import { changeOf, electionTick, Group, message, normal, Peer, testConfig, voters, without } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* Raft §5.2, §5.4.1; thesis §9.6 (PreVote), §6.2 and §4.2.3 (CheckQuorum). */

/** A follower of term 5 whose log ends in (index 2, term 5). */
function followerAtTerm5(overrides: Partial<RaftConfig> = {}): Peer {
  const storage = new MemoryRaftStorage(voters(1, 2, 3));
  storage.append([normal(4, 1), normal(5, 2)]);
  storage.hardState = { term: 5, vote: 0, commit: 0 };
  return new Peer(testConfig(1, overrides), storage);
}

function answerTo(peer: Peer, from: number): { granted: boolean; term: number } | null {
  peer.handleReadys();
  const m = peer.outgoing.find(
    (o) => o.to === from && (o.type === MsgType.MsgVoteResp || o.type === MsgType.MsgPreVoteResp),
  );
  peer.outgoing.length = 0;
  return m === undefined ? null : { granted: !m.reject, term: m.term };
}

void t.test('a follower campaigns after a random timeout between one and two election timeouts', (t) => {
  const timeouts = new Set<number>();
  for (let seed = 0; seed < 50; seed++) {
    const value = seed / 50;
    const peer = new Peer(testConfig(1, { random: () => value }), new MemoryRaftStorage(voters(1, 2, 3)));
    let ticks = 0;
    while (peer.node.role === 'follower') {
      peer.tick();
      ticks++;
    }
    timeouts.add(ticks);
  }
  t.equal(Math.min(...timeouts), electionTick);
  t.equal(Math.max(...timeouts), 2 * electionTick - 1);
  t.equal(timeouts.size, electionTick);
  t.end();
});

void t.test('the candidate with a majority of durable votes becomes leader', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  const candidate = group.peer(1);
  candidate.node.campaign();
  candidate.handleReady();
  candidate.node.step(message(MsgType.MsgVoteResp, 2, 1, { term: 1 }));
  t.equal(candidate.node.role, 'candidate', 'its own vote does not count yet');
  candidate.sync();
  t.equal(candidate.node.role, 'leader');
  t.end();
});

void t.test('the only voter becomes leader by itself', (t) => {
  const group = new Group(1);
  group.elect(1);
  t.equal(group.peer(1).node.role, 'leader');
  t.equal(group.peer(1).node.commit, 1, 'its empty entry is committed');
  t.end();
});

void t.test('a replica gives one vote per term (Raft §5.2)', (t) => {
  const peer = followerAtTerm5();
  const ask = (from: number, term: number): void => {
    peer.node.step(message(MsgType.MsgVote, from, 1, { term, index: 9, logTerm: 9 }));
  };
  ask(2, 6);
  t.strictSame(answerTo(peer, 2), { granted: true, term: 6 });
  ask(3, 6);
  t.strictSame(answerTo(peer, 3), { granted: false, term: 6 }, 'another candidate of the term');
  ask(2, 6);
  t.strictSame(answerTo(peer, 2), { granted: true, term: 6 }, 'the same one again, its answer may be lost');
  t.strictSame(peer.storage.hardState, { term: 6, vote: 2, commit: 0 });
  peer.restart();
  ask(3, 6);
  t.strictSame(answerTo(peer, 3), { granted: false, term: 6 }, 'also after a restart');
  ask(3, 7);
  t.strictSame(answerTo(peer, 3), { granted: true, term: 7 }, 'a new term has a new vote');
  t.end();
});

void t.test('a Ready says whether term, vote or entries have to be synced', (t) => {
  const peer = followerAtTerm5();
  const mustSync = (): boolean => {
    const ready = peer.node.ready();
    peer.node.advance();
    return ready.mustSync;
  };
  peer.node.step(message(MsgType.MsgAppResp, 2, 1, { term: 6 }));
  t.ok(mustSync(), 'a new term');
  peer.node.step(message(MsgType.MsgVote, 2, 1, { term: 6, index: 9, logTerm: 9 }));
  t.ok(mustSync(), 'a vote in it');
  peer.node.step(message(MsgType.MsgApp, 3, 1, { term: 6, index: 2, logTerm: 5, commit: 2 }));
  t.notOk(mustSync(), 'a commit index');
  peer.node.step(message(MsgType.MsgApp, 3, 1, { term: 6, index: 2, logTerm: 5, entries: [normal(6, 3)] }));
  t.ok(mustSync(), 'an entry');
  t.end();
});

void t.test('a vote leaves only after it is durable', (t) => {
  const peer = followerAtTerm5({ asyncStorageWrites: true });
  peer.node.step(message(MsgType.MsgVote, 2, 1, { term: 6, index: 2, logTerm: 5 }));
  peer.handleReadys();
  t.equal(peer.outgoing.length, 0);
  peer.sync();
  t.equal(peer.storage.hardState?.vote, 2);
  t.equal(peer.outgoing[0]?.type, MsgType.MsgVoteResp);
  t.end();
});

void t.test(
  'a candidate asks for votes once its term is durable, lest it campaigns in the term again after a crash',
  (t) => {
    const group = new Group(3, { asyncStorageWrites: true });
    group.elect(2);
    const candidate = group.peer(1);
    // An entry that is committed elsewhere, and not on this disk yet.
    group.peer(2).node.propose(Buffer.from('x'));
    group.work(group.peer(2));
    for (const m of group.network.splice(0)) group.peer(m.to).node.step(m);
    candidate.handleReadys();
    group.work(group.peer(3));
    const { lastIndex } = candidate.node;
    candidate.node.campaign();
    candidate.handleReadys();
    t.strictSame(candidate.outgoing, [], 'not yet');
    while (candidate.appendQueue.length > 0) candidate.sync();
    const asks = candidate.outgoing.filter((m) => m.type === MsgType.MsgVote);
    t.equal(asks.length, 2);
    t.ok(asks.every((m) => m.index === lastIndex && m.term === candidate.storage.hardState?.term));
    t.end();
  },
);

void t.test('a candidate with an older or shorter log gets no vote (Raft §5.4.1)', (t) => {
  const votes = [
    { logTerm: 4, index: 9, granted: false },
    { logTerm: 5, index: 1, granted: false },
    { logTerm: 5, index: 2, granted: true },
    { logTerm: 6, index: 1, granted: true },
  ];
  for (const type of [MsgType.MsgVote, MsgType.MsgPreVote]) {
    for (const { logTerm, index, granted } of votes) {
      const peer = followerAtTerm5();
      peer.node.step(message(type, 2, 1, { term: 6, logTerm, index }));
      t.equal(answerTo(peer, 2)?.granted, granted, `${String(logTerm)}/${String(index)}`);
    }
  }
  t.end();
});

void t.test('a candidate that hears a leader of its term follows it', (t) => {
  for (const type of [MsgType.MsgApp, MsgType.MsgHeartbeat, MsgType.MsgSnap]) {
    const peer = followerAtTerm5();
    peer.node.campaign();
    peer.handleReadys();
    const snapshot = { index: 9, term: 6, confState: voters(1, 2, 3) };
    peer.node.step(message(type, 2, 1, { term: 6, snapshot: type === MsgType.MsgSnap ? snapshot : null }));
    t.equal(peer.node.role, 'follower');
    t.equal(peer.node.leaderId, 2);
  }
  t.end();
});

void t.test('a candidate that a majority refuses becomes a follower of nobody in its term', (t) => {
  const peer = followerAtTerm5();
  peer.node.campaign();
  peer.handleReadys();
  peer.node.step(message(MsgType.MsgVoteResp, 2, 1, { term: 6, reject: true }));
  t.equal(peer.node.role, 'candidate');
  peer.node.step(message(MsgType.MsgVoteResp, 2, 1, { term: 6, reject: true }));
  t.equal(peer.node.role, 'candidate', 'the same voter twice is one vote');
  peer.node.step(message(MsgType.MsgVoteResp, 3, 1, { term: 6, reject: true }));
  t.equal(peer.node.role, 'follower');
  t.equal(peer.node.term, 6);
  t.equal(peer.node.leaderId, 0);
  t.end();
});

void t.test('a higher term makes everyone a follower (Raft §5.1)', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.step(message(MsgType.MsgAppResp, 2, 1, { term: 9 }));
  t.equal(leader.node.role, 'follower');
  t.equal(leader.node.term, 9);
  t.end();
});

void t.test('PreVote raises nobody’s term for a candidacy that fails (thesis §9.6)', (t) => {
  const group = new Group(3, { preVote: true });
  group.elect(1);
  group.propose(1, 'a', [1, 2]);
  const behind = group.peer(3);
  behind.node.campaign();
  t.equal(behind.node.role, 'preCandidate');
  t.equal(behind.node.term, 1);
  group.settle();
  t.equal(behind.node.role, 'follower', 'its log is behind');
  t.strictSame(
    group.peers.map((p) => p.node.term),
    [1, 1, 1],
  );
  t.equal(group.peer(1).node.role, 'leader');
  t.end();
});

void t.test('a pre-vote that is won starts a real election', (t) => {
  const group = new Group(3, { preVote: true });
  group.elect(2);
  t.equal(group.peer(2).node.role, 'leader');
  t.equal(group.peer(2).node.term, 1);
  t.end();
});

void t.test('a pre-vote granted for an earlier candidacy does not count', (t) => {
  const peer = followerAtTerm5({ preVote: true });
  peer.node.step(message(MsgType.MsgAppResp, 2, 1, { term: 6 }));
  peer.node.campaign();
  peer.handleReadys();
  peer.node.step(message(MsgType.MsgPreVoteResp, 2, 1, { term: 6 }));
  t.equal(peer.node.role, 'preCandidate', 'that was granted when the term was 5');
  peer.node.step(message(MsgType.MsgPreVoteResp, 2, 1, { term: 7 }));
  t.equal(peer.node.role, 'candidate');
  t.end();
});

void t.test('a rejected pre-vote of a higher term lets the pre-candidate catch up', (t) => {
  const peer = followerAtTerm5({ preVote: true });
  peer.node.campaign();
  peer.handleReadys();
  peer.node.step(message(MsgType.MsgPreVoteResp, 2, 1, { term: 8, reject: true }));
  t.equal(peer.node.term, 8);
  t.equal(peer.node.role, 'follower');
  t.end();
});

void t.test('under CheckQuorum voters that hear a leader ignore candidates (thesis §4.2.3)', (t) => {
  const group = new Group(3, { checkQuorum: true });
  group.elect(1);
  group.peer(3).node.campaign();
  group.settle();
  t.equal(group.peer(1).node.role, 'leader');
  t.equal(group.peer(2).node.term, 1);
  group.peer(2).tick(electionTick - 1);
  group.peer(2).node.step(message(MsgType.MsgVote, 3, 2, { term: 9, index: 9, logTerm: 9 }));
  t.equal(group.peer(2).node.term, 1, 'one tick before the election timeout');
  group.peer(2).tick();
  group.peer(2).node.step(message(MsgType.MsgVote, 3, 2, { term: 9, index: 9, logTerm: 9 }));
  t.equal(group.peer(2).node.term, 9);
  t.end();
});

void t.test('a leader without an active quorum steps down (thesis §6.2)', (t) => {
  const group = new Group(3, { checkQuorum: true });
  const leader = group.elect(1);
  leader.tick(electionTick);
  t.equal(leader.node.role, 'leader', 'both were heard in the first interval');
  leader.node.step(message(MsgType.MsgHeartbeatResp, 2, 1, { term: 1 }));
  leader.tick(electionTick);
  t.equal(leader.node.role, 'leader', 'itself and one other are a quorum');
  leader.tick(electionTick);
  t.equal(leader.node.role, 'follower');
  t.equal(leader.node.term, 1);
  t.equal(leader.node.leaderId, 0);
  t.end();
});

void t.test('a stuck candidate with a higher term gets back under CheckQuorum and PreVote', (t) => {
  const group = new Group(3, { checkQuorum: true });
  const leader = group.elect(1);
  const stuck = group.peer(3);
  stuck.node.campaign();
  stuck.node.campaign();
  group.settle(without(3));
  t.ok(stuck.node.term > leader.node.term);
  leader.tick(2);
  group.settle();
  t.ok(leader.node.term >= stuck.node.term, 'the answer to a heartbeat told the leader of the term');
  t.end();
});

void t.test('learners vote but never campaign', (t) => {
  const conf = { ...voters(1, 2), learners: [3] };
  const group = new Group(3, {}, conf);
  const learner = group.peer(3);
  learner.tick(5 * electionTick);
  learner.node.campaign();
  t.equal(learner.node.role, 'follower');
  learner.node.step(message(MsgType.MsgTimeoutNow, 1, 3, { term: 1 }));
  t.equal(learner.node.role, 'follower');
  learner.node.step(message(MsgType.MsgVote, 1, 3, { term: 2 }));
  t.strictSame(answerTo(learner, 1), { granted: true, term: 2 }, 'the candidate may know more of its membership');
  t.end();
});

void t.test('nobody campaigns with a committed membership change to apply (thesis §4.1)', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  group.elect(1);
  group.peer(1).node.proposeConfChange(changeOf([['remove', 3]]));
  const follower = group.peer(2);
  for (let i = 0; i < 10; i++) {
    for (const id of [1, 3]) group.work(group.peer(id));
    follower.handleReadys();
    while (follower.appendQueue.length > 0) follower.sync();
    group.collect(follower);
    const messages = group.network;
    group.network = [];
    for (const m of messages) group.peer(m.to).node.step(m);
  }
  t.ok(follower.node.commit > follower.node.applied, 'the change is committed here and not applied');
  follower.node.campaign();
  t.equal(follower.node.role, 'follower');
  group.work(follower);
  follower.node.campaign();
  t.equal(follower.node.role, 'candidate');
  t.end();
});

void t.test('nobody campaigns when the entries to look through are not in memory', (t) => {
  const peer = followerAtTerm5();
  peer.storage.hardState = { term: 5, vote: 0, commit: 2 };
  peer.storage.pendingBelow = 3;
  peer.restart();
  peer.node.campaign();
  t.equal(peer.node.role, 'follower');
  peer.storage.pendingBelow = 0;
  peer.node.campaign();
  t.equal(peer.node.role, 'candidate');
  t.end();
});

void t.test('nobody campaigns while a snapshot is being stored', (t) => {
  const peer = followerAtTerm5({ asyncStorageWrites: true });
  const snapshot = { index: 9, term: 5, confState: voters(1, 2, 3) };
  peer.node.step(message(MsgType.MsgSnap, 2, 1, { term: 5, snapshot }));
  peer.handleReadys();
  peer.node.campaign();
  t.equal(peer.node.role, 'follower');
  peer.sync();
  peer.node.campaign();
  t.equal(peer.node.role, 'candidate');
  t.end();
});

void t.test('forgetting the leader lets a follower vote at once', (t) => {
  const group = new Group(3, { checkQuorum: true, preVote: true });
  group.elect(1);
  group.peer(2).node.forgetLeader();
  t.equal(group.peer(2).node.leaderId, 0);
  group.peer(3).node.forgetLeader();
  group.peer(3).node.campaign();
  group.settle();
  t.equal(group.peer(3).node.role, 'leader');
  t.end();
});

void t.test('forgetting the leader is refused under lease-based reads', (t) => {
  const group = new Group(3, { checkQuorum: true, readOnlyOption: 'leaseBased' });
  group.elect(1);
  group.peer(2).node.forgetLeader();
  t.equal(group.peer(2).node.leaderId, 1);
  t.end();
});

void t.test('a replica of lower priority campaigns later', (t) => {
  const ticksUntilCampaign = (electionPriority: number): number => {
    const config = testConfig(1, { electionPriority, random: () => 0 });
    const node = new RawNode(config, new MemoryRaftStorage(voters(1, 2, 3)));
    let ticks = 0;
    for (; node.role === 'follower'; ticks++) node.tick();
    return ticks;
  };
  t.equal(ticksUntilCampaign(0), electionTick);
  t.equal(ticksUntilCampaign(2), 3 * electionTick);
  t.throws(() => ticksUntilCampaign(electionPriorityMax + 1), /priority/);
  t.end();
});

void t.test('a forced vote does not wait for the leader to be forgotten (thesis §3.10, §4.2.3)', (t) => {
  const group = new Group(3, { checkQuorum: true });
  group.elect(1);
  const voter = group.peer(2);
  voter.node.step(message(MsgType.MsgVote, 3, 2, { term: 2, index: 9, logTerm: 9, context: campaignTransfer }));
  t.equal(voter.node.term, 2);
  t.equal(answerTo(voter, 3)?.granted, true);
  t.end();
});
