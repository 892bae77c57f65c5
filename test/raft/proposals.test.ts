import t from 'tap';
import { batchingSendPolicy, eagerSendPolicy } from '../../src/raft/config.js';
import type { SendPolicy } from '../../src/raft/config.js';
import { MsgType } from '../../src/raft/message.js';
import type { MsgTypeName } from '../../src/raft/message.js';
import { rows } from '../../src/raft/dispatch.js';
import type { Role } from '../../src/raft/ready.js';
import { RawNode } from '../../src/raft/raw_node.js';
import { Group, heartbeatTick, message, normal, testConfig, voters } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* What enters the log, what is refused, and when messages are sent. */

void t.test('a leader says where a proposal stands', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  const result = leader.node.propose(Buffer.from('x'));
  t.strictSame(result, { ok: true, index: 2, term: 1 });
  group.settle();
  t.equal(leader.storage.entry(2).data.toString(), 'x');
  t.end();
});

void t.test('a payload passes through uncopied', (t) => {
  const group = new Group(1);
  group.elect(1);
  const data = Buffer.from('x');
  group.peer(1).node.propose(data);
  group.settle();
  t.equal(group.peer(1).applied.at(-1)?.data, data);
  t.end();
});

void t.test('a follower passes a proposal on, or refuses it when told to or leaderless', (t) => {
  const group = new Group(3);
  t.strictSame(group.peer(2).node.propose(Buffer.from('x')), { ok: false, reason: 'notLeader' });
  group.elect(1);
  t.strictSame(group.peer(2).node.propose(Buffer.from('x')), { ok: true, index: 0, term: 0 });
  group.settle();
  t.strictSame(group.peer(3).values, ['x']);
  const strict = new Group(3, { disableProposalForwarding: true });
  strict.elect(1);
  t.strictSame(strict.peer(2).node.propose(Buffer.from('x')), { ok: false, reason: 'notLeader' });
  t.end();
});

void t.test('a candidate refuses proposals', (t) => {
  const group = new Group(3);
  group.peer(1).node.campaign();
  t.strictSame(group.peer(1).node.propose(Buffer.from('x')), { ok: false, reason: 'notLeader' });
  t.strictSame(group.peer(1).node.step(message(MsgType.MsgProp, 2, 1)), { ok: false, reason: 'dropped' });
  t.end();
});

void t.test('uncommitted bytes are limited; one large proposal passes alone', (t) => {
  const group = new Group(3, { maxUncommittedEntriesSize: 100 });
  const leader = group.elect(1);
  t.ok(leader.node.propose(Buffer.alloc(500)).ok, 'nothing else was uncommitted');
  t.strictSame(leader.node.propose(Buffer.alloc(1)), { ok: false, reason: 'busy' });
  t.ok(leader.node.propose(Buffer.alloc(0)).ok, 'empty entries always pass');
  group.settle();
  t.ok(leader.node.propose(Buffer.alloc(60)).ok);
  t.ok(leader.node.propose(Buffer.alloc(40)).ok);
  t.strictSame(leader.node.propose(Buffer.alloc(1)), { ok: false, reason: 'busy' });
  group.settle();
  t.ok(leader.node.propose(Buffer.alloc(1)).ok);
  t.end();
});

void t.test('entries of earlier leaders do not count against the limit, nor are they deducted from it', (t) => {
  const group = new Group(3, { maxUncommittedEntriesSize: 100 });
  group.elect(1);
  group.peer(1).node.propose(Buffer.alloc(90));
  group.settle((m) => m.type !== MsgType.MsgAppResp);
  group.peer(2).node.campaign();
  group.settle((m) => m.type !== MsgType.MsgApp);
  const leader = group.peer(2);
  t.ok(leader.node.propose(Buffer.alloc(90)).ok);
  leader.tick(heartbeatTick);
  group.settle();
  t.ok(leader.node.propose(Buffer.alloc(90)).ok);
  t.strictSame(leader.node.propose(Buffer.alloc(90)), { ok: false, reason: 'busy' });
  t.end();
});

function appendsAfter(sendPolicy: SendPolicy, proposals: number): number {
  const group = new Group(3, { sendPolicy });
  const leader = group.elect(1);
  for (let i = 0; i < proposals; i++) leader.node.propose(Buffer.from('x'));
  leader.handleReady();
  return leader.outgoing.filter((m) => m.type === MsgType.MsgApp && m.to === 2).length;
}

void t.test('eager: an append per proposal; batching: one for all since the last Ready', (t) => {
  t.equal(appendsAfter(eagerSendPolicy, 5), 5);
  t.equal(appendsAfter(batchingSendPolicy, 5), 1);
  t.end();
});

void t.test('eager: a commit is told at once; piggyback: with the next append or heartbeat', (t) => {
  const commitsAfter = (sendPolicy: SendPolicy): [number, number, number] => {
    const group = new Group(3, { sendPolicy });
    group.elect(1);
    group.propose(1, 'x');
    const { commit } = group.peer(1).node;
    const first = commit - group.peer(2).node.commit;
    group.propose(1, 'y');
    const second = commit - group.peer(2).node.commit;
    group.peer(1).tick(heartbeatTick);
    group.settle();
    return [first, second, group.peer(1).node.commit - group.peer(2).node.commit];
  };
  t.strictSame(commitsAfter(eagerSendPolicy), [0, -1, 0]);
  t.strictSame(commitsAfter(batchingSendPolicy), [1, 0, 0]);
  t.end();
});

