import t from 'tap';
import { Prng } from '../../src/base/prng.js';
import { batchingSendPolicy } from '../../src/raft/config.js';
import { MsgType } from '../../src/raft/message.js';
import { Group, heartbeatTick } from './group.js';

t.test('a tick that says that nothing is due leaves nothing to hand out', (t) => {
  const group = new Group(3, {
    preVote: true,
    checkQuorum: true,
    asyncStorageWrites: true,
    sendPolicy: batchingSendPolicy,
  });
  const prng = new Prng(7);
  let quiet = 0;
  let due = 0;
  for (let i = 0; i < 2_000; i++) {
    for (const peer of group.peers) {
      const fired = peer.node.tick();
      if (fired) due++;
      else quiet++;
      if (!fired && peer.node.hasReady()) t.fail(`tick ${String(i)} of ${String(peer.id)} made a Ready in silence`);
    }
    // Reads that followers pass on, and long cuts: elections, quorum checks and reads that expire.
    if (prng.chance(0.2)) group.peer(prng.int(1, 3)).node.readIndex(i + 1);
    const cut = i % 200 < 60 ? 1 + (Math.floor(i / 200) % 3) : 0;
    group.settle((m) => m.from !== cut && m.to !== cut);
  }
  t.ok(quiet > 1_000, 'most ticks only count');
  t.ok(due > 500, 'timers fired');
  t.end();
});

t.test('messages that are all there is to do are taken without a Ready; those beside other work stay in it', (t) => {
  const group = new Group(3, { asyncStorageWrites: true, sendPolicy: batchingSendPolicy });
  group.elect(1);
  const { node: leader } = group.peer(1);
  const { node: follower } = group.peer(2);
  for (let i = 0; i < heartbeatTick; i++) leader.tick();
  group.settle();
  t.same(leader.takeMessages(), [], 'no Ready, no message');
  for (let i = 0; i < heartbeatTick; i++) leader.tick();
  const heartbeats = leader.takeMessages() ?? [];
  t.same(
    heartbeats.map((m) => [m.type, m.to]),
    [
      [MsgType.MsgHeartbeat, 2],
      [MsgType.MsgHeartbeat, 3],
    ],
  );
  t.notOk(leader.hasReady(), 'they are handed out once');
  for (const m of heartbeats) if (m.to === 2) follower.step(m);
  const answers = follower.takeMessages() ?? [];
  t.same(
    answers.map((m) => m.type),
    [MsgType.MsgHeartbeatResp],
  );
  for (const m of answers) leader.step(m);
  t.same(leader.takeMessages(), [], 'the answer asks for nothing');

  leader.propose(Buffer.from('x'));
  for (let i = 0; i < heartbeatTick; i++) leader.tick();
  t.equal(leader.takeMessages(), null, 'an entry has to be stored');
  const { entries, messages } = leader.ready();
  t.equal(entries.length, 1);
  t.equal(messages.filter((m) => m.type === MsgType.MsgHeartbeat).length, 2);
  t.end();
});
