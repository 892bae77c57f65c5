import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import t from 'tap';
import { decodeEnvelope } from '../../src/wire/index.js';
import { envelope, hello, Proxy, RawStream, startRawServer } from './raw.js';
import { appendMessage, join, ListSink, ListSource, startHost, type Host } from './support.js';
import { BeatSleep } from '../../src/wire/beat_codec.js';

/** Established TCP connections to a local port, as the kernel counts them. */
function connectionsTo(port: number): number {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const established = '01';
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(`:${hexPort}`) === true && state === established).length;
}

/** Waits for what the kernel does in its own time. */
async function onceTrue(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

function framesSent(host: Host, peer: number): number {
  return host.transport.stats().peers.find(({ hostId }) => hostId === peer)?.framesSent ?? 0;
}

t.test('many messages of one turn leave in one frame and arrive in order', async (t) => {
  const a = await startHost({ hostId: 1, incarnation: 10 });
  const b = await startHost({ hostId: 2, incarnation: 20 });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  await join(a, b);
  t.same(a.heard.events[0], { type: 'peerUp', hostId: 2, incarnation: 20 });
  t.same(b.heard.events[0], { type: 'peerUp', hostId: 1, incarnation: 10 });
  const before = framesSent(a, 2);
  let taken = 0;
  for (let i = 1; i <= 1000; i++) if (a.transport.sendMessage(2, i, appendMessage(i))) taken++;
  a.transport.sendGone(2, { groupId: 5, replicaId: 6, confVer: 7, version: 8 });
  a.transport.flush();
  await b.heard.until('gone');
  t.equal(taken, 1000);
  t.equal(framesSent(a, 2) - before, 1);
  const messages = b.heard.events.filter((event) => event.type === 'message');
  t.same(
    messages.map((event) => event.groupId),
    Array.from({ length: 1000 }, (_, i) => i + 1),
  );
});

t.test('everything that can be sent arrives as it was, both ways', async (t) => {
  const a = await startHost({ hostId: 1 });
  const b = await startHost({ hostId: 2 });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  await join(a, b);
  const row = { groupId: 1, from: 2, to: 3, term: 4, commit: 5, context: 6, sleep: BeatSleep.sleep };
  const beat = { sequence: 9, syncAgeMs: 10, heartbeats: [row], responses: [{ ...row, groupId: 2 }] };
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const { transport } = from;
    transport.sendMessage(to.hostId, 77, appendMessage(5, Buffer.from('data')));
    transport.sendBeat(to.hostId, beat);
    transport.sendForward(to.hostId, 1, Buffer.from('request'));
    transport.sendForwardResponse(to.hostId, 2, Buffer.from('response'));
    transport.sendGone(to.hostId, { groupId: 5, replicaId: 6, confVer: 7, version: 8 });
    transport.flush();
    await to.heard.until('gone');
    const id = from.hostId;
    t.same(to.heard.events.slice(1), [
      { type: 'beat', from: id, beat },
      { type: 'message', from: id, groupId: 77, message: appendMessage(5, Buffer.from('data')) },
      { type: 'forward', from: id, id: 1, payload: Buffer.from('request') },
      { type: 'forwardResponse', from: id, id: 2, payload: Buffer.from('response') },
      { type: 'gone', from: id, gone: { groupId: 5, replicaId: 6, confVer: 7, version: 8 } },
    ]);
  }
});

