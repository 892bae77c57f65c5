import t from 'tap';
import { leaseMarginTicks, pendingReadsMax, roundsPerTickMax } from '../../src/raft/limits.js';
import { MsgType } from '../../src/raft/message.js';
import type { Message } from '../../src/raft/message.js';
import { ReadRounds } from '../../src/raft/read_rounds.js';
import { changeOf, electionTick, Group, heartbeatTick, message, voters, without } from './group.js';
import type { Peer } from './group.js';

/* Raft §8, thesis §6.4: linearizable reads, by rounds of heartbeats or by lease. */

const lease = { checkQuorum: true, preVote: true, readOnlyOption: 'leaseBased' } as const;

/** Answers so far, as [context, index]. */
function answers(peer: Peer): [number, number][] {
  return peer.readStates.splice(0).map(({ context, index }) => [context, index]);
}

void t.test('a leader serves a read once a quorum has answered a round that began after it', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.readIndex(7);
  leader.handleReadys();
  t.strictSame(answers(leader), [], 'not before the round is answered');
  group.settle(without(3));
  t.strictSame(answers(leader), [[7, leader.node.commit]]);
  t.end();
});

void t.test('reads between two Readys share a round', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  for (const context of [1, 2, 3]) leader.node.readIndex(context);
  leader.handleReadys();
  t.equal(leader.outgoing.filter((m) => m.type === MsgType.MsgHeartbeat).length, 2);
  group.settle();
  const { commit } = leader.node;
  t.strictSame(
    answers(leader),
    [1, 2, 3].map((context) => [context, commit]),
  );
  t.end();
});

void t.test('answers to an earlier round serve nothing that was asked after it', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.readIndex(1);
  leader.handleReadys();
  const early = leader.outgoing.splice(0);
  group.propose(1, 'x');
  leader.node.readIndex(2);
  leader.handleReadys();
  leader.outgoing.length = 0;
  for (const m of early) group.peer(m.to).node.step(m);
  for (const id of [2, 3]) group.work(group.peer(id));
  for (const m of group.network.splice(0)) leader.node.step(m);
  leader.handleReadys();
  t.strictSame(
    answers(leader).map(([context]) => context),
    [1],
  );
  leader.tick(heartbeatTick);
  group.settle();
  t.strictSame(
    answers(leader).map(([context]) => context),
    [2],
    'the next heartbeat asks again',
  );
  t.end();
});

void t.test('the only voter serves reads by itself', (t) => {
  const group = new Group(1);
  const leader = group.elect(1);
  leader.node.readIndex(5);
  group.settle();
  t.strictSame(answers(leader), [[5, 1]]);
  t.end();
});

void t.test('no read is served before an entry of the leader’s own term is committed (Raft §8)', (t) => {
  for (const options of [{}, lease]) {
    const group = new Group(3, options);
    group.elect(1);
    group.propose(1, 'a');
    group.peer(2).tick(electionTick);
    group.peer(3).tick(electionTick);
    group.peer(2).node.campaign();
    group.settle((m) => m.type !== MsgType.MsgApp, [2, 3]);
    const leader = group.peer(2);
    t.equal(leader.node.role, 'leader');
    leader.node.readIndex(9);
    leader.tick(heartbeatTick);
    group.settle((m) => m.type !== MsgType.MsgApp, [2, 3]);
    leader.node.readIndex(10);
    leader.handleReadys();
    t.strictSame(answers(leader), [], 'its commit index may be behind, lease or not');
    leader.tick(heartbeatTick);
    group.settle(undefined, [2, 3]);
    leader.tick(heartbeatTick);
    group.settle(undefined, [2, 3]);
    const { commit } = leader.node;
    t.strictSame(answers(leader), [
      [9, commit],
      [10, commit],
    ]);
  }
  t.end();
});

void t.test('a follower’s read is answered by its leader', (t) => {
  for (const options of [{}, lease]) {
    const group = new Group(3, options);
    group.elect(1);
    group.peer(1).tick(heartbeatTick);
    group.settle();
    const follower = group.peer(2);
    follower.node.readIndex(4);
    group.settle();
    t.strictSame(answers(follower), [[4, group.peer(1).node.commit]]);
  }
  t.end();
});

void t.test('the answer to a follower’s read brings the commit index along', (t) => {
  const group = new Group(3, {
    sendPolicy: { commitNotice: 'piggyback', appendPerProposal: false, coalesceAcks: true },
    ...lease,
  });
  group.elect(1);
  group.peer(1).tick(heartbeatTick);
  group.settle();
  group.propose(1, 'x');
  const follower = group.peer(2);
  t.ok(follower.node.commit < group.peer(1).node.commit, 'the commit index waits for the next message');
  follower.node.readIndex(4);
  group.settle();
  t.strictSame(answers(follower), [[4, group.peer(1).node.commit]]);
  t.strictSame(follower.values, ['x']);
  t.end();
});

