import t from 'tap';
import { ConfChangeTransition } from '../../src/raft/conf_change.js';
import { leaveJoint } from '../../src/raft/conf_change_codec.js';
import { batchingSendPolicy } from '../../src/raft/config.js';
import { EntryType, MsgType } from '../../src/raft/message.js';
import { changeOf, electionTick, Group, heartbeatTick, message, voters, without } from './group.js';
import type { Peer } from './group.js';

/* Thesis chapter 4. */

/** Lets a leader give a snapshot of what it has applied. */
function offerSnapshot(leader: Peer): void {
  const { applied, confState } = leader.node;
  leader.storage.snapshotMeta = { index: applied, term: leader.node.termAt(applied) ?? 0, confState };
}

void t.test('a voter is added, gets a snapshot and then entries', (t) => {
  const group = new Group(1);
  const leader = group.elect(1);
  group.propose(1, 'before');
  leader.storage.compact(leader.node.applied);
  const added = group.addBlank();
  leader.node.proposeConfChange(changeOf([['add', 2]]));
  group.settle();
  t.strictSame(leader.node.confState, voters(1, 2));
  offerSnapshot(leader);
  leader.tick(heartbeatTick);
  group.settle();
  t.strictSame(added.node.confState, voters(1, 2));
  group.propose(1, 'after');
  t.strictSame(added.values, ['after']);
  t.end();
});

void t.test('a change takes effect when it is applied, not before', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 3]]));
  leader.handleReadys();
  t.strictSame(leader.node.confState, voters(1, 2, 3));
  group.settle();
  for (const peer of [leader, group.peer(2)]) t.strictSame(peer.node.confState, voters(1, 2));
  t.end();
});

void t.test('one change at a time: a second one becomes an empty entry (thesis §4.1)', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  const change = changeOf([['remove', 3]]);
  t.equal(leader.node.confChangeRefusal(change), null);
  leader.node.proposeConfChange(change);
  t.equal(leader.node.confChangeRefusal(change), 'pending');
  const second = leader.node.proposeConfChange(changeOf([['remove', 2]]));
  t.ok(second.ok);
  group.settle();
  t.strictSame(leader.node.confState, voters(1, 2));
  t.equal(second.ok && leader.storage.entry(second.index).type, EntryType.EntryNormal);
  t.end();
});

void t.test('a new leader takes no change before it has applied its predecessors’ entries', (t) => {
  const group = new Group(3);
  group.elect(1);
  group.peer(1).node.propose(Buffer.from('may be a change for all it knows'));
  group.settle((m) => m.type !== MsgType.MsgAppResp);
  const next = group.peer(2);
  next.node.campaign();
  group.settle((m) => m.type !== MsgType.MsgApp);
  t.equal(next.node.role, 'leader');
  t.equal(next.node.confChangeRefusal(changeOf([['remove', 3]])), 'pending');
  next.tick(heartbeatTick);
  group.settle();
  t.equal(next.node.confChangeRefusal(changeOf([['remove', 3]])), null);
  t.end();
});

void t.test('several changes go through a joint configuration and leave it by themselves (thesis §4.3)', (t) => {
  const group = new Group(4, {}, voters(1, 2, 3));
  const leader = group.elect(1);
  const change = changeOf([
    ['add', 4],
    ['remove', 3],
  ]);
  leader.node.proposeConfChange(change);
  group.settle();
  for (const peer of group.peers.slice(0, 2)) t.strictSame(peer.node.confState, voters(1, 2, 4));
  t.end();
});

void t.test('while joint, a commit needs both halves', (t) => {
  const cutOff = [
    { ids: [2, 4], half: 'the incoming one' },
    { ids: [2, 3], half: 'the outgoing one' },
  ];
  for (const { ids, half } of cutOff) {
    const group = new Group(4, {}, voters(1, 2, 3));
    const leader = group.elect(1);
    const changes = [
      ['add', 4],
      ['remove', 3],
    ] as const;
    leader.node.proposeConfChange(changeOf(changes, ConfChangeTransition.JointExplicit));
    group.settle();
    const { commit } = leader.node;
    leader.node.propose(Buffer.from('x'));
    group.settle(without(...ids));
    t.equal(leader.node.commit, commit, `no majority of ${half}`);
    leader.tick(heartbeatTick);
    group.settle(without(2));
    t.equal(leader.node.commit, commit + 1);
  }
  t.end();
});

void t.test('an explicit joint configuration stays until it is left', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 3]], ConfChangeTransition.JointExplicit));
  group.settle();
  t.strictSame(leader.node.confState, { ...voters(1, 2), votersOutgoing: [1, 2, 3] });
  t.equal(leader.node.confChangeRefusal(changeOf([['remove', 2]])), 'joint');
  t.equal(leader.node.confChangeRefusal(leaveJoint), null);
  leader.node.proposeConfChange(leaveJoint);
  group.settle();
  t.strictSame(leader.node.confState, voters(1, 2));
  t.equal(leader.node.confChangeRefusal(leaveJoint), 'notJoint');
  t.end();
});