t.test('three hosts have exactly one connection per pair, and one more for a snapshot in progress', async (t) => {
  const hosts: Host[] = [];
  for (const hostId of [1, 2, 3]) hosts.push(await startHost({ hostId }));
  t.teardown(() => Promise.all(hosts.map((host) => host.stop())));
  const [a, b, c] = hosts as [Host, Host, Host];
  await Promise.all([join(a, b), join(a, c), join(b, c)]);
  const sink = new ListSink();
  const halfway = once(sink.emitter, 'chunk');
  a.heard.onSnapshot = () => Promise.resolve(sink);
  const source = new ListSource(3, [Buffer.alloc(10)]);
  let release = (): void => undefined;
  const held = new Promise<null>((resolve) => (release = () => resolve(null)));
  const first = source.next();
  source.next = () => {
    source.next = () => held;
    return first;
  };
  const sent = c.transport.sendSnapshot(1, source);
  await halfway;
  t.same(
    hosts.map((host) => connectionsTo(host.server.port)),
    [0, 1, 3],
    'the lower id dials, also for the snapshot that it pulls',
  );
  release();
  await sent;
  await onceTrue(() => connectionsTo(c.server.port) === 2);
});

t.test('a peer that restarts is met again under its new incarnation', async (t) => {
  const a = await startHost({ hostId: 1 });
  const b = await startHost({ hostId: 2, incarnation: 1 });
  t.teardown(() => a.stop());
  await join(a, b);
  await b.stop();
  await a.heard.until('peerDown');
  t.notOk(a.transport.sendMessage(2, 1, appendMessage(1)), 'nothing is taken for a host that is away');
  const again = await startHost({ hostId: 2, incarnation: 2, address: b.address });
  t.teardown(() => again.stop());
  await a.heard.until('peerUp', 2);
  t.same(
    a.heard.events.map((event) => (event.type === 'peerUp' ? event.incarnation : event.type)),
    [1, 'peerDown', 2],
  );
  t.ok(a.transport.sendMessage(2, 1, appendMessage(1)));
  a.transport.flush();
  await again.heard.until('message');
});

t.test('a host that restarts on the dialling side takes the place of its old self', async (t) => {
  const a = await startHost({ hostId: 1, incarnation: 1 });
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  await join(a, b);
  await a.stop();
  await b.heard.until('peerDown');
  const again = await startHost({ hostId: 1, incarnation: 2 });
  t.teardown(() => again.stop());
  again.transport.setPeer(2, b.address);
  await b.heard.until('peerUp', 2);
  t.match(b.heard.events.at(-1), { type: 'peerUp', hostId: 1, incarnation: 2 });
});

t.test('an older incarnation does not push out the one that is connected', async (t) => {
  const a = await startHost({ hostId: 1, incarnation: 5 });
  const b = await startHost({ hostId: 2 });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  await join(a, b);
  const old = RawStream.dial(b.address, 'exchange');
  old.write(envelope({ hello: hello({ incarnation: 4 }) }));
  t.match(await old.over, { kind: 'refused', reason: /incarnation 5, not 4/ });
  t.ok(b.transport.isConnected(1));
  t.equal(b.heard.count('peerDown'), 0);
});

t.test('a connection that goes silent is found and made anew', async (t) => {
  const a = await startHost({ hostId: 1 });
  const b = await startHost({ hostId: 2 });
  const proxy = await Proxy.start(b.address);
  t.teardown(async () => {
    await Promise.all([a.stop(), b.stop()]);
    await proxy.stop();
  });
  await join(a, { ...b, address: proxy.address });
  proxy.freeze();
  await a.heard.until('peerDown');
  await a.heard.until('peerUp', 2);
  t.equal(proxy.connections, 2);
  await b.heard.untilTrue(() => b.heard.count('peerUp') === 2);
  t.same(
    b.heard.events.map((event) => event.type),
    ['peerUp', 'peerDown', 'peerUp'],
    'the accepting side too hears of the end before the new beginning',
  );
});