void t.test('a read that nobody can serve is answered with -1 at once', (t) => {
  const group = new Group(3);
  const peer = group.peer(1);
  peer.node.readIndex(1);
  peer.handleReadys();
  t.strictSame(answers(peer), [[1, -1]], 'no leader is known');
  peer.node.campaign();
  peer.node.readIndex(2);
  peer.handleReadys();
  t.strictSame(answers(peer), [[2, -1]], 'it is a candidate');
  t.end();
});

void t.test('a leader that steps down answers every read with -1, its followers’ too', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.readIndex(1);
  group.peer(2).node.readIndex(2);
  group.settle((m) => m.type !== MsgType.MsgHeartbeat);
  t.strictSame(answers(leader), []);
  leader.node.readIndex(3);
  leader.node.step(message(MsgType.MsgAppResp, 3, 1, { term: 9 }));
  group.settle();
  t.strictSame(answers(leader), [
    [1, -1],
    [3, -1],
  ]);
  t.strictSame(answers(group.peer(2)), [[2, -1]]);
  t.end();
});

void t.test('a follower that gets another leader, or forgets its own, answers its reads with -1', (t) => {
  const lose = [
    (peer: Peer) => peer.node.step(message(MsgType.MsgHeartbeat, 3, 2, { term: 2 })),
    (peer: Peer) => peer.node.step(message(MsgType.MsgVote, 3, 2, { term: 2 })),
    (peer: Peer) => peer.node.forgetLeader(),
    (peer: Peer) => peer.node.campaign(),
  ];
  for (const f of lose) {
    const group = new Group(3);
    group.elect(1);
    const follower = group.peer(2);
    follower.node.readIndex(8);
    f(follower);
    follower.handleReadys();
    t.strictSame(answers(follower), [[8, -1]]);
    follower.node.step(message(MsgType.MsgReadIndexResp, 1, 2, { term: follower.node.term, context: 8, index: 1 }));
    follower.handleReadys();
    t.strictSame(answers(follower), [], 'a late answer is not a second one');
  }
  t.end();
});

void t.test('a forwarded read whose answer is lost fails after an election timeout', (t) => {
  const group = new Group(3);
  group.elect(1);
  const follower = group.peer(2);
  follower.node.readIndex(8);
  group.settle((m) => m.type !== MsgType.MsgReadIndexResp);
  for (let i = 0; i < electionTick; i++) {
    follower.handleReadys();
    t.strictSame(answers(follower), []);
    follower.node.step(message(MsgType.MsgHeartbeat, 1, 2, { term: 1 }));
    follower.tick();
  }
  follower.handleReadys();
  t.strictSame(answers(follower), [[8, -1]]);
  t.end();
});

void t.test('who does not lead refuses a forwarded read', (t) => {
  const group = new Group(3);
  group.elect(1);
  const follower = group.peer(2);
  follower.node.step(message(MsgType.MsgReadIndex, 3, 2, { context: 6 }));
  follower.handleReadys();
  t.match(follower.outgoing.pop(), { type: MsgType.MsgReadIndexResp, to: 3, context: 6, reject: true });
  t.end();
});

void t.test('equal contexts of different askers do not get mixed up', (t) => {
  const group = new Group(3);
  group.elect(1);
  for (const peer of group.peers) peer.node.readIndex(1);
  group.settle();
  for (const peer of group.peers) t.strictSame(answers(peer), [[1, group.peer(1).node.commit]]);
  t.end();
});

void t.test('no more than pendingReadsMax reads wait, the next fail at once', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  const follower = group.peer(2);
  for (let i = 1; i <= pendingReadsMax + 1; i++) {
    leader.node.readIndex(i);
    follower.node.readIndex(i);
  }
  leader.handleReadys();
  follower.handleReadys();
  t.strictSame(answers(leader), [[pendingReadsMax + 1, -1]]);
  t.strictSame(answers(follower), [[pendingReadsMax + 1, -1]]);
  t.end();
});

void t.test('a lease runs from the moment a round is sent', (t) => {
  const group = new Group(3, lease);
  const leader = group.elect(1);
  leader.tick(heartbeatTick);
  leader.handleReadys();
  const round = leader.outgoing.splice(0);
  // The round is answered late; the voters may vote electionTick after they heard it.
  const late = electionTick - leaseMarginTicks;
  leader.tick(late);
  leader.handleReadys();
  leader.outgoing.length = 0;
  for (const m of round) group.peer(m.to).node.step(m);
  for (const id of [2, 3]) group.work(group.peer(id));
  for (const m of group.network.splice(0)) leader.node.step(m);
  leader.node.readIndex(1);
  leader.handleReadys();
  t.strictSame(answers(leader), [[1, leader.node.commit]], 'on its last tick');
  leader.tick();
  leader.node.readIndex(2);
  leader.handleReadys();
  t.strictSame(answers(leader), [], 'after it a round is needed');
  t.end();
});

