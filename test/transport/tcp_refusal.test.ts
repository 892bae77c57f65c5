import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import t from 'tap';
import { frameBytesMax } from '../../src/base/limits.js';
import type { Logger } from '../../src/base/logger.js';
import { encodeFrameHead, encodePreamble, framingVersion } from '../../src/transport/frame_format.js';
import { firstFrameBytesMax } from '../../src/transport/limits.js';
import { dialRaw, envelope, frame, hello, nextEnvelope, RawStream, startRawServer } from './raw.js';
import { appendMessage, join, startHost } from './support.js';

/** Collects what is logged at warn and error. */
function loggerInto(lines: object[]): Logger {
  const keep = (fields: object, message: string): void => void lines.push({ ...fields, message });
  const nothing = (): void => undefined;
  const logger: Logger = {
    debug: nothing,
    info: nothing,
    warn: keep,
    error: keep,
    fatal: keep,
    child: () => logger,
  };
  return logger;
}

t.test('a host of another cluster is refused with the reason on both sides, and not asked again at once', async (t) => {
  const logged: object[] = [];
  const a = await startHost({ hostId: 1, clusterId: 7, logger: loggerInto(logged) });
  const b = await startHost({ hostId: 2, clusterId: 8, logger: loggerInto(logged) });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  const refused = new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      if (a.transport.stats().peers[0]?.refusal === null) return;
      clearInterval(timer);
      resolve();
    }, 5);
  });
  a.transport.setPeer(2, b.address);
  await refused;
  t.match(a.transport.stats().peers, [{ connected: false, refusal: 'refusedByPeer', framesSent: 1 }]);
  t.match(logged, [
    { reason: 'clusterMismatch', detail: 'host 1 belongs to cluster 7, host 2 to cluster 8' },
    { reason: 'refusedByPeer', detail: 'host 1 belongs to cluster 7, host 2 to cluster 8' },
  ]);
  t.same([...a.heard.events, ...b.heard.events], []);
});

t.test('the dialling side checks the answer it gets', async (t) => {
  const answers = [
    hello({ clusterId: 9, fromId: 2, toId: 1 }),
    hello({ fromId: 3, toId: 1 }),
    hello({ fromId: 2, toId: 4 }),
    hello({ fromId: 2, toId: 1, protocolVersion: 2 }),
    null,
  ];
  const reasons: unknown[] = [];
  for (const answer of answers) {
    const server = await startRawServer({ exchange: (stream) => stream.write(envelope({ hello: answer })) });
    const logged: object[] = [];
    const logger = loggerInto(logged);
    const done = new Promise<void>((resolve) => {
      logger.error = (fields) => {
        reasons.push('reason' in fields ? fields.reason : null);
        resolve();
      };
    });
    const a = await startHost({ hostId: 1, logger });
    a.transport.setPeer(2, server.address);
    await done;
    t.same(a.heard.events, []);
    await a.stop();
    server.stop();
  }
  t.same(reasons, ['clusterMismatch', 'hostMismatch', 'hostMismatch', 'protocolMismatch', 'helloMissing']);
});

const preamble = encodePreamble('exchange');
const garbageConnections = [
  Buffer.alloc(10_000, 0x42),
  Buffer.concat([preamble, Buffer.of(9, 0, 0, 0, 1)]),
  Buffer.concat([preamble, encodeFrameHead('data', firstFrameBytesMax + 1)]),
  Buffer.concat([preamble, frame(envelope({ hello: hello() }), 'refusal')]),
  Buffer.concat([preamble.subarray(0, -1), Buffer.of(7)]),
  Buffer.concat([encodePreamble('snapshot'), Buffer.alloc(10_000, 0xff)]),
];

t.test('the accepting side refuses hellos that do not fit, and garbage, and goes on serving', async (t) => {
  const a = await startHost({ hostId: 1 });
  const b = await startHost({ hostId: 2 });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  await join(a, b);
  const firstFrames: [Buffer, RegExp][] = [
    [envelope({ hello: hello({ clusterId: 99 }) }), /cluster 99/],
    [envelope({ hello: hello({ clusterId: 0 }) }), /cluster 0/],
    [envelope({ hello: hello({ toId: 5 }) }), /asked for host 5/],
    [envelope({ hello: hello({ fromId: 3 }) }), /the lower id dials/],
    [envelope({ hello: hello({ fromId: 2 }) }), /cannot be a peer/],
    [envelope({ hello: hello({ fromId: 0 }) }), /cannot be a peer/],
    [envelope({ hello: hello({ protocolVersion: 0 }) }), /protocol version 0/],
    [envelope({}), /no hello/],
    [Buffer.from('garbage that is no protobuf at all'), /malformed/],
    [Buffer.alloc(100_000, 0xff), /malformed/],
  ];
  for (const [first, reason] of firstFrames) {
    const stream = RawStream.dial(b.address, 'exchange');
    stream.write(first);
    t.match(await stream.over, { kind: 'refused', reason });
  }
  const snapshot = RawStream.dial(b.address, 'snapshot');
  snapshot.write(Buffer.alloc(1_000, 0xff));
  t.match(await snapshot.over, { kind: 'closed' });
  for (const bytes of garbageConnections) {
    const socket = dialRaw(b.address);
    socket.write(bytes);
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'close');
  }
  t.ok(a.transport.sendMessage(2, 1, appendMessage(1)));
  a.transport.flush();
  await b.heard.until('message');
  t.equal(b.heard.count('peerDown'), 0);
});

t.test('garbage after the hello ends that stream only', async (t) => {
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  const garbage = [frame(Buffer.alloc(50, 0xff)), Buffer.alloc(50, 0xff), encodeFrameHead('data', frameBytesMax + 1)];
  for (const [round, bytes] of garbage.entries()) {
    const stream = RawStream.dial(b.address, 'exchange');
    stream.write(envelope({ hello: hello() }));
    t.match((await nextEnvelope(stream)).hello, { fromId: 2, toId: 1, clusterId: 7 });
    stream.socket.write(bytes);
    t.match(await stream.over, { kind: 'closed' });
    await b.heard.until('peerDown', round + 1);
  }
});

t.test('a host that frames as of another version is told which one is understood here, and refused', async (t) => {
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  const newer = Buffer.from(preamble);
  newer[newer.length - 2] = framingVersion + 1;
  const socket = dialRaw(b.address);
  const answer: Buffer[] = [];
  socket.on('data', (chunk) => answer.push(chunk));
  socket.write(newer);
  await once(socket, 'close');
  t.same(Buffer.concat(answer), preamble);
  const server = createServer((incoming) => {
    incoming.on('error', () => undefined);
    incoming.end(newer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const logger = loggerInto([]);
  const refusal = new Promise<object>((resolve) => (logger.error = resolve));
  const a = await startHost({ hostId: 1, logger });
  t.teardown(() => a.stop());
  a.transport.setPeer(3, `127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.match(await refusal, { reason: 'refusedByPeer', detail: /as of version 2, this host as of 1/ });
});
