import { once } from 'node:events';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import { silentLogger } from '../../src/base/logger.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import type { Runtime } from '../../src/base/runtime.js';
import { encodePreamble } from '../../src/transport/frame_format.js';
import { startGrpcServer } from '../../src/transport/grpc_server.js';
import { clientAliveIntervalMs, clientSilentIntervalsMax, firstFrameBytesMax } from '../../src/transport/limits.js';
import { TcpTransport } from '../../src/transport/tcp_transport.js';
import type { WireOp } from '../../src/wire/kv_codec.js';
import {
  decodeBatchResponse,
  encodeBatchRequest,
  encodeValueResult,
  OpKind,
  ResultKind,
} from '../../src/wire/kv_codec.js';
import type { BatchTarget } from '../../store/batch_stream.js';
import { ClientStreams } from '../../store/client_streams.js';
import { streamReplyBytesMax } from '../../store/limits.js';
import { dialRaw, frame, RawStream } from '../transport/raw.js';

interface Owner {
  teardown(fn: () => unknown): unknown;
}

/** A port with client streams of a service that answers each operation with as many bytes as it is told. */
class Port {
  readonly address: string;
  readonly clients: ClientStreams;
  answerBytes = 1;
  executed = 0;

  private constructor(address: string, clients: ClientStreams) {
    this.address = address;
    this.clients = clients;
  }

  static async open(t: Owner, runtime: Runtime = nodeRuntime(), max?: number): Promise<Port> {
    const answering: { port: Port | null } = { port: null };
    const service: BatchTarget = {
      checkTarget: () => null,
      execute: (_op, _load, reply) => {
        const port = must(answering.port, 'the port is open');
        port.executed++;
        runtime.nextTurn(() => reply(ResultKind.get, encodeValueResult(Buffer.alloc(port.answerBytes))));
      },
      flush: () => undefined,
    };
    const clients = new ClientStreams(service, runtime, max);
    const transport = new TcpTransport({ hostId: 1, clusterId: 7, incarnation: 1, runtime, logger: silentLogger });
    const acceptFrames = transport.acceptor((stream) => clients.accept(stream));
    const settings = { address: '127.0.0.1:0', services: [], serviceNames: [], closeGraceMs: 50 };
    const server = await startGrpcServer({ ...settings, acceptFrames });
    t.teardown(async () => {
      await transport.close();
      await server.close();
    });
    return (answering.port = new Port(`127.0.0.1:${server.port}`, clients));
  }

  dial(t: Owner): RawStream {
    const stream = RawStream.dial(this.address, 'client');
    t.teardown(() => stream.close());
    return stream;
  }
}

/** Timers of connections of clients, that a test lets pass. */
function tickedBy(ticks: (() => void)[]): Runtime['every'] {
  return (periodMs, tick) => {
    if (periodMs === clientAliveIntervalMs) ticks.push(tick);
    return { cancel: () => undefined };
  };
}

function request(id: number, bodyBytes = 1): Buffer {
  const op: WireOp = {
    id,
    shardId: 1,
    confVer: 0,
    version: 0,
    timeoutMs: 0,
    consistency: 0,
    allowForward: false,
    kind: OpKind.get,
    body: Buffer.alloc(bodyBytes, 'k'),
  };
  return encodeBatchRequest(7, 1, [op]);
}

async function nextIds(stream: RawStream): Promise<number[]> {
  return decodeBatchResponse(await stream.next()).map(({ id }) => id);
}

t.test('operations are answered, also in a first frame that is larger than a host’s may be', async (t) => {
  const port = await Port.open(t);
  const stream = port.dial(t);
  stream.write(request(1, firstFrameBytesMax + 1));
  t.same(await nextIds(stream), [1]);
  stream.write(request(2));
  t.same(await nextIds(stream), [2]);
});

