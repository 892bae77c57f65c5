import type {
  handleUnaryCall,
  ServerDuplexStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import type { Runtime } from '../src/base/runtime.js';
import { KvService as KvServiceDefinition } from '../src/gen/skerry/v1/kv.js';
import type {
  BatchGetRequest,
  BatchWriteRequest,
  CompareAndSwapRequest,
  DeleteRequest,
  ExistsRequest,
  GetRequest,
  KeyValue,
  KvServer,
  ScanRequest,
  SetRequest,
} from '../src/gen/skerry/v1/kv.js';
import type { RowsResult } from '../src/wire/kv_codec.js';
import { BatchStream } from './batch_stream.js';
import type { KvService } from './kv_service.js';
import { asBuffer, KvUnary } from './kv_unary.js';

/** gRPC's side of the Kv service. Frames of the batch stream pass as raw bytes; the logic is in kv_service.ts. */
export function kvGrpcService(
  service: KvService,
  runtime: Runtime,
): { definition: ServiceDefinition; implementation: UntypedServiceImplementation } {
  const raw = (bytes: Buffer): Buffer => bytes;
  const definition = {
    ...KvServiceDefinition,
    batch: { ...KvServiceDefinition.batch, requestDeserialize: raw, responseSerialize: raw },
  };
  return {
    definition,
    implementation: { ...unaryHandlers(new KvUnary(service)), batch: batchHandler(service, runtime) },
  };
}

/** A unary handler from a promise. A rejection is a fault of ours: INTERNAL, never a typed error. */
function unary<Request, Response>(handle: (request: Request) => Promise<Response>): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    handle(call.request).then(
      (response) => callback(null, response),
      (error: unknown) =>
        callback({ code: status.INTERNAL, details: error instanceof Error ? error.message : String(error) }),
    );
  };
}

/** KvServer is open to calls of any name; these are the ones that it has. */
type UnaryHandlers = Pick<
  KvServer,
  'set' | 'delete' | 'get' | 'exists' | 'scan' | 'batchGet' | 'batchWrite' | 'compareAndSwap'
>;

function unaryHandlers(kv: KvUnary): UnaryHandlers {
  return {
    set: unary(async ({ header, key, value }: SetRequest) => {
      const set = { kind: 'set', key: asBuffer(key), value: asBuffer(value) } as const;
      return { error: (await kv.write(header, [set])).error };
    }),
    delete: unary(async ({ header, key }: DeleteRequest) => {
      return { error: (await kv.write(header, [{ kind: 'delete', key: asBuffer(key) }])).error };
    }),
    get: unary(async ({ header, key }: GetRequest) => {
      const { error, value } = await kv.get(header, key);
      return { error, value: value ?? undefined };
    }),
    exists: unary(async ({ header, key }: ExistsRequest) => {
      const { error, value } = await kv.exists(header, key);
      return { error, exists: value ?? false };
    }),
    scan: unary(async (request: ScanRequest) => {
      const { error, value } = await kv.scan(request);
      return { error, rows: rowsOf(value), more: value?.more ?? false, nextKey: value?.nextKey ?? Buffer.alloc(0) };
    }),
    batchGet: unary(async (request: BatchGetRequest) => {
      const { error, value } = await kv.batchGet(request);
      return { error, rows: rowsOf(value) };
    }),
    batchWrite: unary(async (request: BatchWriteRequest) => {
      const { error, value } = await kv.batchWrite(request);
      return { error, swapped: value?.applied ?? false };
    }),
    compareAndSwap: unary(async (request: CompareAndSwapRequest) => {
      const { error, value } = await kv.compareAndSwap(request);
      return { error, swapped: value?.applied ?? false, current: value?.current ?? undefined };
    }),
  };
}

function rowsOf(result: RowsResult | undefined): KeyValue[] {
  return [...(result?.rows ?? [])];
}

function batchHandler(service: KvService, runtime: Runtime): (call: ServerDuplexStream<Buffer, Buffer>) => void {
  return (call) => {
    const stream = new BatchStream(service, runtime, {
      write: (frame) => call.write(frame),
      pause: () => void call.pause(),
      resume: () => void call.resume(),
      end: (problem) => {
        if (problem === null) call.end();
        else call.emit('error', { code: status.INVALID_ARGUMENT, details: problem });
      },
    });
    call.on('data', (frame: Buffer) => stream.frame(frame));
    call.on('drain', () => stream.drained());
    call.on('end', () => stream.clientEnded());
    call.on('cancelled', () => stream.close());
    call.on('error', () => stream.close());
  };
}
