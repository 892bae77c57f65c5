import t from 'tap';
import { campaignTransfer, MsgType } from '../../src/raft/message.js';
import { electionTick, Group, heartbeatTick, message, voters, without } from './group.js';

/* Thesis §3.10. */

void t.test('leadership goes to a follower that is up to date', (t) => {
  for (const options of [{}, { preVote: true, checkQuorum: true }]) {
    const group = new Group(3, options);
    group.elect(1);
    group.peer(1).node.transferLeader(3);
    group.settle();
    t.equal(group.peer(3).node.role, 'leader');
    t.equal(group.peer(1).node.leaderId, 3);
  }
  t.end();
});

void t.test('a follower that is behind is brought up to date first', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  group.propose(1, 'x', [1, 2]);
  leader.node.transferLeader(3);
  leader.handleReadys();
  t.notOk(leader.outgoing.some((m) => m.type === MsgType.MsgTimeoutNow));
  group.settle();
  leader.tick(heartbeatTick);
  group.settle();
  t.equal(group.peer(3).node.role, 'leader');
  t.strictSame(group.peer(3).values, ['x']);
  t.end();
});

void t.test('a follower passes the wish on to its leader', (t) => {
  const group = new Group(3);
  group.elect(1);
  group.peer(2).node.transferLeader(2);
  group.settle();
  t.equal(group.peer(2).node.role, 'leader');
  t.end();
});

void t.test('the target says in its request for votes that it was asked to campaign', (t) => {
  const group = new Group(3, { preVote: true });
  group.elect(1);
  const target = group.peer(2);
  target.node.step(message(MsgType.MsgTimeoutNow, 1, 2, { term: 1 }));
  target.handleReadys();
  const asks = target.outgoing.filter((m) => m.type === MsgType.MsgVote);
  t.equal(asks.length, 2, 'without pre-votes');
  t.ok(asks.every((m) => m.context === campaignTransfer));
  t.end();
});

void t.test('only the leader of the term may ask for a forced candidacy', (t) => {
  const group = new Group(3);
  group.elect(1);
  group.peer(2).node.step(message(MsgType.MsgTimeoutNow, 3, 2, { term: 1 }));
  t.equal(group.peer(2).node.role, 'follower');
  t.end();
});

void t.test('proposals wait while leadership is handed over', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.transferLeader(2);
  t.strictSame(leader.node.propose(Buffer.from('x')), { ok: false, reason: 'transferring' });
  t.equal(leader.node.status().leadTransferee, 2);
  t.end();
});

void t.test('a transfer that takes longer than an election timeout is given up', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.transferLeader(2);
  group.settle(without(2));
  leader.tick(electionTick - 1);
  t.equal(leader.node.status().leadTransferee, 2);
  leader.tick();
  t.equal(leader.node.status().leadTransferee, 0);
  t.ok(leader.node.propose(Buffer.from('x')).ok);
  t.end();
});

void t.test('another target replaces the first, the same one again changes nothing', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  group.propose(1, 'x', [1]);
  leader.node.transferLeader(2);
  leader.tick(3);
  leader.node.transferLeader(2);
  leader.tick(electionTick - 3);
  t.equal(leader.node.status().leadTransferee, 0, 'its time ran from the first call');
  leader.node.transferLeader(2);
  leader.node.transferLeader(3);
  t.equal(leader.node.status().leadTransferee, 3);
  leader.node.transferLeader(1);
  t.equal(leader.node.status().leadTransferee, 0, 'the leader itself: nothing to do any more');
  t.end();
});

void t.test('nobody is handed leadership who could not have it', (t) => {
  const group = new Group(3, {}, { ...voters(1, 2), learners: [3] });
  const leader = group.elect(1);
  leader.node.transferLeader(3);
  leader.node.transferLeader(9);
  t.equal(leader.node.status().leadTransferee, 0);
  t.end();
});

void t.test('a transfer voids the lease, and so does what is left of the term once the target was told', (t) => {
  const group = new Group(3, { checkQuorum: true, preVote: true, readOnlyOption: 'leaseBased' });
  const leader = group.elect(1);
  const servedAtOnce = (): boolean => {
    leader.readStates.length = 0;
    leader.node.readIndex(1);
    leader.handleReadys();
    return leader.readStates.length > 0;
  };
  leader.tick(heartbeatTick);
  group.settle();
  t.ok(servedAtOnce());
  leader.node.propose(Buffer.from('x'));
  leader.node.transferLeader(2);
  leader.handleReadys();
  t.notOk(
    leader.outgoing.some((m) => m.type === MsgType.MsgTimeoutNow),
    'the target is behind',
  );
  t.notOk(servedAtOnce(), 'during the transfer');
  group.settle((m) => m.type !== MsgType.MsgTimeoutNow);
  for (let i = 0; i < electionTick / heartbeatTick; i++) {
    leader.tick(heartbeatTick);
    group.settle((m) => m.type !== MsgType.MsgTimeoutNow);
  }
  t.equal(leader.node.role, 'leader');
  t.equal(leader.node.status().leadTransferee, 0, 'given up');
  t.notOk(servedAtOnce(), 'the target may still campaign with forced votes');
  group.settle((m) => m.type !== MsgType.MsgTimeoutNow);
  t.ok(leader.readStates.length > 0, 'reads take rounds then');
  t.end();
});

void t.test('a transfer to a replica that is then removed is given up', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  const leader = group.elect(1);
  leader.node.proposeConfChange({ transition: 0, changes: [{ type: 1, replicaId: 3 }], context: Buffer.alloc(0) });
  leader.node.transferLeader(3);
  group.settle((m) => m.type !== MsgType.MsgTimeoutNow);
  t.strictSame(leader.node.confState.voters, [1, 2]);
  t.equal(leader.node.status().leadTransferee, 0);
  t.end();
});

void t.test('a transfer has a whole election timeout, whenever it began', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.tick(electionTick - 1);
  leader.node.transferLeader(2);
  leader.tick(electionTick - 1);
  t.equal(leader.node.status().leadTransferee, 2);
  leader.tick();
  t.equal(leader.node.status().leadTransferee, 0);
  t.end();
});
