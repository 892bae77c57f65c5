import t from 'tap';
import { MsgType } from '../../src/raft/message.js';
import { electionTick, Group, heartbeatTick, message, without } from './group.js';
import type { Peer } from './group.js';

/* Reads and transfers while leadership changes (thesis §3.10, §6.4). */

const lease = { checkQuorum: true, preVote: true, readOnlyOption: 'leaseBased' } as const;

function answers(peer: Peer): [number, number][] {
  peer.handleReadys();
  return peer.readStates.splice(0).map(({ context, index }) => [context, index]);
}

function served(peer: Peer, context: number): boolean {
  peer.node.readIndex(context);
  return answers(peer).some(([answered, index]) => answered === context && index !== -1);
}

void t.test('a leader that is cut off serves no read once another one leads, by round or by lease', (t) => {
  for (const options of [{ checkQuorum: true, preVote: true }, lease]) {
    const group = new Group(3, options);
    const old = group.elect(1);
    old.tick(heartbeatTick);
    group.settle();
    const next = group.peer(2);
    // Everyone's clock goes on at the same rate; nothing reaches the old leader any more.
    for (let i = 0; next.node.role !== 'leader' && i < 10 * electionTick; i++) {
      old.tick();
      old.handleReadys();
      for (const id of [2, 3]) group.peer(id).tick();
      if (i >= electionTick) next.node.campaign();
      group.settle(undefined, [2, 3]);
      if (group.peer(2).node.leaderId === 2) t.notOk(served(old, i + 1), 'somebody else leads');
    }
    t.equal(next.node.role, 'leader');
    group.propose(2, 'newer', [2, 3]);
    t.notOk(served(old, 999), 'it would not see what was written since');
    next.node.readIndex(1);
    group.settle(undefined, [2, 3]);
    t.strictSame(answers(next), [[1, next.node.commit]]);
  }
  t.end();
});

void t.test('a lease outlives no election, also when a voter was moved to another term or restarted', (t) => {
  const disturbances = [
    (voter: Peer) => voter.node.step(message(MsgType.MsgAppResp, 3, 2, { term: 7 })),
    (voter: Peer) => voter.restart(),
  ];
  for (const disturb of disturbances) {
    const group = new Group(3, lease);
    const leader = group.elect(1);
    leader.tick(heartbeatTick);
    group.settle();
    t.ok(served(leader, 1), 'it has a lease');
    leader.outgoing.length = 0;
    disturb(group.peer(2));
    group.peer(3).node.step(message(MsgType.MsgAppResp, 2, 3, { term: 7 }));
    let elected = false;
    for (let i = 0; i < 3 * electionTick && !elected; i++) {
      group.peer(3).node.campaign();
      group.settle(undefined, [2, 3]);
      elected = group.peer(3).node.role === 'leader';
      if (elected) t.notOk(served(leader, 100 + i), `${String(i)} ticks after the last heartbeat`);
      for (const peer of group.peers) peer.tick();
      leader.handleReadys();
    }
    t.ok(elected);
  }
  t.end();
});

void t.test('a forced election during a transfer finds no lease alive', (t) => {
  const group = new Group(3, lease);
  const old = group.elect(1);
  old.tick(heartbeatTick);
  group.settle();
  t.ok(served(old, 1));
  old.outgoing.length = 0;
  old.node.transferLeader(2);
  group.work(old);
  // From now on nothing reaches the old leader: it does not learn how it went.
  group.settle(without(), [2, 3]);
  t.equal(group.peer(2).node.role, 'leader', 'at once, in spite of all promises');
  t.notOk(served(old, 2), 'thesis §6.4.1: the lease ended with the wish to hand over');
  t.end();
});

void t.test('what asked the old leader is answered with a failure, and the next attempt finds the new one', (t) => {
  const group = new Group(3);
  const old = group.elect(1);
  const asker = group.peer(3);
  asker.node.readIndex(1);
  group.settle((m) => m.type !== MsgType.MsgHeartbeat);
  t.strictSame(answers(asker), []);
  group.peer(2).node.campaign();
  group.settle();
  t.equal(old.node.role, 'follower');
  t.strictSame(answers(asker), [[1, -1]]);
  asker.node.readIndex(2);
  group.settle();
  t.strictSame(answers(asker), [[2, group.peer(2).node.commit]]);
  t.end();
});

void t.test('an answer to an earlier attempt with the same context is not one to the later attempt', (t) => {
  const group = new Group(3);
  group.elect(1);
  const asker = group.peer(3);
  asker.node.readIndex(5);
  let late = message(MsgType.MsgReadIndexResp, 1, 3);
  group.settle((m) => {
    if (m.type === MsgType.MsgReadIndexResp) late = m;
    return m.type !== MsgType.MsgReadIndexResp;
  });
  t.equal(late.context, 5);
  group.peer(2).node.campaign();
  group.settle();
  group.propose(2, 'newer');
  t.strictSame(answers(asker), [[5, -1]]);
  asker.node.readIndex(5);
  asker.node.step(late);
  t.strictSame(answers(asker), [], 'it is of an earlier term');
  asker.node.step({ ...late, term: asker.node.term });
  t.strictSame(answers(asker), [], 'and not from the leader that was asked');
  group.settle();
  t.strictSame(answers(asker), [[5, group.peer(2).node.commit]]);
  t.end();
});

void t.test('a leader that lost its quorum fails its reads when it steps down (thesis §6.2)', (t) => {
  const group = new Group(3, { checkQuorum: true });
  const leader = group.elect(1);
  leader.node.readIndex(1);
  leader.tick(2 * electionTick);
  t.equal(leader.node.role, 'follower');
  t.strictSame(answers(leader), [[1, -1]]);
  t.end();
});

void t.test('a target that campaigns after the transfer was given up takes over, and nothing is lost', (t) => {
  const group = new Group(3, { checkQuorum: true, preVote: true });
  const leader = group.elect(1);
  leader.node.transferLeader(2);
  leader.handleReadys();
  const wish = leader.outgoing.splice(0).find((m) => m.type === MsgType.MsgTimeoutNow);
  t.ok(wish);
  for (let i = 0; i < electionTick; i++) {
    leader.tick();
    group.settle();
  }
  t.equal(leader.node.status().leadTransferee, 0);
  group.propose(1, 'after it was given up');
  if (wish !== undefined) group.peer(2).node.step(wish);
  group.settle();
  t.equal(group.peer(2).node.role, 'leader');
  for (const peer of group.peers) t.strictSame(peer.values, ['after it was given up']);
  t.end();
});

void t.test('a late wish to hand over does not reach into the next term', (t) => {
  const group = new Group(3);
  group.elect(1);
  group.elect(3);
  const { term } = group.peer(3).node;
  group.peer(2).node.step(message(MsgType.MsgTimeoutNow, 1, 2, { term: 1 }));
  group.settle();
  t.equal(group.peer(3).node.role, 'leader');
  t.equal(group.peer(2).node.term, term);
  t.end();
});

void t.test('a leader that is deposed during a transfer forgets it', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.transferLeader(2);
  leader.node.step(message(MsgType.MsgAppResp, 3, 1, { term: 5 }));
  t.equal(leader.node.status().leadTransferee, 0);
  group.elect(1);
  t.equal(leader.node.role, 'leader');
  t.ok(leader.node.propose(Buffer.from('x')).ok);
  t.end();
});
