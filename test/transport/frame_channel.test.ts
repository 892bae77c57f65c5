import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import { frameBytesMax } from '../../src/base/limits.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import type { Runtime } from '../../src/base/runtime.js';
import type { RpcStream, StreamChannel } from '../../src/rpc/channel.js';
import { dialFrames } from '../../src/transport/frame_channel.js';
import { encodeFrameHead, encodePreamble, frameHeadBytes, preambleBytes } from '../../src/transport/frame_format.js';
import { clientAliveIntervalMs, storeSilentIntervalsMax, streamBytesInFlightMax } from '../../src/transport/limits.js';
import { startRawServer, type RawStream } from './raw.js';
import { startHost } from './support.js';

const waitMs = 10_000;
const method = { path: '/unused', requestSerialize: (b: Buffer) => b, responseDeserialize: (b: Buffer) => b };

interface Owner {
  teardown(fn: () => unknown): unknown;
}

/** A stream with what its handlers heard. */
class Heard {
  readonly frames: string[] = [];
  readonly reasons: string[] = [];
  drained = 0;
  readonly stream: RpcStream<Buffer>;
  private waiting: (() => void)[] = [];

  constructor(channel: StreamChannel) {
    const wake = (): void => {
      const { waiting } = this;
      this.waiting = [];
      for (const each of waiting) each();
    };
    this.stream = channel.duplex(method, {
      frame: (bytes) => {
        this.frames.push(bytes.toString());
        wake();
      },
      drained: () => {
        this.drained++;
        wake();
      },
      closed: (reason) => {
        this.reasons.push(reason);
        wake();
      },
    });
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}

function channelTo(t: Owner, address: string, runtime: Runtime = nodeRuntime()): StreamChannel {
  const channel = dialFrames(runtime)(address);
  t.teardown(() => channel.close());
  return channel;
}

/** A server that does with a connection what the test says. */
async function listening(t: Owner, accept: (socket: Socket) => void): Promise<string> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    accept(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

t.test('frames of all sizes go both ways, whole and in order', async (t) => {
  const got: number[] = [];
  const server = await startRawServer({
    client: (stream: RawStream) => {
      stream.on('data', (payload: Buffer) => {
        got.push(payload.length);
        stream.write(Buffer.from(`answer to ${payload.length}`));
      });
    },
  });
  t.teardown(() => server.stop());
  const channel = channelTo(t, server.address);
  t.equal(await channel.connected(waitMs), null);
  const heard = new Heard(channel);
  const sizes = [1, 300_000, 3 * 1024 * 1024];
  for (const size of sizes) heard.stream.write(Buffer.alloc(size));
  await heard.until(() => heard.frames.length === sizes.length);
  t.same(got, sizes);
  t.same(
    heard.frames,
    sizes.map((size) => `answer to ${size}`),
  );
});

t.test('a connection that cannot be made says why', async (t) => {
  const free = await listening(t, () => undefined);
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const nobody = `127.0.0.1:${(gone.address() as AddressInfo).port}`;
  gone.close();
  await once(gone, 'close');
  t.match(await channelTo(t, nobody).connected(waitMs), /no connection to .*ECONNREFUSED/);
  t.match(await channelTo(t, 'no address').connected(waitMs), /no address is not host:port/);
  t.match(await channelTo(t, free).connected(50), /no connection to .* within 50 ms/, 'accepted, and nothing said');
  const http = await listening(t, (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  t.match(await channelTo(t, http).connected(waitMs), /the other side is not of Skerry/);
  const host = await listening(t, (socket) => void socket.write(encodePreamble('exchange')));
  t.match(await channelTo(t, host).connected(waitMs), /a stream of kind exchange in the place of client/);
  const closed = channelTo(t, free);
  const waiting = closed.connected(waitMs);
  closed.close();
  t.match(await waiting, /the channel was closed/);
  t.match(await closed.connected(waitMs), /the channel was closed/);
});

t.test('a host that serves no clients refuses them with the reason', async (t) => {
  const host = await startHost({ hostId: 1 });
  t.teardown(() => host.stop());
  const channel = channelTo(t, host.address);
  t.equal(await channel.connected(waitMs), null);
  const heard = new Heard(channel);
  await heard.until(() => heard.reasons.length > 0);
  t.same(heard.reasons, ['operations of clients are not served here']);
});

t.test('an end of the stream is told once, with the reason; after cancel() nothing is', async (t) => {
  const sockets: Socket[] = [];
  const address = await listening(t, (socket) => {
    sockets.push(socket);
    socket.write(encodePreamble('client'));
    socket.resume();
  });
  const channel = channelTo(t, address);
  for (const [reason, end] of [
    [/the other side ended it/, (socket: Socket) => void socket.end()],
    [/ECONNRESET|closed/, (socket: Socket) => void socket.resetAndDestroy()],
    [/inside a frame/, (socket: Socket) => void socket.end(encodeFrameHead('data', 10))],
    [/passes the limit/, (socket: Socket) => void socket.write(encodeFrameHead('data', frameBytesMax + 1))],
    [/no frame of kind/, (socket: Socket) => void socket.write(Buffer.alloc(frameHeadBytes, 0xff))],
  ] as const) {
    t.equal(await channel.connected(waitMs), null, 'connected again');
    const heard = new Heard(channel);
    end(must(sockets.at(-1), 'a connection'));
    await heard.until(() => heard.reasons.length > 0);
    t.match(heard.reasons, [reason]);
    t.equal(heard.stream.write(Buffer.from('x')), true, 'goes nowhere');
    const socket = must(sockets.at(-1), 'a connection');
    if (!socket.closed) await once(socket, 'close');
    t.equal(heard.reasons.length, 1);
  }
  t.equal(await channel.connected(waitMs), null);
  const heard = new Heard(channel);
  heard.stream.cancel();
  heard.stream.cancel();
  await once(must(sockets.at(-1), 'a connection'), 'close');
  t.same(heard.reasons, []);
});

t.test('a connection that is lost before the stream is asked for closes the stream', async (t) => {
  let over: Promise<unknown> = Promise.resolve();
  const address = await listening(t, (socket) => {
    over = once(socket, 'close');
    socket.resume().end(encodePreamble('client'));
  });
  const channel = channelTo(t, address);
  t.equal(await channel.connected(waitMs), null);
  await over;
  const heard = new Heard(channel);
  t.same(heard.reasons, [], 'not from within the call');
  await heard.until(() => heard.reasons.length > 0);
  t.match(heard.reasons, [/the other side ended it/]);
});

t.test('a server that reads nothing pushes back, and is written to again once it has read', async (t) => {
  let server: Socket | null = null;
  const address = await listening(t, (socket) => {
    server = socket;
    socket.write(encodePreamble('client'));
    socket.pause();
  });
  const never: Runtime['every'] = () => ({ cancel: () => undefined });
  const channel = channelTo(t, address, { ...nodeRuntime(), every: never });
  t.equal(await channel.connected(waitMs), null);
  const heard = new Heard(channel);
  const chunk = Buffer.alloc(256 * 1024);
  let written = 0;
  while (heard.stream.write(chunk)) {
    written += chunk.length;
    if (written > 64 * streamBytesInFlightMax) throw new Error('it takes everything');
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(heard.drained, 0);
  (server as Socket | null)?.resume();
  await heard.until(() => heard.drained === 1);
  t.same(heard.reasons, []);
});

t.test('a store that says nothing any more is given up after the intervals that it has', async (t) => {
  const ticks: { periodMs: number; tick: () => void }[] = [];
  const every: Runtime['every'] = (periodMs, tick) => {
    ticks.push({ periodMs, tick });
    return { cancel: () => undefined };
  };
  let sentBytes = 0;
  let over: Promise<unknown> = Promise.resolve();
  const address = await listening(t, (socket) => {
    socket.write(encodePreamble('client'));
    socket.on('data', (chunk) => (sentBytes += chunk.length));
    over = once(socket, 'close');
  });
  const channel = channelTo(t, address, { ...nodeRuntime(), every });
  t.equal(await channel.connected(waitMs), null);
  const heard = new Heard(channel);
  t.same(
    ticks.map(({ periodMs }) => periodMs),
    [clientAliveIntervalMs],
  );
  // The first one had a preamble to hear.
  for (let i = 0; i < storeSilentIntervalsMax; i++) ticks[0]?.tick();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(heard.reasons, []);
  ticks[0]?.tick();
  await heard.until(() => heard.reasons.length > 0);
  t.match(heard.reasons, [/nothing came for 1500 ms/]);
  await over;
  t.ok(sentBytes > preambleBytes, 'it said that it lives, meanwhile');
});
