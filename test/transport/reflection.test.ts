import { Client, credentials } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer, loadSync } from '@grpc/proto-loader';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { startGrpcServer } from '../../src/transport/grpc_server.js';

/** The reflection service as any outsider knows it. */
const reflectionProto = join(
  dirname(fileURLToPath(import.meta.resolve('@grpc/reflection'))),
  '../proto/grpc/reflection/v1/reflection.proto',
);

interface Reply {
  readonly list_services_response?: { readonly service: readonly { readonly name: string }[] };
  readonly file_descriptor_response?: { readonly file_descriptor_proto: readonly Buffer[] };
}

/** One request and its reply. */
async function ask(client: Client, request: object): Promise<Reply> {
  const definition = loadSync(reflectionProto, { keepCase: true });
  const service = definition['grpc.reflection.v1.ServerReflection'];
  if (service === undefined || 'format' in service) throw new Error('no reflection service');
  const method = service['ServerReflectionInfo'];
  if (method === undefined) throw new Error('no reflection method');
  const call = client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize);
  call.write(request);
  const reply = await new Promise<Reply>((resolve, reject) => {
    call.on('data', resolve);
    call.on('error', reject);
  });
  call.end();
  return reply;
}

t.test('an outsider lists the services and builds a client from what reflection says', async (t) => {
  const server = await startGrpcServer({
    address: '127.0.0.1:0',
    services: [],
    serviceNames: ['skerry.v1.Kv', 'skerry.v1.Admin'],
  });
  const address = `127.0.0.1:${server.port}`;
  const client = new Client(address, credentials.createInsecure());
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  const { list_services_response: list } = await ask(client, { list_services: '' });
  const names = list?.service.map(({ name }) => name) ?? [];
  for (const name of ['skerry.v1.Kv', 'skerry.v1.Admin', 'grpc.health.v1.Health']) {
    t.ok(names.includes(name), `${name} is listed`);
  }
  t.notOk(names.includes('skerry.v1.Placement'), 'a service that is not served is not listed');

  const { file_descriptor_response: files } = await ask(client, { file_containing_symbol: 'skerry.v1.Kv' });
  const set = descriptorSet(files?.file_descriptor_proto ?? []);
  t.match(loadFileDescriptorSetFromBuffer(set)['skerry.v1.Kv'], {
    Set: { path: '/skerry.v1.Kv/Set' },
    Batch: { path: '/skerry.v1.Kv/Batch', requestStream: true, responseStream: true },
  });
});

/** A FileDescriptorSet: field 1 is the repeated file. */
function descriptorSet(files: readonly Buffer[]): Buffer {
  return Buffer.concat(files.flatMap((file) => [Buffer.from([(1 << 3) | 2]), varint(file.length), file]));
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
