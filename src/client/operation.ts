import { assert } from '../base/assert.js';
import type { OpKind, ResultKind, RowsResult, WireOp, WriteResult } from '../wire/kv_codec.js';
import type { Mutation } from '../wire/kv_codec.js';
import {
  decodeExistsResult,
  decodeRowsResult,
  decodeValueResult,
  decodeWriteResult,
  encodeKeyList,
  encodeScanOp,
  encodeWriteCommand,
  OpKind as opKinds,
  ResultKind as resultKinds,
} from '../wire/kv_codec.js';
import type { SkerryError } from './errors.js';
import type { FailureKind } from './retry_table.js';
import type { Session, SequencedWrite, WritePlace } from './session.js';
import type { CachedShard, ShardCache } from './shard_cache.js';
import type { WheelEntry } from './timing_wheel.js';

/**
 * One operation from the caller's call to its answer, over all attempts. It is also the wire's BatchOp, the wheel's
 * entry and the session's write, so that an operation costs one object and one promise.
 *
 *   waiting ─▶ routing ⇄ sent ─▶ done        waiting: for room in flight, or for the session's id
 *                 ▲        │                 routing: for a look-up of its key
 *                 └ resting ◀┘               resting: a pause before the next attempt
 */
export type OperationState = 'waiting' | 'routing' | 'resting' | 'sent' | 'done';

/** What went wrong with the last attempt; becomes the cause of the final error. */
export interface LastFailure {
  readonly kind: FailureKind;
  readonly storeId: number;
  readonly message: string;
}

export const noKeys: readonly Buffer[] = Object.freeze([]);
const noBody: Buffer = Buffer.alloc(0);

export interface OperationInit {
  /** Encoded key by which the operation is routed. */
  readonly key: Buffer;
  readonly consistency: number;
  /** On the runtime's monotonic clock. */
  readonly deadlineMs: number;
  /** Key and value bytes, for the limit on bytes in flight. */
  readonly bytes: number;
  readonly reject: (error: SkerryError) => void;
}

export abstract class Operation implements WireOp, WheelEntry {
  abstract readonly kind: OpKind;

  // The wire's view; filled in for each attempt.
  id = 0;
  shardId = 0;
  confVer = 0;
  version = 0;
  timeoutMs = 0;
  readonly consistency: number;
  readonly allowForward = false;
  body: Buffer = noBody;

  // The wheel's view.
  wheelNext: WheelEntry | null = null;
  wheelPrevious: WheelEntry | null = null;
  dueTick = -1;

  readonly key: Buffer;
  readonly deadlineMs: number;
  readonly bytes: number;
  readonly reject: (error: SkerryError) => void;

  state: OperationState = 'waiting';
  /** True while it counts as in flight. */
  admitted = false;
  apart = false;
  /** Attempts so far. */
  attempts = 0;
  /** The route of the present attempt. */
  shard: CachedShard | null = null;
  storeId = 0;
  /** True from the moment that the attempt's bytes were given to a stream until its answer. */
  written = false;
  /** When the present attempt was written, on the runtime's monotonic clock. */
  writtenMs = 0;
  /** True once an attempt ended without certainty that it had no effect. Never goes back. */
  maybeApplied = false;
  /** Pauses so far. */
  pauses = 0;
  /** Attempts since the last pause. */
  attemptsSincePause = 0;
  /** True: look the route up after the pause, even if one is known. */
  wantsLookUp = false;
  lastFailure: LastFailure | null = null;
  /** Takes the abort listener off the caller's signal. */
  detach: (() => void) | null = null;
  /**
   * Makes the parts that take this operation's place when its keys turn out to lie in several shards; each group holds
   * indexes into [key, ...moreKeys]. null: it takes effect as a whole in one shard or not at all.
   */
  divide: ((groups: readonly (readonly number[])[]) => Operation[]) | null = null;

  constructor(init: OperationInit) {
    this.key = init.key;
    this.consistency = init.consistency;
    this.deadlineMs = init.deadlineMs;
    this.bytes = init.bytes;
    this.reject = init.reject;
  }

  /** Encoded keys besides `key`; all must lie in one shard for the operation to be sent whole. */
  readonly moreKeys: readonly Buffer[] = noKeys;

  get done(): boolean {
    return this.state === 'done';
  }

  /** The shard to ask, as far as it is known. */
  locate(cache: ShardCache): CachedShard | null {
    return cache.find(this.key);
  }

  /** Fills `body` for the present attempt. */
  abstract encode(session: Session): void;

  /** Gives the caller the result. False: not the kind of result that was asked for. @throws WireError */
  abstract accept(kind: ResultKind, body: Buffer): boolean;
}

/** A value that outlives its frame must not pin it: small ones are copied. */
function detached(value: Buffer): Buffer {
  return value.length * 2 >= value.buffer.byteLength ? value : Buffer.from(value);
}