t.test('a changed address drops the connection that was dialled to the old one', async (t) => {
  const a = await startHost({ hostId: 1 });
  const b = await startHost({ hostId: 2 });
  const proxy = await Proxy.start(b.address);
  t.teardown(async () => {
    await Promise.all([a.stop(), b.stop()]);
    await proxy.stop();
  });
  await join(a, b);
  a.transport.setPeer(2, b.address);
  t.ok(a.transport.isConnected(2), 'the same address changes nothing');
  a.transport.setPeer(2, proxy.address);
  t.equal(a.heard.count('peerDown'), 0, 'the handler is not called from within the call');
  await a.heard.until('peerUp', 2);
  t.equal(a.heard.count('peerDown'), 1);
  t.equal(proxy.open, 1);
  a.transport.removePeer(2);
  await a.heard.until('peerDown', 2);
  await b.heard.untilTrue(() => b.heard.events.at(-1)?.type === 'peerDown');
  t.notOk(a.transport.isConnected(2));
});

t.test('while the peer does not read, things gather within bounds, and leave in few frames when it does', async (t) => {
  const streams: RawStream[] = [];
  const server = await startRawServer({
    exchange: (stream) => {
      streams.push(stream);
      stream.once('data', () => {
        stream.socket.pause();
        stream.write(envelope({ hello: hello({ fromId: 2, toId: 1 }) }));
      });
    },
  });
  const a = await startHost({ hostId: 1 });
  t.teardown(async () => {
    await a.stop();
    server.stop();
  });
  a.transport.setPeer(2, server.address);
  await a.heard.until('peerUp');
  const large = appendMessage(1, Buffer.alloc(4 * 1024 * 1024));
  // What the kernel takes for a peer that does not read is its own affair; past that frames are held back.
  let sent = 0;
  for (let frames = -1; frames !== framesSent(a, 2); sent++) {
    frames = framesSent(a, 2);
    t.ok(a.transport.sendMessage(2, 1, large));
    a.transport.flush();
  }
  const blockedAt = framesSent(a, 2);
  for (let i = 1; i <= 50; i++) {
    t.ok(a.transport.sendMessage(2, 2, appendMessage(i)));
    a.transport.flush();
  }
  t.equal(framesSent(a, 2), blockedAt, 'nothing is written to a stream that pushes back');
  let taken = 0;
  while (a.transport.sendMessage(2, 3, large)) taken++;
  a.transport.flush();
  t.equal(1 + taken, 15, 'the outbox holds 64 MiB');
  t.equal(framesSent(a, 2), blockedAt);
  t.equal(a.transport.stats().peers[0]?.messagesDropped, 1);

  const [stream] = streams;
  if (stream === undefined) throw new Error('nobody called');
  const groups: number[][] = [];
  const all = new Promise<void>((resolve) => {
    stream.on('data', (payload: Buffer) => {
      groups.push(decodeEnvelope(payload).messages.map(({ groupId }) => groupId));
      if (groups.flat().length === sent + 50 + taken) resolve();
    });
  });
  stream.socket.resume();
  await all;
  t.same(groups[0], [1]);
  t.same(groups[sent - 1]?.slice(0, 51), [1, ...Array<number>(50).fill(2)], 'what gathered came together');
  t.ok(groups.length <= sent + 3, `in ${groups.length} frames`);
  t.equal(a.heard.count('peerDown'), 0);
});

t.test('a host that takes connections and never answers costs one socket at a time', async (t) => {
  const open = new Set<Socket>();
  let connections = 0;
  let mostOpen = 0;
  const progress = new EventEmitter();
  const silent = createServer((socket) => {
    open.add(socket);
    connections++;
    mostOpen = Math.max(mostOpen, open.size);
    progress.emit('connection');
    socket.resume();
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
  });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const real = nodeRuntime();
  const a = await startHost({ hostId: 1, runtime: { ...real, after: (ms, fn) => real.after(ms / 20, fn) } });
  t.teardown(async () => {
    await a.stop();
    silent.close();
  });
  a.transport.setPeer(2, `127.0.0.1:${(silent.address() as AddressInfo).port}`);
  while (connections < 6) await once(progress, 'connection');
  t.ok(mostOpen <= 2, `${mostOpen} sockets at a time, one of them just closed at most`);
});
