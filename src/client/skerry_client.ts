import { nodeRuntime } from '../base/node_runtime.js';
import type { Runtime } from '../base/runtime.js';
import type { Dial } from '../rpc/channel.js';
import { dialGrpc } from '../rpc/grpc_channel.js';
import type { Mutation, WriteResult } from '../wire/kv_codec.js';
import type { BatchWriteOptions, KeyLike, OperationOptions, ReadOptions, ScanOptions, ValueLike } from './arguments.js';
import * as check from './arguments.js';
import type { BatchContext, BatchItem } from './batch.js';
import { batchGet, batchWrite } from './batch.js';
import type { ClientStats } from './client_core.js';
import { ClientCore } from './client_core.js';
import { invalidArgument } from './errors.js';
import * as limits from './limits.js';
import { placementAddressesOf } from './members.js';
import type { OperationInit } from './operation.js';
import { ExistsOperation, GetOperation, noKeys, WriteOperation } from './operation.js';
import { scanRows } from './scan.js';
import { storeDialOf, type StoreProtocol } from './store_protocol.js';

export interface ConnectOptions {
  /** Placement members as host:port, in a list or separated by commas. One that answers is enough; the others are learned. */
  readonly placement: readonly string[] | string;
  /** The keyspace to work in; default: `default`. */
  readonly keyspace?: string | undefined;
  /** The time of an operation that names none; default 10 s. */
  readonly timeoutMs?: number | undefined;
  /** The time of connect() itself; default 10 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** Operations between submit and answer; more wait. Default 4,096. */
  readonly inFlightOps?: number | undefined;
  /** Bytes of those operations. Default 64 MiB. */
  readonly inFlightBytes?: number | undefined;
  /** Operations that may wait; more are refused with CLIENT_OVERLOADED. Default 65,536. */
  readonly waitingOps?: number | undefined;
  /** Clock, timers and randomness; for tests. */
  readonly runtime?: Runtime | undefined;
  /**
   * How operations travel to stores: `tcp`, frames on a connection of their own (the default), or `grpc`, the same frames on
   * an HTTP/2 stream, where something on the way passes nothing else. All else is gRPC.
   */
  readonly storeProtocol?: StoreProtocol | undefined;
  /** How servers are reached, in place of both. For tests. */
  readonly dial?: Dial | undefined;
}

const connectOptionNames: ReadonlySet<string> = new Set([
  'placement',
  'keyspace',
  'timeoutMs',
  'connectTimeoutMs',
  'inFlightOps',
  'inFlightBytes',
  'waitingOps',
  'storeProtocol',
  'runtime',
  'dial',
]);

/** One write of batchWrite. compareAndSwap needs `atomic: true`. */
export type BatchMutation =
  | { readonly type: 'set'; readonly key: KeyLike; readonly value: ValueLike }
  | { readonly type: 'delete'; readonly key: KeyLike }
  | {
      readonly type: 'compareAndSwap';
      readonly key: KeyLike;
      readonly expected: ValueLike | null;
      readonly value: ValueLike | null;
    };

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface SwapResult {
  readonly swapped: boolean;
  /** What was there instead, when it was not swapped; null: no value. */
  readonly current: Buffer | null;
}

const { noOptions } = check;

/** The routing client: see the essay in index.ts. Every method throws or rejects with SkerryError only. */
export class SkerryClient {
  readonly #core: ClientCore;

  private constructor(core: ClientCore) {
    this.#core = core;
  }

  /**
   * Finds the cluster and the keyspace.
   * @throws SkerryError PLACEMENT_UNAVAILABLE, KEYSPACE_NOT_FOUND, FAILED_PRECONDITION (no cluster yet), INVALID_ARGUMENT
   */
  static async connect(options: ConnectOptions): Promise<SkerryClient> {
    check.checkOptionNames(options, connectOptionNames);
    const count = (value: number | undefined, field: string, fallback: number, max?: number): number =>
      value === undefined ? fallback : check.positiveIntegerOf(value, field, max);
    const runtime = options.runtime ?? nodeRuntime();
    const core = await ClientCore.connect({
      placement: placementAddressesOf(options.placement),
      keyspace: options.keyspace ?? 'default',
      timeoutMs: check.timeoutMsOf(options.timeoutMs ?? limits.timeoutMsDefault),
      connectTimeoutMs: check.timeoutMsOf(options.connectTimeoutMs ?? limits.timeoutMsDefault),
      limits: {
        inFlightOps: count(options.inFlightOps, 'inFlightOps', limits.inFlightOpsMax, limits.inFlightOpsLimit),
        inFlightBytes: count(options.inFlightBytes, 'inFlightBytes', limits.inFlightBytesMax),
        waitingOps: count(options.waitingOps, 'waitingOps', limits.waitingOpsMax),
      },
      runtime,
      dial: options.dial ?? dialGrpc(runtime),
      dialStore: options.dial ?? storeDialOf(options.storeProtocol, runtime),
    });
    return new SkerryClient(core);
  }

