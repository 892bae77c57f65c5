import t from 'tap';
import { appendMessage, join, ListSink, ListSource, startHost } from './support.js';

t.test('many messages of one turn leave in one frame and arrive in order', async (t) => {
  const a = await startHost({ hostId: 1, incarnation: 10 });
  const b = await startHost({ hostId: 2, incarnation: 20 });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  await join(a, b);
  t.same(a.heard.events[0], { type: 'peerUp', hostId: 2, incarnation: 20 });
  t.same(b.heard.events[0], { type: 'peerUp', hostId: 1, incarnation: 10 });
  const before = a.transport.stats().peers[0]?.framesSent ?? 0;
  for (let i = 1; i <= 1000; i++) t.ok(a.transport.sendMessage(2, i, appendMessage(i)));
  a.transport.sendGone(2, { groupId: 5, replicaId: 6, confVer: 7, version: 8 });
  a.transport.flush();
  await b.heard.until('gone');
  t.equal((a.transport.stats().peers[0]?.framesSent ?? 0) - before, 1);
  const messages = b.heard.events.filter((event) => event.type === 'message');
  t.same(
    messages.map((event) => event.groupId),
    Array.from({ length: 1000 }, (_, i) => i + 1),
  );
});

t.test('a snapshot goes from the dialling side to the accepting side', async (t) => {
  const a = await startHost({ hostId: 1 });
  const b = await startHost({ hostId: 2 });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  await join(a, b);
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const sink = new ListSink();
    to.heard.onSnapshot = () => Promise.resolve(sink);
    const source = new ListSource(3, [Buffer.alloc(300_000, 1), Buffer.alloc(200_000, 2)]);
    await from.transport.sendSnapshot(to.hostId, source);
    t.equal(sink.outcome, 'finished');
    t.equal(source.closes, 1);
    t.equal(Buffer.concat(sink.chunks).length, 500_000);
  }
});