void t.test('coalesced acknowledgements: the last one says it all', (t) => {
  const acksOf = (coalesceAcks: boolean): number[] => {
    const group = new Group(3, { sendPolicy: { ...eagerSendPolicy, coalesceAcks } });
    group.elect(1);
    for (let i = 0; i < 4; i++) group.peer(1).node.propose(Buffer.from('x'));
    group.peer(1).handleReady();
    const peer = group.peer(2);
    for (const m of group.peer(1).outgoing) if (m.to === 2) peer.node.step(m);
    peer.handleReadys();
    return peer.outgoing.filter((m) => m.type === MsgType.MsgAppResp).map((m) => m.index);
  };
  t.strictSame(acksOf(false), [2, 3, 4, 5]);
  t.strictSame(acksOf(true), [5]);
  t.end();
});

void t.test('with any policy the same is applied', (t) => {
  for (const commitNotice of ['eager', 'piggyback'] as const) {
    for (const appendPerProposal of [true, false]) {
      for (const coalesceAcks of [true, false]) {
        const group = new Group(3, {
          sendPolicy: { commitNotice, appendPerProposal, coalesceAcks },
          maxInflightMsgs: 2,
          maxSizePerMsg: 40,
        });
        const leader = group.elect(1);
        for (let i = 0; i < 20; i++) leader.node.propose(Buffer.from(String(i)));
        group.settle();
        leader.tick(heartbeatTick);
        group.settle();
        for (const peer of group.peers) t.equal(peer.values.length, 20);
      }
    }
  }
  t.end();
});

void t.test('every role has a handler for every message', (t) => {
  const names = Object.keys(MsgType) as MsgTypeName[];
  for (const role of ['follower', 'preCandidate', 'candidate', 'leader'] satisfies Role[]) {
    t.strictSame(Object.keys(rows[role]).sort(), [...names].sort(), role);
  }
  t.end();
});

void t.test('local messages and answers of strangers are refused', (t) => {
  const group = new Group(3);
  const leader = group.elect(1);
  const local = ['MsgHup', 'MsgBeat', 'MsgUnreachable', 'MsgSnapStatus', 'MsgCheckQuorum'] as const;
  for (const name of [...local, 'MsgStorageAppend', 'MsgStorageApplyResp'] as const) {
    t.strictSame(leader.node.step(message(MsgType[name], 2, 1)), { ok: false, reason: 'localMessage' }, name);
  }
  for (const name of ['MsgAppResp', 'MsgVoteResp', 'MsgHeartbeatResp', 'MsgPreVoteResp'] as const) {
    const answer = message(MsgType[name], 9, 1, { term: 99 });
    t.strictSame(leader.node.step(answer), { ok: false, reason: 'peerNotFound' }, name);
  }
  t.equal(leader.node.term, 1);
  t.end();
});

void t.test('ready() hands out once, and hasReady() is exact', (t) => {
  const group = new Group(1);
  const { node } = group.peer(1);
  t.notOk(node.hasReady());
  node.campaign();
  t.ok(node.hasReady());
  node.ready();
  t.throws(() => node.ready(), /advance/);
  node.advance();
  t.throws(() => node.advance(), /follows/);
  t.ok(node.hasReady(), 'its own vote made it leader');
  t.end();
});

void t.test('contradictory settings are refused', (t) => {
  const storage = new MemoryRaftStorage(voters(1));
  const bad = [
    { id: 0 },
    { electionTick: 2 },
    { heartbeatTick: 0 },
    { maxInflightMsgs: 0 },
    { maxSizePerMsg: 10, maxInflightBytes: 9 },
    { maxCommittedSizePerReady: 0 },
    { readOnlyOption: 'leaseBased' as const },
  ];
  for (const overrides of bad) {
    t.throws(() => new RawNode({ ...testConfig(1), ...overrides }, storage), JSON.stringify(overrides));
  }
  t.end();
});

void t.test('batching: what does not fit one append goes out in several at once, as far as the window is open', (t) => {
  const group = new Group(2, { sendPolicy: batchingSendPolicy, maxSizePerMsg: 20, maxInflightMsgs: 3 });
  const leader = group.elect(1);
  leader.tick(heartbeatTick);
  group.settle();
  for (let i = 0; i < 4; i++) leader.node.propose(Buffer.from('x'));
  leader.handleReady();
  const appends = leader.outgoing.filter((m) => m.type === MsgType.MsgApp);
  t.strictSame(
    appends.map((m) => m.entries.length),
    [1, 1, 1],
  );
  t.end();
});

void t.test('acknowledgements of different sessions, leaders or terms are never made into one', (t) => {
  const group = new Group(3, { sendPolicy: batchingSendPolicy, asyncStorageWrites: true });
  const peer = group.peer(3);
  const append = (from: number, term: number, context: number): void => {
    const fields = { term, context, index: 0, logTerm: 0, entries: [normal(term, 1)] };
    peer.node.step(message(MsgType.MsgApp, from, 3, fields));
  };
  append(1, 1, 0);
  append(1, 1, 0);
  append(1, 1, 4);
  append(2, 2, 4);
  peer.handleReady();
  peer.sync();
  t.match(peer.outgoing, [
    { to: 1, term: 1, context: 0 },
    { to: 1, term: 1, context: 4 },
    { to: 2, term: 2, context: 4 },
  ]);
  t.equal(peer.outgoing.length, 3);
  t.end();
});
