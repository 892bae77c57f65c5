import type { TypedError } from '../src/base/wire_errors.js';
import { clusterMismatch, invalidArgument, shardNotFound } from '../src/base/wire_errors.js';
import type {
  BatchGetRequest,
  BatchWriteRequest,
  CompareAndSwapRequest,
  Mutation as MutationMessage,
  RequestHeader,
  ScanRequest,
} from '../src/gen/skerry/v1/kv.js';
import { RequestHeader as RequestHeaderMessage } from '../src/gen/skerry/v1/kv.js';
import type { Mutation, RowsResult, WireOp, WriteResult } from '../src/wire/kv_codec.js';
import {
  decodeErrorResult,
  decodeExistsResult,
  decodeRowsResult,
  decodeValueResult,
  decodeWriteResult,
  encodeKeyList,
  encodeScanOp,
  encodeWriteCommand,
  OpKind,
  ResultKind,
} from '../src/wire/kv_codec.js';
import type { KvService } from './kv_service.js';

/** Unary calls: the same operations as on the batch stream, one each, with a header that says whom they are meant for. */
type Outcome<T> =
  { readonly error: TypedError; readonly value?: never } | { readonly error?: never; readonly value: T };

export class KvUnary {
  private readonly service: KvService;

  constructor(service: KvService) {
    this.service = service;
  }

  write(header: RequestHeader | undefined, mutations: readonly Mutation[]): Promise<Outcome<WriteResult>> {
    const head = header ?? RequestHeaderMessage.create();
    const { sessionId, sequence, ackedBelow, retry } = head;
    const body = encodeWriteCommand({ sessionId, sequence, ackedBelow, retry, mutations });
    const key = mutations[0]?.key ?? Buffer.alloc(0);
    return this.call(head, OpKind.write, body, () => this.service.findShard(head.keyspaceId, key), decodeWriteResult);
  }

  batchWrite(request: BatchWriteRequest): Promise<Outcome<WriteResult>> {
    const mutations = request.mutations.map(mutationOf);
    if (!mutations.every((m) => m !== null)) {
      return Promise.resolve({ error: invalidArgument('mutations', 'MALFORMED', 'a mutation without an operation') });
    }
    return this.write(request.header, mutations);
  }

  compareAndSwap(request: CompareAndSwapRequest): Promise<Outcome<WriteResult>> {
    const { key, expected, value } = request;
    const swap = { kind: 'swap', key: asBuffer(key), expected: orNull(expected), value: orNull(value) } as const;
    return this.write(request.header, [swap]);
  }

  get(header: RequestHeader | undefined, key: Uint8Array): Promise<Outcome<Buffer | null>> {
    return this.readKey(header, OpKind.get, asBuffer(key), decodeValueResult);
  }

  exists(header: RequestHeader | undefined, key: Uint8Array): Promise<Outcome<boolean>> {
    return this.readKey(header, OpKind.exists, asBuffer(key), decodeExistsResult);
  }

  batchGet(request: BatchGetRequest): Promise<Outcome<RowsResult>> {
    const head = request.header ?? RequestHeaderMessage.create();
    const keys = request.keys.map(asBuffer);
    const first = keys[0];
    if (first === undefined) return Promise.resolve({ value: { rows: [], more: false, nextKey: Buffer.alloc(0) } });
    const find = (): number => this.service.findShard(head.keyspaceId, first);
    return this.call(head, OpKind.batchGet, encodeKeyList(keys), find, decodeRowsResult);
  }

  scan(request: ScanRequest): Promise<Outcome<RowsResult>> {
    const head = request.header ?? RequestHeaderMessage.create();
    const { limit, reverse, keysOnly } = request;
    const startKey = asBuffer(request.startKey);
    const endKey = asBuffer(request.endKey);
    const body = encodeScanOp({ startKey, endKey, limit, reverse, keysOnly, prefix: asBuffer(request.prefix) });
    // A reverse scan begins in the shard below its end.
    const find = (): number =>
      reverse
        ? this.service.findShardBelow(head.keyspaceId, endKey)
        : this.service.findShardOfEncoded(head.keyspaceId, startKey);
    return this.call(head, OpKind.scan, body, find, decodeRowsResult);
  }

  private readKey<T>(
    header: RequestHeader | undefined,
    kind: OpKind,
    key: Buffer,
    decode: (body: Buffer) => T,
  ): Promise<Outcome<T>> {
    const head = header ?? RequestHeaderMessage.create();
    return this.call(head, kind, key, () => this.service.findShard(head.keyspaceId, key), decode);
  }

  private call<T>(
    header: RequestHeader,
    kind: OpKind,
    body: Buffer,
    findShard: () => number,
    decode: (body: Buffer) => T,
  ): Promise<Outcome<T>> {
    const refusal =
      header.clusterId === 0
        ? clusterMismatch(0, this.service.clusterId)
        : this.service.checkTarget(header.clusterId, header.storeId);
    if (refusal !== null) return Promise.resolve({ error: refusal });
    const shardId = header.shardId === 0 ? findShard() : header.shardId;
    if (shardId === 0) return Promise.resolve({ error: shardNotFound(0) });
    return new Promise((resolve) => {
      this.service.execute(opOf(header, shardId, kind, body), null, (resultKind, resultBody) => {
        resolve(
          resultKind === ResultKind.error ? { error: decodeErrorResult(resultBody) } : { value: decode(resultBody) },
        );
      });
      this.service.flush();
    });
  }
}

function opOf(header: RequestHeader, shardId: number, kind: OpKind, body: Buffer): WireOp {
  return {
    id: 0,
    shardId,
    confVer: header.epoch?.confVer ?? 0,
    version: header.epoch?.version ?? 0,
    timeoutMs: header.timeoutMs,
    consistency: header.consistency,
    allowForward: header.allowForward,
    kind,
    body,
  };
}

/** Generated code gives byte arrays; both are views of the same bytes. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function orNull(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined ? null : asBuffer(bytes);
}

function mutationOf(message: MutationMessage): Mutation | null {
  const key = asBuffer(message.key);
  switch (message.op?.$case) {
    case 'set':
      return { kind: 'set', key, value: asBuffer(message.op.value) };
    case 'delete':
      return message.op.value ? { kind: 'delete', key } : null;
    case 'compareAndSwap': {
      const { expected, value } = message.op.value;
      return { kind: 'swap', key, expected: orNull(expected), value: orNull(value) };
    }
    case undefined:
      return null;
  }
}
