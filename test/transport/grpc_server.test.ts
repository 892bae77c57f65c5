import { connect } from 'node:http2';
import {
  credentials,
  Client,
  makeClientConstructor,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { once } from 'node:events';
import t from 'tap';
import { AddressInUseError, BindError, startGrpcServer, type GrpcService } from '../../src/transport/grpc_server.js';
import { flowControlWindowBytes } from '../../src/transport/limits.js';

/** Something that happens once, to wait for. */
class Latch<T> {
  readonly opened: Promise<T>;
  private resolve: ((value: T) => void) | null = null;

  constructor() {
    this.opened = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  open(value: T): void {
    this.resolve?.(value);
  }
}

/** Answers every call of one method, for as long as the test lets it. */
function echoService(onCall: (finish: () => void) => void): GrpcService {
  const definition: ServiceDefinition = {
    echo: {
      path: '/skerry.v1.Kv/Echo',
      requestStream: false,
      responseStream: false,
      requestSerialize: (value: Buffer) => value,
      requestDeserialize: (value: Buffer) => value,
      responseSerialize: (value: Buffer) => value,
      responseDeserialize: (value: Buffer) => value,
    },
  };
  const implementation: UntypedServiceImplementation = {
    echo: (call: { request: Buffer }, callback: (error: null, value: Buffer) => void) => {
      onCall(() => callback(null, call.request));
    },
  };
  return { definition, implementation };
}

function echo(client: Client, request: Buffer): Promise<Buffer> {
  const same = (value: Buffer): Buffer => value;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest('/skerry.v1.Kv/Echo', same, same, request, (error, value) => {
      if (error === null && value !== undefined) resolve(value);
      else reject(error ?? new Error('no value'));
    });
  });
}

t.test('an address in use is named together with the cure', async (t) => {
  const first = await startGrpcServer({ address: '127.0.0.1:0', services: [], serviceNames: [] });
  t.teardown(() => first.close());
  const address = `127.0.0.1:${first.port}`;
  const error = await startGrpcServer({ address, services: [], serviceNames: [] }).then(
    () => null,
    (e: unknown) => e,
  );
  t.ok(error instanceof AddressInUseError);
  t.match(error, { address, message: new RegExp(`${address} is in use.*configure another address`) });
});

t.test('an address that cannot be bound is named', async (t) => {
  const error = await startGrpcServer({ address: '192.0.2.1:0', services: [], serviceNames: [] }).then(
    () => null,
    (e: unknown) => e,
  );
  t.ok(error instanceof BindError && !(error instanceof AddressInUseError));
  t.match(error, { message: /cannot listen at 192\.0\.2\.1:0/ });
});

t.test('the official health service follows setServing for the server and each service', async (t) => {
  const server = await startGrpcServer({ address: '127.0.0.1:0', services: [], serviceNames: ['skerry.v1.Kv'] });
  t.teardown(() => server.close());
  const { service } = await import('grpc-health-check');
  const HealthClient = makeClientConstructor(service, 'Health');
  const client = new HealthClient(`127.0.0.1:${server.port}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const check = (name: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const call: unknown = client['check'];
      if (typeof call !== 'function') throw new Error('the health client has no check');
      Reflect.apply(call, client, [
        { service: name },
        (error: Error | null, reply: unknown) => (error === null ? resolve(reply) : reject(error)),
      ]);
    });
  t.match(await check(''), { status: 'SERVING' });
  t.match(await check('skerry.v1.Kv'), { status: 'SERVING' });
  server.setServing(false);
  t.match(await check(''), { status: 'NOT_SERVING' });
  t.match(await check('skerry.v1.Kv'), { status: 'NOT_SERVING' });
  await t.rejects(check('skerry.v1.Nothing'), { code: 5 });
});

t.test('the accepting side grants the wide flow control window', async (t) => {
  const server = await startGrpcServer({ address: '127.0.0.1:0', services: [], serviceNames: [] });
  t.teardown(() => server.close());
  const session = connect(`http://127.0.0.1:${server.port}`);
  t.teardown(() => session.destroy());
  while (session.remoteSettings.initialWindowSize !== flowControlWindowBytes) await once(session, 'remoteSettings');
  t.equal(session.remoteSettings.initialWindowSize, flowControlWindowBytes, 'per stream');
  // A ping's answer comes after the window update that was sent before it.
  await new Promise((resolve) => session.ping(resolve));
  t.equal(session.state.remoteWindowSize, flowControlWindowBytes, 'per connection');
});

t.test('close lets a call in progress finish and refuses new ones', async (t) => {
  const inProgress = new Latch<() => void>();
  const server = await startGrpcServer({
    address: '127.0.0.1:0',
    services: [echoService((finish) => inProgress.open(finish))],
    serviceNames: ['skerry.v1.Kv'],
    closeGraceMs: 60_000,
  });
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const reply = echo(client, Buffer.from('hello'));
  const finish = await inProgress.opened;
  const closed = server.close();
  t.equal(server.close(), closed, 'closing twice is closing once');
  finish();
  t.same(await reply, Buffer.from('hello'));
  await closed;
  await t.rejects(echo(client, Buffer.from('again')), { code: 14 });
});

t.test('close cuts calls that outlast the grace', async (t) => {
  const inProgress = new Latch<() => void>();
  const server = await startGrpcServer({
    address: '127.0.0.1:0',
    services: [echoService((finish) => inProgress.open(finish))],
    serviceNames: ['skerry.v1.Kv'],
    closeGraceMs: 20,
  });
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const outcome = echo(client, Buffer.from('hello')).then(
    () => 'answered',
    () => 'cut',
  );
  await inProgress.opened;
  await server.close();
  t.equal(await outcome, 'cut');
});