export class GetOperation extends Operation {
  readonly kind = opKinds.get;
  readonly #userKey: Buffer;
  readonly #resolve: (value: Buffer | null) => void;

  constructor(init: OperationInit, userKey: Buffer, resolve: (value: Buffer | null) => void) {
    super(init);
    this.#userKey = userKey;
    this.#resolve = resolve;
  }

  override encode(): void {
    this.body = this.#userKey;
  }

  override accept(kind: ResultKind, body: Buffer): boolean {
    if (kind !== resultKinds.get) return false;
    const value = decodeValueResult(body);
    this.#resolve(value === null ? null : detached(value));
    return true;
  }
}

export class ExistsOperation extends Operation {
  readonly kind = opKinds.exists;
  readonly #userKey: Buffer;
  readonly #resolve: (exists: boolean) => void;

  constructor(init: OperationInit, userKey: Buffer, resolve: (exists: boolean) => void) {
    super(init);
    this.#userKey = userKey;
    this.#resolve = resolve;
  }

  override encode(): void {
    this.body = this.#userKey;
  }

  override accept(kind: ResultKind, body: Buffer): boolean {
    if (kind !== resultKinds.exists) return false;
    this.#resolve(decodeExistsResult(body));
    return true;
  }
}

/** The page that a scan answers with, and the shard that it is a page of. */
export interface ScanPage extends RowsResult {
  readonly shard: CachedShard;
}

export interface ScanBounds {
  /** Encoded bounds. */
  readonly startKey: Buffer;
  /** Empty: the end of the keyspace. */
  readonly endKey: Buffer;
  readonly limit: number;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  readonly prefix: Buffer;
}

export class ScanOperation extends Operation {
  readonly kind = opKinds.scan;
  readonly #bounds: ScanBounds;
  readonly #resolve: (page: ScanPage) => void;

  constructor(init: OperationInit, bounds: ScanBounds, resolve: (page: ScanPage) => void) {
    super(init);
    this.#bounds = bounds;
    this.#resolve = resolve;
  }

  override locate(cache: ShardCache): CachedShard | null {
    return this.#bounds.reverse ? cache.findBelow(this.#bounds.endKey) : cache.find(this.#bounds.startKey);
  }

  override encode(): void {
    this.body = encodeScanOp(this.#bounds);
  }

  override accept(kind: ResultKind, body: Buffer): boolean {
    if (kind !== resultKinds.rows) return false;
    assert(this.shard !== null, 'an answered operation had a route');
    this.#resolve({ ...decodeRowsResult(body), shard: this.shard });
    return true;
  }
}

export class BatchGetOperation extends Operation {
  readonly kind = opKinds.batchGet;
  override readonly moreKeys: readonly Buffer[];
  readonly #userKeys: readonly Buffer[];
  readonly #resolve: (rows: RowsResult['rows']) => void;

  constructor(
    init: OperationInit,
    moreKeys: readonly Buffer[],
    userKeys: readonly Buffer[],
    resolve: (rows: RowsResult['rows']) => void,
  ) {
    super(init);
    this.moreKeys = moreKeys;
    this.#userKeys = userKeys;
    this.#resolve = resolve;
  }

  override encode(): void {
    this.body = encodeKeyList(this.#userKeys);
  }

  override accept(kind: ResultKind, body: Buffer): boolean {
    if (kind !== resultKinds.rows) return false;
    this.#resolve(decodeRowsResult(body).rows);
    return true;
  }
}

export class WriteOperation extends Operation implements SequencedWrite {
  readonly kind = opKinds.write;
  override readonly moreKeys: readonly Buffer[];
  sequence = 0;
  /** The shard for which it has its sequence. */
  sequenceShardId = 0;
  place: WritePlace | null = null;
  morePlaces: WritePlace[] | null = null;
  readonly #mutations: readonly Mutation[];
  readonly #resolve: (result: WriteResult) => void;

  constructor(
    init: OperationInit,
    moreKeys: readonly Buffer[],
    mutations: readonly Mutation[],
    resolve: (result: WriteResult) => void,
  ) {
    super(init);
    this.moreKeys = moreKeys;
    this.#mutations = mutations;
    this.#resolve = resolve;
  }

  override encode(session: Session): void {
    const ackedBelow = session.ackedBelow(this.shardId);
    assert(this.sequence > 0 && ackedBelow <= this.sequence, 'a write is outstanding in the shard that it is sent to');
    this.body = encodeWriteCommand({
      sessionId: session.id,
      sequence: this.sequence,
      ackedBelow,
      retry: this.maybeApplied,
      mutations: this.#mutations,
    });
  }

  override accept(kind: ResultKind, body: Buffer): boolean {
    if (kind !== resultKinds.write) return false;
    const { applied, current } = decodeWriteResult(body);
    this.#resolve({ applied, current: current === null ? null : detached(current) });
    return true;
  }
}