void t.test('while joint, an election needs both halves', (t) => {
  const group = new Group(5, {}, voters(1, 2, 3));
  const leader = group.elect(1);
  const change = changeOf(
    [
      ['add', 4],
      ['add', 5],
      ['remove', 2],
      ['remove', 3],
    ],
    ConfChangeTransition.JointExplicit,
  );
  leader.node.proposeConfChange(change);
  group.settle();
  t.strictSame(leader.node.confState.voters, [1, 4, 5]);
  leader.node.step(message(MsgType.MsgAppResp, 2, 1, { term: 5 }));
  leader.node.campaign();
  group.settle(without(2, 3));
  t.equal(leader.node.role, 'candidate', 'a majority of the new half is not enough');
  group.settle();
  leader.node.campaign();
  group.settle(without(2));
  t.equal(leader.node.role, 'leader');
  t.end();
});

void t.test('a learner gets everything and counts for nothing', (t) => {
  const group = new Group(3, {}, { ...voters(1, 2), learners: [3] });
  group.elect(1);
  group.propose(1, 'x');
  t.strictSame(group.peer(3).values, ['x']);
  const { commit } = group.peer(1).node;
  group.propose(1, 'y', [1, 3]);
  t.equal(group.peer(1).node.commit, commit, 'itself and a learner are no quorum of two voters');
  t.end();
});

void t.test('a learner is promoted, a voter demoted', (t) => {
  const group = new Group(3, {}, { ...voters(1, 2), learners: [3] });
  const leader = group.elect(1);
  const change = changeOf([
    ['add', 3],
    ['learner', 2],
  ]);
  leader.node.proposeConfChange(change);
  group.settle();
  for (const peer of group.peers) t.strictSame(peer.node.confState, { ...voters(1, 3), learners: [2] });
  t.equal(leader.node.status().progress.get(2)?.learner, true);
  t.end();
});

void t.test('a leader that is removed keeps on until it steps down, not counting itself (thesis §4.2.2)', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 1]]));
  group.settle();
  t.equal(leader.node.role, 'leader');
  t.strictSame(leader.node.propose(Buffer.from('x')), { ok: false, reason: 'notMember' });
  t.equal(leader.node.status().progress.has(1), false);
  t.end();
});

void t.test('with stepDownOnRemoval a removed or demoted leader becomes a follower', (t) => {
  for (const what of ['remove', 'learner'] as const) {
    const group = new Group(3, { stepDownOnRemoval: true });
    const leader = group.elect(1);
    leader.node.proposeConfChange(changeOf([[what, 1]]));
    group.settle();
    t.equal(leader.node.role, 'follower');
    t.equal(leader.node.term, 1);
    leader.tick(3 * electionTick);
    t.equal(leader.node.role, 'follower', 'and stays one');
    group.peer(2).tick(electionTick);
    group.peer(2).node.campaign();
    group.settle();
    t.equal(group.peer(2).node.role, 'leader');
  }
  t.end();
});

void t.test('a replica that is removed hears of it whatever the policy', (t) => {
  const group = new Group(3, { sendPolicy: batchingSendPolicy });
  const leader = group.elect(1);
  leader.tick(heartbeatTick);
  group.settle();
  leader.node.proposeConfChange(changeOf([['remove', 3]]));
  group.settle();
  t.strictSame(group.peer(3).node.confState, voters(1, 2));
  t.end();
});

void t.test('removing a voter may commit what waited for it', (t) => {
  const group = new Group(2);
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 2]]));
  leader.node.propose(Buffer.from('x'));
  leader.handleReadys();
  const appends = leader.outgoing.splice(0).filter((m) => m.entries.length > 0);
  for (const m of appends.slice(0, 1)) group.peer(2).node.step(m);
  group.work(group.peer(2));
  for (const m of group.network.splice(0)) leader.node.step(m);
  leader.handleReadys();
  t.strictSame(leader.values, ['x']);
  t.end();
});

void t.test('late acknowledgements to a replica that was removed and added again do not count', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  group.propose(1, 'x');
  leader.node.proposeConfChange(changeOf([['remove', 3]]));
  group.settle();
  leader.node.proposeConfChange(changeOf([['learner', 3]]));
  group.settle(without(3));
  const late = message(MsgType.MsgAppResp, 3, 1, { term: 1, index: leader.node.lastIndex });
  leader.node.step(late);
  t.equal(leader.node.status().progress.get(3)?.match, 0, 'that was another disk');
  leader.handleReadys();
  leader.node.step(message(MsgType.MsgHeartbeatResp, 3, 1, { term: 1 }));
  leader.handleReadys();
  const append = leader.outgoing.find((m) => m.to === 3 && m.type === MsgType.MsgApp);
  t.equal(append?.context, 1, 'its appends carry the new session');
  leader.node.step({ ...late, context: 1 });
  t.equal(leader.node.status().progress.get(3)?.match, leader.node.lastIndex);
  t.end();
});