  get clusterId(): number {
    return this.#core.clusterId;
  }

  /** Counts since connect(); for benchmarks and tests. */
  stats(): ClientStats {
    return this.#core.stats();
  }

  /** Writes a value. Resolves once it is durable on a majority. Key and value must not be changed until then. */
  set(key: KeyLike, value: ValueLike, options: OperationOptions = noOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const mutation: Mutation = { kind: 'set', key: check.keyOf(key), value: check.valueOf(value) };
      this.#write(mutation, options, () => resolve(), reject);
    });
  }

  /** Removes a key; succeeds whether or not it has a value. */
  delete(key: KeyLike, options: OperationOptions = noOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#write({ kind: 'delete', key: check.keyOf(key) }, options, () => resolve(), reject);
    });
  }

  /** Replaces a value if the present one is as expected; null stands for "no value" on either side. */
  compareAndSwap(
    key: KeyLike,
    expected: ValueLike | null,
    value: ValueLike | null,
    options: OperationOptions = noOptions,
  ): Promise<SwapResult> {
    return new Promise((resolve, reject) => {
      const mutation = wireMutation({ type: 'compareAndSwap', key, expected, value });
      this.#write(mutation, options, ({ applied, current }) => resolve({ swapped: applied, current }), reject);
    });
  }

  // Called from a promise's executor, so that what it throws becomes a rejection.
  #write(
    mutation: Mutation,
    options: OperationOptions,
    resolve: (result: WriteResult) => void,
    reject: OperationInit['reject'],
  ): void {
    check.checkOptionNames(options, check.writeOptionNames);
    const init = this.#init(mutation.key, bytesOfMutation(mutation), options, undefined, reject);
    this.#core.submit(new WriteOperation(init, noKeys, [mutation], resolve), options.signal);
  }

  /** The value of a key, or null. */
  get(key: KeyLike, options: ReadOptions = noOptions): Promise<Buffer | null> {
    return new Promise((resolve, reject) => {
      check.checkOptionNames(options, check.readOptionNames);
      const userKey = check.keyOf(key);
      const init = this.#init(userKey, userKey.length, options, options.consistency, reject);
      this.#core.submit(new GetOperation(init, userKey, resolve), options.signal);
    });
  }

  /** Whether a key has a value. */
  exists(key: KeyLike, options: ReadOptions = noOptions): Promise<boolean> {
    return new Promise((resolve, reject) => {
      check.checkOptionNames(options, check.readOptionNames);
      const userKey = check.keyOf(key);
      const init = this.#init(userKey, userKey.length, options, options.consistency, reject);
      this.#core.submit(new ExistsOperation(init, userKey, resolve), options.signal);
    });
  }

  #init(
    userKey: Buffer,
    bytes: number,
    options: OperationOptions,
    consistency: ReadOptions['consistency'],
    reject: OperationInit['reject'],
  ): OperationInit {
    return {
      key: this.#core.encodedKey(userKey),
      consistency: check.consistencyOf(consistency),
      deadlineMs: this.#deadlineMs(options),
      bytes,
      reject,
    };
  }

  #deadlineMs(options: OperationOptions): number {
    return check.deadlineMsOf(options, this.#core.timeoutMs, this.#core.runtime);
  }

  /** The values of several keys, in their order; null for each that has none. One point in time for each shard. */
  async batchGet(keys: readonly KeyLike[], options: ReadOptions = noOptions): Promise<(Buffer | null)[]> {
    check.checkOptionNames(options, check.readOptionNames);
    checkBatchSize(keys.length, 'keys');
    const context = this.#batchContext(options, options.consistency);
    const userKeys = keys.map((key) => check.keyOf(key));
    const distinct = new Map(userKeys.map((userKey) => [nameOf(userKey), userKey]));
    const items = [...distinct.values()].map((userKey) => ({
      encodedKey: this.#core.encodedKey(userKey),
      bytes: userKey.length,
      content: userKey,
    }));
    const found = new Map<string, Buffer>();
    for (const row of await batchGet(context, items)) found.set(nameOf(row.key), Buffer.from(row.value));
    return userKeys.map((userKey) => found.get(nameOf(userKey)) ?? null);
  }

  /**
   * Writes several keys. Without `atomic` each shard's part takes effect as a whole, and of several writes to one key
   * the last one counts. With `atomic` all of it takes effect or nothing does; `applied` false: a compareAndSwap failed.
   */
  async batchWrite(
    mutations: readonly BatchMutation[],
    options: BatchWriteOptions = noOptions,
  ): Promise<{ applied: boolean }> {
    check.checkOptionNames(options, check.batchWriteOptionNames);
    const atomic = options.atomic ?? false;
    checkBatchSize(mutations.length, 'mutations', atomic);
    const all = mutations.map((mutation) => this.#batchItem(mutation, atomic));
    if (atomic) check.commandBytesOf(all.map((item) => item.bytes));
    const items = atomic ? all : [...new Map(all.map((item) => [nameOf(item.encodedKey), item])).values()];
    if (items.length === 0) return { applied: true };
    const { applied } = await batchWrite(this.#batchContext(options, undefined), items, atomic);
    return { applied };
  }

  #batchItem(mutation: BatchMutation, atomic: boolean): BatchItem<Mutation> {
    if (mutation.type === 'compareAndSwap' && !atomic) {
      throw invalidArgument('mutations', 'NEEDS_ATOMIC', 'compareAndSwap in a batch needs { atomic: true }');
    }
    const content = wireMutation(mutation);
    return { encodedKey: this.#core.encodedKey(content.key), bytes: bytesOfMutation(content), content };
  }

  #batchContext(options: OperationOptions, consistency: ReadOptions['consistency']): BatchContext {
    return {
      core: this.#core,
      consistency: check.consistencyOf(consistency),
      deadlineMs: this.#deadlineMs(options),
      signal: options.signal,
    };
  }

  /**
   * All rows, or those with a prefix or between bounds, in the order of encoded keys: that of the keys in a range
   * keyspace, that of the slots in a hash keyspace. timeoutMs counts for each page.
   */
  scan(options: ScanOptions = noOptions): AsyncGenerator<KeyValue, void, undefined> {
    check.checkOptionNames(options, check.scanOptionNames);
    return scanRows(this.#core, {
      start: check.boundOf(options.start, 'start'),
      end: check.boundOf(options.end, 'end'),
      prefix: check.boundOf(options.prefix, 'prefix'),
      limit: options.limit === undefined ? Infinity : check.positiveIntegerOf(options.limit, 'limit'),
      reverse: options.reverse ?? false,
      keysOnly: options.keysOnly ?? false,
      pageSize: check.pageSizeOf(options.pageSize ?? limits.scanPageRowsDefault),
      consistency: check.consistencyOf(options.consistency),
      timeoutMs: this.#deadlineMs(options) - this.#core.runtime.nowMs(),
      signal: options.signal,
    });
  }

  /** Ends all connections. What is outstanding fails with CLIENT_CLOSED. Idempotent. */
  close(): void {
    this.#core.close();
  }
}

