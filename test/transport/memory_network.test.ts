import t from 'tap';
import { handshakeTimeoutMs, snapshotParkedMs } from '../../src/transport/limits.js';
import { calmLink, type LinkPolicy } from '../../src/transport/memory_network.js';
import { appendMessage, ListSink, ListSource } from './support.js';
import { World, type Member } from './world.js';

function indexes(member: Member): number[] {
  return member.heard.events.flatMap((event) => (event.type === 'message' ? [event.message.index] : []));
}

t.test('two hosts greet each other over one connection and exchange messages in order', async (t) => {
  const world = new World(1);
  const a = await world.start(1, 10);
  const b = await world.start(2, 20);
  await world.run(100);
  t.same(a.heard.events, [{ type: 'peerUp', hostId: 2, incarnation: 20 }]);
  t.same(b.heard.events, [{ type: 'peerUp', hostId: 1, incarnation: 10 }]);
  t.equal(world.network.connectionCount(1, 2), 1);
  for (let i = 1; i <= 10; i++) {
    t.ok(a.transport.sendMessage(2, 1, appendMessage(i, Buffer.from(`entry ${i}`))));
    if (i % 3 === 0) a.transport.flush();
  }
  a.transport.flush();
  t.same(indexes(b), [], 'nothing arrives from within the call');
  await world.run(100);
  t.same(indexes(b), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

t.test('the same seed gives the same run, another seed another one', async (t) => {
  const policy: LinkPolicy = { delayMinMs: 1, delayMaxMs: 9, dropRate: 0.2, duplicateRate: 0.2, reorderRate: 0.3 };
  const history = async (seed: number): Promise<number[]> => {
    const world = new World(seed, policy);
    const a = await world.start(1);
    const b = await world.start(2);
    await world.run(1_000);
    for (let i = 1; i <= 100; i++) {
      a.transport.sendMessage(2, 1, appendMessage(i));
      a.transport.flush();
      await world.run(1);
    }
    await world.run(1_000);
    return indexes(b);
  };
  const first = await history(42);
  t.same(await history(42), first);
  t.notSame(await history(43), first);
  t.ok(new Set(first).size < 100, 'some were dropped');
  t.ok(new Set(first).size < first.length, 'some came twice');
  t.notSame(
    first,
    [...first].sort((x, y) => x - y),
    'some were overtaken',
  );
});

t.test('forwarded requests never come twice', async (t) => {
  const world = new World(3, { ...calmLink, duplicateRate: 1 });
  const a = await world.start(1);
  const b = await world.start(2);
  await world.run(100);
  a.transport.sendForward(2, 5, Buffer.from('request'));
  a.transport.sendMessage(2, 1, appendMessage(1));
  a.transport.flush();
  await world.run(100);
  t.equal(b.heard.count('forward'), 1);
  t.equal(b.heard.count('message'), 2);
});

t.test('a short cut delays, a long one breaks the connection at both ends, and healing brings it back', async (t) => {
  const world = new World(4);
  const a = await world.start(1);
  const b = await world.start(2);
  await world.run(100);
  world.network.partition(1, 2);
  a.transport.sendMessage(2, 1, appendMessage(1));
  a.transport.flush();
  await world.run(300);
  t.same(indexes(b), []);
  world.network.heal(1, 2);
  await world.run(100);
  t.same(indexes(b), [1]);
  t.equal(a.heard.count('peerDown'), 0);
  world.network.partition(1, 2);
  await world.run(1_100);
  t.equal(a.heard.count('peerDown'), 1);
  t.equal(b.heard.count('peerDown'), 1);
  t.notOk(a.transport.sendMessage(2, 1, appendMessage(2)), 'nothing is taken while disconnected');
  await world.run(5_000);
  t.equal(a.heard.count('peerUp'), 1, 'still apart');
  world.network.heal(1, 2);
  await world.run(3_000);
  t.ok(a.transport.isConnected(2) && b.transport.isConnected(1));
  t.equal(world.network.connectionCount(1, 2), 1);
});

t.test('a cut of one direction only breaks the connection too', async (t) => {
  const world = new World(5);
  const a = await world.start(1);
  const b = await world.start(2);
  await world.run(100);
  world.network.cut(2, 1);
  await world.run(1_100);
  t.equal(a.heard.count('peerDown'), 1);
  t.equal(b.heard.count('peerDown'), 1);
  await world.run(10_000);
  t.notOk(a.transport.isConnected(2));
  world.network.healAll();
  await world.run(3_000);
  t.ok(a.transport.isConnected(2) && b.transport.isConnected(1));
});

t.test('messages can be lost in one direction while the connection stays up', async (t) => {
  const world = new World(6);
  const a = await world.start(1);
  const b = await world.start(2);
  await world.run(100);
  world.network.setPolicy(1, 2, { ...calmLink, dropRate: 1 });
  for (const [from, to] of [
    [a, 2],
    [b, 1],
  ] as const) {
    from.transport.sendMessage(to, 1, appendMessage(1));
    from.transport.flush();
  }
  await world.run(5_000);
  t.same(indexes(b), []);
  t.same(indexes(a), [1]);
  t.ok(a.transport.isConnected(2));
});

t.test('a disconnected pair hears it once each and connects again', async (t) => {
  const world = new World(7);
  const a = await world.start(1);
  const b = await world.start(2);
  await world.run(100);
  world.network.disconnect(1, 2);
  await world.run(2_000);
  for (const member of [a, b]) {
    t.same(
      member.heard.events.map((event) => event.type),
      ['peerUp', 'peerDown', 'peerUp'],
    );
  }
});

t.test('a restarted process is told apart by its incarnation', async (t) => {
  const world = new World(8);
  const a = await world.start(1);
  const b = await world.start(2, 5);
  await world.run(100);
  await b.transport.close();
  await world.run(1_000);
  t.equal(a.heard.count('peerDown'), 1);
  await world.start(2, 6);
  await world.run(2_000);
  t.same(a.heard.events.at(-1), { type: 'peerUp', hostId: 2, incarnation: 6 });
});

t.test('snapshots go both ways, and one that is cut off for too long aborts its sink once', async (t) => {
  const world = new World(9);
  const a = await world.start(1);
  const b = await world.start(2);
  await world.run(100);
  for (const [from, to, hostId] of [
    [a, b, 2],
    [b, a, 1],
  ] as const) {
    const sink = new ListSink();
    to.heard.onSnapshot = () => Promise.resolve(sink);
    const source = new ListSource(3, [Buffer.alloc(70_000, 1), Buffer.alloc(30_000, 2)]);
    const sent = from.transport.sendSnapshot(hostId, source);
    await world.run(1_000);
    await sent;
    t.equal(sink.outcome, 'finished');
    t.equal(Buffer.concat(sink.chunks).length, 100_000);
    t.equal(source.closes, 1);

    const broken = new ListSink();
    to.heard.onSnapshot = () => Promise.resolve(broken);
    const endless = new ListSource(3, []);
    endless.next = () => Promise.resolve(Buffer.alloc(100_000));
    const failure = from.transport.sendSnapshot(hostId, endless).catch((error: unknown) => error);
    await world.run(20);
    t.ok(broken.chunks.length > 0, 'it was on its way');
    world.network.partition(1, 2);
    // Longer than either side waits for the other to go on.
    await world.run(snapshotParkedMs + handshakeTimeoutMs + 10_000);
    world.network.healAll();
    await world.run(2_000);
    t.match(await failure, { name: 'SnapshotError', code: 'broken' });
    t.equal(broken.outcome, 'aborted');
    t.equal(broken.ends, 1);
    t.equal(endless.closes, 1);
  }
});

t.test('a host of another cluster is refused, and asks again only after a long wait', async (t) => {
  const world = new World(10);
  const a = await world.start(1, 1, 7);
  const b = await world.start(2, 1, 8);
  await world.run(4_000);
  t.same(a.heard.events, []);
  t.same(b.heard.events, []);
  t.match(a.transport.stats().peers, [{ hostId: 2, connected: false, refusal: 'refusedByPeer', framesSent: 1 }]);
  await world.run(20_000);
  const attempts = a.transport.stats().peers[0]?.framesSent ?? 0;
  t.ok(attempts >= 3 && attempts <= 6, `${attempts} attempts in 24 s`);
});