t.test('a malformed frame ends its connection with the reason, and no other', async (t) => {
  const port = await Port.open(t);
  const [good, bad] = [port.dial(t), port.dial(t)];
  good.write(request(1));
  t.same(await nextIds(good), [1]);
  bad.write(Buffer.from([0xff, 0xff, 0xff]));
  t.match(await bad.over, { kind: 'refused', reason: /^malformed frame: / });
  good.write(request(2));
  t.same(await nextIds(good), [2]);
});

t.test('from a client that does not read its answers nothing more is read, until it does', async (t) => {
  const port = await Port.open(t, { ...nodeRuntime(), every: tickedBy([]) });
  port.answerBytes = 1024 * 1024;
  const stream = port.dial(t);
  stream.socket.pause();
  // Each request is more than one read, so that reading can stop between any two.
  const requestBytes = 256 * 1024;
  const count = 256;
  for (let id = 1; id <= count; id++) stream.write(request(id, requestBytes));
  let [seen, still] = [-1, 0];
  while (still < 20) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    still = port.executed === seen && seen * port.answerBytes >= streamReplyBytesMax ? still + 1 : 0;
    seen = port.executed;
  }
  t.ok(seen < count, `${seen} were taken`);
  stream.socket.resume();
  const ids: number[] = [];
  while (ids.length < count) ids.push(...(await nextIds(stream)));
  t.equal(new Set(ids).size, count, 'all are answered in the end');
});

t.test('a client that reads nothing is given up, although nothing is read from it either', async (t) => {
  const ticks: (() => void)[] = [];
  const port = await Port.open(t, { ...nodeRuntime(), every: tickedBy(ticks) });
  port.answerBytes = streamReplyBytesMax;
  const stream = port.dial(t);
  stream.socket.pause();
  const count = 64;
  for (let id = 1; id <= count; id++) stream.write(request(id, 256 * 1024));
  // It hears that it was cut when it writes: what RawStream says of its life is not answered.
  let isCut = false;
  stream.socket.once('close', () => (isCut = true));
  while (!isCut) {
    ticks[0]?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.ok(port.executed < count, `${port.executed} were taken`);
});

t.test('a client that says nothing any more is given up after its intervals', async (t) => {
  const ticks: (() => void)[] = [];
  const port = await Port.open(t, { ...nodeRuntime(), every: tickedBy(ticks) });
  const socket = dialRaw(port.address);
  t.teardown(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.write(Buffer.concat([encodePreamble('client'), frame(request(1))]));
  await once(socket, 'data');
  const closed = once(socket, 'close');
  const tick = must(ticks[0], 'the connection ticks');
  // The first one had bytes to hear.
  for (let i = 0; i < clientSilentIntervalsMax; i++) tick();
  socket.write(frame(request(2)));
  let heard = 0;
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.length;
      if (port.executed === 2) resolve();
    });
  });
  t.ok(heard > 0, 'it is not given up one interval before');
  for (let i = 0; i <= clientSilentIntervalsMax; i++) tick();
  await closed;
});

t.test('past the limit on connections a client is refused, until one has gone', async (t) => {
  const port = await Port.open(t, nodeRuntime(), 2);
  const [first, second] = [port.dial(t), port.dial(t)];
  for (const stream of [first, second]) {
    stream.write(request(1));
    t.same(await nextIds(stream), [1]);
  }
  t.match(await port.dial(t).over, { kind: 'refused', reason: /no more than 2 clients/ });
  first.close();
  // The store hears of it in its own time.
  for (let answered = false; !answered;) {
    const stream = port.dial(t);
    stream.write(request(2));
    answered = await Promise.race([stream.over.then(() => false), nextIds(stream).then(() => true)]);
  }
  second.write(request(3));
  t.same(await nextIds(second), [3]);
});

t.test('a store that stops ends the connections of its clients', async (t) => {
  const port = await Port.open(t);
  const stream = port.dial(t);
  stream.write(request(1));
  t.same(await nextIds(stream), [1]);
  port.clients.close();
  t.match(await stream.over, { kind: 'closed' });
});