/** A name for bytes, as a key of a Map. */
function nameOf(bytes: Buffer): string {
  return bytes.toString('latin1');
}

function checkBatchSize(size: number, field: string, atomic = false): void {
  const max = atomic ? limits.atomicBatchKeysMax : limits.batchKeysMax;
  if (size > max) throw invalidArgument(field, 'BATCH_TOO_LARGE', `${size} ${field}; at most ${max} are allowed`);
}

function bytesOfMutation(mutation: Mutation): number {
  switch (mutation.kind) {
    case 'set':
      return mutation.key.length + mutation.value.length;
    case 'delete':
      return mutation.key.length;
    case 'swap':
      return mutation.key.length + (mutation.expected?.length ?? 0) + (mutation.value?.length ?? 0);
  }
}

function wireMutation(mutation: BatchMutation): Mutation {
  const key = check.keyOf(mutation.key);
  switch (mutation.type) {
    case 'set':
      return { kind: 'set', key, value: check.valueOf(mutation.value) };
    case 'delete':
      return { kind: 'delete', key };
    case 'compareAndSwap': {
      const expected = check.valueOrNullOf(mutation.expected, 'expected');
      return { kind: 'swap', key, expected, value: check.valueOrNullOf(mutation.value, 'value') };
    }
    default:
      throw invalidArgument('mutations', 'UNKNOWN_VALUE', 'a mutation is of type set, delete or compareAndSwap');
  }
}
