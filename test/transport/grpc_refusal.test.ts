import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import type { Logger } from '../../src/base/logger.js';
import { envelope, hello, nextEnvelope, RawClient, startRawServer, statusOf } from './raw.js';
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
    const server = await startRawServer({ exchange: (call) => void call.write(envelope({ hello: answer })) });
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

t.test('the accepting side refuses hellos that do not fit, and garbage, and goes on serving', async (t) => {
  const a = await startHost({ hostId: 1 });
  const b = await startHost({ hostId: 2 });
  t.teardown(() => Promise.all([a.stop(), b.stop()]));
  await join(a, b);
  const raw = new RawClient(b.address);
  t.teardown(() => raw.close());
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
  for (const [frame, details] of firstFrames) {
    const call = raw.exchange();
    call.write(frame);
    t.match(await statusOf(call), { code: 9, details });
  }
  const snapshot = raw.snapshot();
  snapshot.write(Buffer.alloc(1_000, 0xff));
  t.not((await statusOf(snapshot)).code, 0);
  const socket = connect(b.server.port, '127.0.0.1');
  socket.write(Buffer.alloc(10_000, 0x42));
  socket.on('error', () => undefined);
  socket.resume();
  await once(socket, 'close');
  t.ok(a.transport.sendMessage(2, 1, appendMessage(1)));
  a.transport.flush();
  await b.heard.until('message');
  t.equal(b.heard.count('peerDown'), 0);
});

t.test('garbage after the hello ends that stream only', async (t) => {
  const b = await startHost({ hostId: 2 });
  t.teardown(() => b.stop());
  const raw = new RawClient(b.address);
  t.teardown(() => raw.close());
  const call = raw.exchange();
  call.write(envelope({ hello: hello() }));
  t.match((await nextEnvelope(call)).hello, { fromId: 2, toId: 1, clusterId: 7 });
  call.write(Buffer.alloc(50, 0xff));
  t.not((await statusOf(call)).code, 0);
  await b.heard.until('peerDown');
  const again = raw.exchange();
  again.write(envelope({ hello: hello() }));
  t.match((await nextEnvelope(again)).hello, { fromId: 2 });
  again.on('error', () => undefined);
  again.cancel();
});
