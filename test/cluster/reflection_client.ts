import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { credentials, loadPackageDefinition, type Client, type GrpcObject } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer, loadSync } from '@grpc/proto-loader';

/**
 * A gRPC client that knows nothing of Skerry but an address: it asks the server's reflection service for the
 * .proto files of a service and builds its calls from them, as grpcurl and similar tools do.
 */
export class ReflectionClient {
  private readonly client: Client;

  private constructor(client: Client) {
    this.client = client;
  }

  static async connect(address: string, serviceName: string): Promise<ReflectionClient> {
    const files = await describe(address, serviceName);
    const definition = loadFileDescriptorSetFromBuffer(descriptorSet(files), {
      longs: Number,
      enums: String,
      oneofs: true,
      defaults: true,
    });
    return new ReflectionClient(newClient(loadPackageDefinition(definition), serviceName, address));
  }

  /** One unary call. Rejects with grpc-js' ServiceError. */
  call(method: string, request: object): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      const deadline = new Date(Date.now() + 15_000);
      invoke(this.client, method, [
        request,
        { deadline },
        (error: Error | null, reply: Record<string, unknown>) => (error === null ? resolve(reply) : reject(error)),
      ]);
    });
  }

  close(): void {
    this.client.close();
  }
}

/** The serialized FileDescriptorProtos of the file that defines the service and of all that it imports. */
function describe(address: string, serviceName: string): Promise<Buffer[]> {
  const packageDirectory = dirname(createRequire(import.meta.url).resolve('@grpc/reflection/package.json'));
  const definition = loadSync('grpc/reflection/v1/reflection.proto', {
    includeDirs: [join(packageDirectory, 'build', 'proto')],
  });
  const client = newClient(loadPackageDefinition(definition), 'grpc.reflection.v1.ServerReflection', address);
  return new Promise<Buffer[]>((resolve, reject) => {
    const stream = invoke(client, 'ServerReflectionInfo', []) as NodeJS.ReadWriteStream;
    stream.on(
      'data',
      (reply: { fileDescriptorResponse?: { fileDescriptorProto: Buffer[] }; errorResponse?: unknown }) => {
        if (reply.fileDescriptorResponse) resolve(reply.fileDescriptorResponse.fileDescriptorProto);
        else reject(new Error(`reflection: ${JSON.stringify(reply.errorResponse)}`));
        stream.end();
      },
    );
    stream.on('error', reject);
    // A grpc-js stream takes messages, which the type of a Node stream does not say.
    (stream as unknown as { write(message: object): void }).write({ fileContainingSymbol: serviceName });
  }).finally(() => client.close());
}

/** A FileDescriptorSet: field 1, length-delimited, for each file. */
function descriptorSet(files: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  for (const file of files) {
    const head = [0x0a];
    for (let rest = file.length; ; rest = Math.floor(rest / 128)) {
      head.push(rest >= 128 ? (rest % 128) + 128 : rest);
      if (rest < 128) break;
    }
    parts.push(Buffer.from(head), file);
  }
  return Buffer.concat(parts);
}

function newClient(root: GrpcObject, serviceName: string, address: string): Client {
  let at: unknown = root;
  for (const part of serviceName.split('.')) at = (at as Record<string, unknown>)[part];
  const Constructor = at as new (address: string, c: ReturnType<typeof credentials.createInsecure>) => Client;
  return new Constructor(address, credentials.createInsecure());
}

function invoke(client: Client, method: string, args: unknown[]): unknown {
  const callable: unknown = Reflect.get(client, method);
  if (typeof callable !== 'function') throw new Error(`the server describes no method ${method}`);
  return Reflect.apply(callable, client, args);
}
