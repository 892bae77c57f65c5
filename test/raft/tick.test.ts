import t from 'tap';
import { Prng } from '../../src/base/prng.js';
import { batchingSendPolicy } from '../../src/raft/config.js';
import { Group } from './group.js';

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