void t.test('a committed change that does not fit changes nothing', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  const before = leader.node.confState;
  t.equal(leader.node.applyConfChange(leaveJoint), before);
  const two = changeOf([
    ['remove', 1],
    ['remove', 2],
    ['remove', 3],
  ]);
  t.equal(leader.node.applyConfChange(two), before);
  t.equal(leader.node.confState, before);
  t.end();
});

void t.test('a change that is applied while a later snapshot is being stored is not applied to the snapshot', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  const peer = group.peer(2);
  const confState = { ...voters(1, 2, 3), learners: [4, 5] };
  const snapshot = { index: 9, term: 1, confState };
  peer.node.step(message(MsgType.MsgSnap, 1, 2, { term: 1, snapshot }));
  peer.handleReadys();
  const early = peer.node.applyConfChange(changeOf([['learner', 4]]));
  t.strictSame(early, { ...voters(1, 2, 3), learners: [4] }, 'the configuration at that entry');
  t.strictSame(peer.node.confState, confState);
  const next = peer.node.applyConfChange(changeOf([['remove', 4]]));
  t.strictSame(next, voters(1, 2, 3));
  t.strictSame(peer.node.confState, confState);
  peer.sync();
  t.strictSame(peer.node.applyConfChange(changeOf([['remove', 5]])), { ...confState, learners: [4] });
  t.end();
});

void t.test('a joint configuration is left after a transfer that was given up', (t) => {
  const group = new Group(3, { asyncStorageWrites: true });
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 3]], ConfChangeTransition.JointImplicit));
  leader.node.transferLeader(2);
  group.settle((m) => m.type !== MsgType.MsgTimeoutNow);
  t.ok(leader.node.confState.autoLeave, 'the change to leave was refused during the transfer');
  leader.tick(electionTick);
  group.settle();
  t.strictSame(leader.node.confState, voters(1, 2));
  t.end();
});

void t.test('the change to leave a joint configuration is proposed once', (t) => {
  // Pages of one entry: the state machine reports between the change and what was proposed after it.
  const group = new Group(3, { asyncStorageWrites: true, maxCommittedSizePerReady: 16 });
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 3]], ConfChangeTransition.JointImplicit));
  for (const value of ['a', 'b', 'c']) leader.node.propose(Buffer.from(value));
  group.settle();
  t.strictSame(leader.node.confState, voters(1, 2));
  const changes = leader.applied.filter((e) => e.type !== EntryType.EntryNormal);
  const empty = leader.applied.filter((e) => e.type === EntryType.EntryNormal && e.data.length === 0);
  t.equal(changes.length, 2, 'into it and out of it');
  t.equal(empty.length, 1, 'the first of the term, and no refused change');
  t.end();
});

void t.test('while joint, a leader needs both halves to be active (thesis §4.3, §6.2)', (t) => {
  const group = new Group(5, { checkQuorum: true }, voters(1, 2, 3));
  const leader = group.elect(1);
  const change = changeOf(
    [
      ['add', 4],
      ['add', 5],
      ['remove', 2],
      ['remove', 3],
    ],
    ConfChangeTransition.JointExplicit,
  );
  leader.node.proposeConfChange(change);
  group.settle();
  const roleAfterHearing = (...ids: number[]): string => {
    for (const id of ids) leader.node.step(message(MsgType.MsgHeartbeatResp, id, 1, { term: 1 }));
    leader.tick(electionTick);
    leader.handleReadys();
    return leader.node.role;
  };
  roleAfterHearing(2, 4);
  t.equal(roleAfterHearing(2, 4), 'leader');
  t.equal(roleAfterHearing(4, 5), 'follower', 'nobody of the outgoing half');
  t.end();
});

void t.test('a member that is removed and added in one change starts anew', (t) => {
  const group = new Group(3, {}, { ...voters(1, 2), learners: [3] });
  const leader = group.elect(1);
  group.propose(1, 'x');
  t.equal(leader.node.status().progress.get(3)?.match, leader.node.lastIndex);
  const change = changeOf([
    ['remove', 3],
    ['learner', 3],
  ]);
  leader.node.proposeConfChange(change);
  group.settle(without(3));
  t.equal(leader.node.status().progress.get(3)?.match, 0, 'its disk may be another one');
  leader.node.step(message(MsgType.MsgAppResp, 3, 1, { term: 1, index: 2 }));
  t.equal(leader.node.status().progress.get(3)?.match, 0);
  t.end();
});

void t.test('a snapshot belongs to a session as appends do', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  leader.node.proposeConfChange(changeOf([['remove', 3]]));
  group.settle();
  leader.node.proposeConfChange(changeOf([['learner', 3]]));
  group.settle(without(3));
  leader.storage.compact(leader.node.applied);
  offerSnapshot(leader);
  leader.node.step(message(MsgType.MsgHeartbeatResp, 3, 1, { term: 1 }));
  leader.node.step(
    message(MsgType.MsgAppResp, 3, 1, { term: 1, context: 1, index: leader.node.lastIndex, reject: true }),
  );
  leader.handleReadys();
  const snapshot = leader.outgoing.find((m) => m.type === MsgType.MsgSnap);
  t.equal(snapshot?.context, 1);
  t.end();
});
