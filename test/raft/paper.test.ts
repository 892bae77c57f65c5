import t from 'tap';
import { MsgType } from '../../src/raft/message.js';
import type { Message } from '../../src/raft/message.js';
import { electionTick, Group, heartbeatTick, message, normal, Peer, testConfig, voters, without } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* Stories of the paper and the thesis, told with whole groups. */

/**
 * Raft figure 8 up to (c): replica 1 leads again, and a majority has its entry `old`, which is of an earlier term.
 * Replica 5 has an entry of a term in between.
 */
function figure8(): Group {
  const group = new Group(5, { maxSizePerMsg: 1 });
  group.elect(1);
  // (a) replica 2 alone gets the entry.
  group.peer(1).node.propose(Buffer.from('old'));
  group.settle(without(3, 4, 5));
  // (b) replica 5 leads by the votes of 3 and 4; its entries reach nobody.
  group.peer(5).node.campaign();
  group.settle((m) => m.type !== MsgType.MsgApp, [3, 4, 5]);
  group.peer(5).node.propose(Buffer.from('rival'));
  group.settle((m) => m.type !== MsgType.MsgApp, [5]);
  // (c) replica 1 leads again and sends `old` to replica 3, but nothing of its present term.
  group.peer(1).node.step(message(MsgType.MsgAppResp, 3, 1, { term: group.peer(5).node.term }));
  group.peer(1).node.campaign();
  const wouldBeTaken = (m: Message): boolean => group.peer(m.to).node.termAt(m.index) === m.logTerm;
  const ofOwnTerm = (m: Message): boolean => m.type === MsgType.MsgApp && m.entries.some((e) => e.term === m.term);
  group.settle((m) => !(ofOwnTerm(m) && wouldBeTaken(m)), [1, 2, 3]);
  return group;
}

void t.test('an entry of an earlier term on a majority may still be replaced (Raft §5.4.2, figure 8 d)', (t) => {
  const group = figure8();
  const leader = group.peer(1);
  t.equal(leader.node.role, 'leader');
  const at = leader.storage.all().find((e) => e.data.toString() === 'old')?.index ?? 0;
  for (const id of [1, 2, 3]) t.equal(group.peer(id).storage.entry(at).data.toString(), 'old', `on ${String(id)}`);
  t.ok(leader.node.commit < at, 'on three of five and not committed');
  group.peer(5).node.step(message(MsgType.MsgAppResp, 2, 5, { term: leader.node.term }));
  group.elect(5, [2, 3, 4, 5]);
  t.equal(group.peer(5).node.role, 'leader', 'its last term is later');
  for (const id of [2, 3, 4, 5]) t.strictSame(group.peer(id).values, ['rival']);
  t.end();
});

void t.test('with an entry of the own term on a majority it is committed for good (Raft figure 8 e)', (t) => {
  const group = figure8();
  group.peer(1).tick(heartbeatTick);
  group.settle(undefined, [1, 2, 3]);
  t.strictSame(group.peer(1).values, ['old']);
  group.peer(5).node.step(message(MsgType.MsgAppResp, 2, 5, { term: group.peer(1).node.term }));
  group.elect(5, [2, 3, 4, 5]);
  t.not(group.peer(5).node.role, 'leader', 'two voters have a later term in their logs');
  group.elect(2, [2, 3, 4, 5]);
  for (const id of [2, 3, 4, 5]) t.strictSame(group.peer(id).values, ['old']);
  t.end();
});

void t.test('a replica that knows the leader of its term votes for nobody else in it (Raft §5.2)', (t) => {
  const peer = new Peer(testConfig(1), new MemoryRaftStorage(voters(1, 2, 3)));
  peer.node.step(message(MsgType.MsgHeartbeat, 2, 1, { term: 6 }));
  peer.handleReadys();
  peer.outgoing.length = 0;
  peer.node.step(message(MsgType.MsgVote, 3, 1, { term: 6, index: 9, logTerm: 6 }));
  peer.handleReadys();
  t.match(peer.outgoing, [{ type: MsgType.MsgVoteResp, to: 3, reject: true }]);
  t.end();
});

void t.test('a pre-vote does not take the vote of the present term (thesis §9.6)', (t) => {
  const peer = new Peer(testConfig(1), new MemoryRaftStorage(voters(1, 2, 3)));
  const ask = (type: MsgType, from: number, term: number): Message | undefined => {
    peer.node.step(message(type, from, 1, { term, index: 9, logTerm: 5 }));
    peer.handleReadys();
    return peer.outgoing.splice(0).at(-1);
  };
  t.match(ask(MsgType.MsgVote, 2, 6), { reject: false });
  t.match(ask(MsgType.MsgPreVote, 3, 7), { type: MsgType.MsgPreVoteResp, reject: false, term: 7 });
  t.match(ask(MsgType.MsgVote, 3, 6), { reject: true }, 'the vote of term 6 went to 2');
  t.equal(peer.storage.hardState?.vote, 2);
  t.end();
});

void t.test('a heartbeat tells no more commit than its receiver is known to have (Raft §5.3)', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  const known = leader.node.commit;
  group.propose(1, 'x', [1, 2]);
  t.ok(leader.node.commit > known);
  leader.tick(heartbeatTick);
  leader.handleReadys();
  const commits = leader.outgoing.filter((m) => m.type === MsgType.MsgHeartbeat).map((m) => [m.to, m.commit]);
  t.strictSame(commits, [
    [2, leader.node.commit],
    [3, known],
  ]);
  t.end();
});

void t.test('a leader finds the end of a long wrong branch in one rejection per term (Raft §5.3)', (t) => {
  const group = new Group(3);
  const logs = [
    [1, ...new Array<number>(30).fill(5)],
    [1, ...new Array<number>(30).fill(5)],
    [1, ...new Array<number>(40).fill(2)],
  ];
  logs.forEach((terms, i) => {
    const peer = group.peer(i + 1);
    peer.storage.append(terms.map((term, j) => normal(term, j + 1)));
    peer.storage.hardState = { term: 5, vote: 0, commit: 0 };
    peer.restart();
  });
  let rejections = 0;
  group.peer(1).node.campaign();
  group.settle((m) => {
    if (m.type === MsgType.MsgAppResp && m.reject) rejections++;
    return true;
  });
  t.equal(group.peer(3).node.commit, 32);
  t.ok(rejections <= 2, `${String(rejections)} rejections for a branch of 40 entries`);
  t.end();
});

void t.test('an acknowledgement that is overtaken by a later one changes nothing', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  group.propose(1, 'x');
  const { match, next } = leader.node.status().progress.get(2) ?? { match: 0, next: 0 };
  leader.node.step(message(MsgType.MsgAppResp, 2, 1, { term: 1, index: 1 }));
  t.match(leader.node.status().progress.get(2), { match, next });
  t.end();
});

void t.test('a follower that hears nothing of its leader’s removal never disturbs the group (thesis §4.2.3)', (t) => {
  const group = new Group(4, { preVote: true, checkQuorum: true }, voters(1, 2, 3));
  group.elect(1);
  const { term } = group.peer(1).node;
  const outsider = group.peer(3);
  // Cut off, it times out over and over.
  for (let i = 0; i < 5; i++) {
    outsider.tick(2 * electionTick);
    group.settle(without(3));
    group.peer(1).tick(heartbeatTick);
    group.settle(without(3));
  }
  group.settle();
  group.peer(1).tick(heartbeatTick);
  group.settle();
  t.equal(group.peer(1).node.role, 'leader');
  t.equal(group.peer(1).node.term, term);
  t.equal(outsider.node.leaderId, 1);
  t.end();
});