void t.test('a lease that was given up is not used until another round is answered', (t) => {
  const group = new Group(3, lease);
  const leader = group.elect(1);
  leader.tick(heartbeatTick);
  group.settle();
  leader.node.voidLease();
  leader.node.readIndex(1);
  leader.handleReadys();
  t.strictSame(answers(leader), []);
  group.settle();
  t.strictSame(answers(leader), [[1, leader.node.commit]]);
  leader.node.readIndex(2);
  leader.handleReadys();
  t.strictSame(answers(leader), [[2, leader.node.commit]]);
  t.end();
});

void t.test('a voter keeps its promise to a leader across terms and restarts, and when told to campaign', (t) => {
  const group = new Group(3, lease);
  const leader = group.elect(1);
  leader.tick(heartbeatTick);
  group.settle();
  const voter = group.peer(2);
  voter.node.campaign();
  t.equal(voter.node.role, 'follower', 'its own vote is promised as well');
  voter.node.step(message(MsgType.MsgAppResp, 3, 2, { term: 7 }));
  t.equal(voter.node.leaderId, 0);
  const ask = (): string => {
    voter.node.step(message(MsgType.MsgVote, 3, 2, { term: 7, index: 9, logTerm: 9 }));
    voter.node.step(message(MsgType.MsgVote, 3, 2, { term: 8, index: 9, logTerm: 9 }));
    voter.handleReadys();
    return voter.outgoing.splice(0).some((m) => m.type === MsgType.MsgVoteResp && !m.reject) ? 'voted' : 'silent';
  };
  t.equal(ask(), 'silent', 'the leader of term 1 may still have its lease');
  voter.restart();
  t.equal(ask(), 'silent', 'a restart forgets whom it heard, not that it may have');
  voter.tick(electionTick);
  t.equal(ask(), 'voted');
  t.end();
});

void t.test('without a lease to protect, a voter that was just started votes', (t) => {
  const group = new Group(3, { checkQuorum: true });
  group.elect(1);
  const voter = group.peer(2);
  voter.restart();
  voter.node.step(message(MsgType.MsgVote, 3, 2, { term: 7, index: 9, logTerm: 9 }));
  t.equal(voter.node.term, 7);
  t.end();
});

void t.test('rounds count only for whom they were sent to', (t) => {
  const group = new Group(3, {}, voters(1, 2, 3));
  const leader = group.elect(1);
  leader.node.readIndex(1);
  leader.handleReadys();
  leader.outgoing.length = 0;
  leader.node.step(message(MsgType.MsgHeartbeatResp, 2, 1, { term: 1, context: Number.MAX_SAFE_INTEGER }));
  leader.handleReadys();
  t.strictSame(answers(leader), [], 'a round that was never sent');
  t.end();
});

void t.test('a round that an earlier replica of the same id answered does not count for the new one', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.readIndex(1);
  leader.handleReadys();
  const sent = leader.outgoing.splice(0).find((m) => m.to === 3 && m.type === MsgType.MsgHeartbeat);
  const noHeartbeats = (m: Message): boolean => m.type !== MsgType.MsgHeartbeat;
  leader.node.proposeConfChange(changeOf([['remove', 3]]));
  group.settle(noHeartbeats);
  leader.node.proposeConfChange(changeOf([['add', 3]]));
  group.settle(noHeartbeats);
  t.strictSame(leader.node.confState.voters, [1, 2, 3]);
  leader.node.step(message(MsgType.MsgHeartbeatResp, 3, 1, { term: 1, context: sent?.context ?? 0 }));
  leader.handleReadys();
  t.strictSame(answers(leader), []);
  leader.outgoing.length = 0;
  leader.tick(heartbeatTick);
  group.settle(without(2));
  t.equal(answers(leader).length, 1, 'its answer to the next round does');
  t.end();
});

void t.test('round ids grow, and hold their tick', (t) => {
  const rounds = new ReadRounds();
  rounds.start(3);
  const first = rounds.round;
  rounds.start(3);
  t.equal(rounds.round, first + 1);
  rounds.start(4);
  t.equal(Math.floor(rounds.round / roundsPerTickMax), 4);
  t.ok(rounds.givesLease(rounds.round, 6, 2));
  t.notOk(rounds.givesLease(rounds.round, 7, 2));
  t.end();
});
