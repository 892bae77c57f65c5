import { Client, credentials } from '@grpc/grpc-js';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import t from 'tap';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import { encodePreamble, preambleBytes } from '../../src/transport/frame_format.js';
import { startGrpcServer, type GrpcServer, type GrpcService } from '../../src/transport/grpc_server.js';
import { unknownConnectionsMax } from '../../src/transport/limits.js';
import { PortListener } from '../../src/transport/port_listener.js';
import { dialRaw } from './raw.js';
import { VirtualRuntime } from './virtual_runtime.js';

const asIs = (bytes: Buffer): Buffer => bytes;
const echoPath = '/skerry.test.Echo/Echo';
const echo: GrpcService = {
  definition: {
    echo: {
      path: echoPath,
      requestStream: false,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
  },
  implementation: {
    echo: (call: { request: Buffer }, callback: (error: null, value: Buffer) => void) => callback(null, call.request),
  },
};

async function start(acceptFrames: (socket: Socket, preamble: Buffer) => void): Promise<GrpcServer> {
  return startGrpcServer({
    address: '127.0.0.1:0',
    services: [echo],
    serviceNames: [],
    acceptFrames,
    closeGraceMs: 50,
  });
}

function call(client: Client, request: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(echoPath, asIs, asIs, request, (error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });
}

/** Writes and waits until the kernel has it, then lets the other end read it before the next byte comes. */
async function writeSlowly(socket: Socket, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
  }
}

t.test('one port serves hosts and clients, and each gets every byte from the first on', async (t) => {
  const heard: Buffer[] = [];
  const server = await start((socket, preamble) => {
    t.same(preamble, encodePreamble('exchange'));
    socket.on('data', (chunk) => heard.push(chunk));
    socket.on('end', () => socket.end('bye'));
    socket.resume();
  });
  t.teardown(() => server.close());
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const large = Buffer.alloc(3 * 1024 * 1024, 7);
  t.same(await Promise.all([call(client, large), call(client, Buffer.from('small'))]), [large, Buffer.from('small')]);
  const socket = dialRaw(`127.0.0.1:${server.port}`);
  const all = Buffer.concat([encodePreamble('exchange'), Buffer.from('and what follows')]);
  await writeSlowly(socket, all);
  socket.end();
  const [answer] = (await once(socket, 'data')) as [Buffer];
  t.equal(answer.toString(), 'bye');
  t.same(Buffer.concat(heard), all);
});

t.test('a client whose first bytes come one by one is served', async (t) => {
  const server = await start(() => t.fail('not a host'));
  t.teardown(() => server.close());
  const socket = dialRaw(`127.0.0.1:${server.port}`);
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  await writeSlowly(socket, Buffer.from(`${preface}\0\0\0\x04\0\0\0\0\0`, 'latin1'));
  const [settings] = (await once(socket, 'data')) as [Buffer];
  t.equal(settings[3], 4, 'the server answers with its settings');
  socket.destroy();
  const session = connectHttp2(`http://127.0.0.1:${server.port}`);
  const stream = session.request({ ':path': '/nothing', ':method': 'POST' });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  t.ok(Number(headers[':status']) >= 200, 'what is no gRPC is told so');
  stream.resume();
  session.destroy();
});

t.test('connections that say too little are closed: at their end, in time, and when they are too many', async (t) => {
  const runtime = new VirtualRuntime(1);
  let accepted = 0;
  const nobody = (): void => {
    accepted++;
  };
  const listener = new PortListener({ runtime, acceptFrames: nobody, acceptOther: nobody });
  const port = await listener.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => listener.close());
  const dial = async (bytes: Buffer): Promise<{ socket: Socket; closed: Promise<unknown> }> => {
    const socket = dialRaw(`127.0.0.1:${port}`);
    socket.on('error', () => undefined);
    socket.resume();
    const closed = once(socket, 'close');
    await once(socket, 'connect');
    if (bytes.length > 0) await new Promise((resolve) => socket.write(bytes, resolve));
    return { socket, closed };
  };
  const half = encodePreamble('exchange').subarray(0, preambleBytes - 1);
  const halfOpen = await dial(half);
  halfOpen.socket.end();
  await halfOpen.closed;
  const [silent, slow] = await Promise.all([dial(Buffer.alloc(0)), dial(half)]);
  // All are accepted in order: once a later one is closed by its end, the earlier ones are known.
  const last = await dial(Buffer.alloc(0));
  last.socket.end();
  await last.closed;
  await runtime.run(10_000);
  await Promise.all([silent.closed, slow.closed]);
  const oldest = await dial(Buffer.alloc(0));
  const others = [];
  for (let i = 0; i < unknownConnectionsMax; i++) others.push(await dial(Buffer.alloc(0)));
  await oldest.closed;
  t.equal(others.filter(({ socket }) => socket.closed).length, 0, 'the others stay');
  t.equal(accepted, 0);
  for (const { socket } of others) socket.destroy();
});

t.test('closing ends connections of hosts when the grace is over', async (t) => {
  const accepted: Socket[] = [];
  const server = await start((socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
    socket.resume();
  });
  const socket = dialRaw(`127.0.0.1:${server.port}`);
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(encodePreamble('exchange'));
  const silent = dialRaw(`127.0.0.1:${server.port}`);
  silent.on('error', () => undefined);
  silent.resume();
  while (accepted.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const closed = Promise.all([once(socket, 'close'), once(silent, 'close')]);
  await server.close();
  await closed;
  t.ok(accepted[0]?.destroyed);
});

t.test('the listener of a server without hosts closes their connections', async (t) => {
  const server = await startGrpcServer({
    address: '127.0.0.1:0',
    services: [],
    serviceNames: [],
    runtime: nodeRuntime(),
  });
  t.teardown(() => server.close());
  const socket = dialRaw(`127.0.0.1:${server.port}`);
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(encodePreamble('exchange'));
  await once(socket, 'close');
  t.pass('closed');
});
