import { commandBytesMax, keyBytesMax, scanRowsMax, valueBytesMax } from '../base/limits.js';
import type { Runtime } from '../base/runtime.js';
import { consistencyFollower, consistencyLinearizable, consistencyStale } from './consistency.js';
import { invalidArgument } from './errors.js';
import { timeoutMsMax } from './limits.js';

/** Checks of what a caller passes, before anything is sent. Each throws SkerryError INVALID_ARGUMENT with a stable reason. */

/** A key: a string (taken as UTF-8) or bytes. */
export type KeyLike = string | Uint8Array;
/** A value: a string (taken as UTF-8) or bytes. Results are always Buffers. */
export type ValueLike = string | Uint8Array;

/** How fresh a read is: see the essay in index.ts. */
export type ConsistencyName = 'linearizable' | 'follower' | 'stale';

/** Options of every operation. */
export interface OperationOptions {
  /** Milliseconds for the whole operation, retries included. */
  readonly timeoutMs?: number | undefined;
  /** A point in time instead of timeoutMs; the earlier of both counts. */
  readonly deadline?: Date | undefined;
  /** Gives the operation up. */
  readonly signal?: AbortSignal | undefined;
}

export interface ReadOptions extends OperationOptions {
  readonly consistency?: ConsistencyName | undefined;
}

export interface BatchWriteOptions extends OperationOptions {
  /** True: all or nothing, which needs all keys in one shard (a common {hash tag} in a hash keyspace). */
  readonly atomic?: boolean | undefined;
}

export interface ScanOptions extends ReadOptions {
  /** First key, included. Range keyspaces only. */
  readonly start?: KeyLike | undefined;
  /** First key that is not included any more. Range keyspaces only. */
  readonly end?: KeyLike | undefined;
  /** Only keys that begin with it. */
  readonly prefix?: KeyLike | undefined;
  /** Rows at most, over all pages. */
  readonly limit?: number | undefined;
  readonly reverse?: boolean | undefined;
  /** True: values come back empty. */
  readonly keysOnly?: boolean | undefined;
  /** Rows that are fetched at once. */
  readonly pageSize?: number | undefined;
}

/** What a caller who names no options passes. */
export const noOptions = Object.freeze({});

const operationOptions = ['timeoutMs', 'deadline', 'signal'] as const;
export const readOptionNames: ReadonlySet<string> = new Set([...operationOptions, 'consistency']);
export const writeOptionNames: ReadonlySet<string> = new Set(operationOptions);
export const batchWriteOptionNames: ReadonlySet<string> = new Set([...operationOptions, 'atomic']);
export const scanOptionNames: ReadonlySet<string> = new Set([
  ...readOptionNames,
  'start',
  'end',
  'prefix',
  'limit',
  'reverse',
  'keysOnly',
  'pageSize',
]);

/** Refuses an option that nobody reads: it is most likely misspelt. */
export function checkOptionNames(options: object, allowed: ReadonlySet<string>): void {
  if (options === noOptions) return;
  for (const name in options) {
    if (!allowed.has(name)) {
      throw invalidArgument(name, 'UNKNOWN_OPTION', `unknown option ${name}; known: ${[...allowed].join(', ')}`);
    }
  }
}

function bytesOf(value: unknown, field: string): Buffer {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw invalidArgument(field, 'WRONG_TYPE', `${field} must be a string or a Uint8Array`);
}

export function keyOf(key: KeyLike, field = 'key'): Buffer {
  const bytes = bytesOf(key, field);
  if (bytes.length === 0) throw invalidArgument(field, 'KEY_EMPTY', 'a key has at least one byte');
  if (bytes.length > keyBytesMax) {
    throw invalidArgument(field, 'KEY_TOO_LARGE', `a key of ${bytes.length} bytes; at most ${keyBytesMax} are allowed`);
  }
  return bytes;
}

export function valueOf(value: ValueLike, field = 'value'): Buffer {
  const bytes = bytesOf(value, field);
  if (bytes.length > valueBytesMax) {
    throw invalidArgument(
      field,
      'VALUE_TOO_LARGE',
      `a value of ${bytes.length} bytes; at most ${valueBytesMax} are allowed`,
    );
  }
  return bytes;
}

/** A value, or null for "no value". */
export function valueOrNullOf(value: ValueLike | null, field: string): Buffer | null {
  return value === null ? null : valueOf(value, field);
}

/** A bound of a scan; absent: empty. */
export function boundOf(bound: KeyLike | undefined, field: string): Buffer {
  if (bound === undefined) return Buffer.alloc(0);
  const bytes = bytesOf(bound, field);
  if (bytes.length > keyBytesMax) {
    throw invalidArgument(
      field,
      'KEY_TOO_LARGE',
      `${field} has ${bytes.length} bytes; at most ${keyBytesMax} are allowed`,
    );
  }
  return bytes;
}

export function commandBytesOf(sizes: Iterable<number>): number {
  let bytes = 0;
  for (const size of sizes) bytes += size;
  if (bytes > commandBytesMax) {
    throw invalidArgument(
      'mutations',
      'BATCH_TOO_LARGE',
      `an atomic batch of ${bytes} bytes; at most ${commandBytesMax} are allowed`,
    );
  }
  return bytes;
}

export function consistencyOf(name: ConsistencyName | undefined): number {
  switch (name) {
    case undefined:
    case 'linearizable':
      return consistencyLinearizable;
    case 'follower':
      return consistencyFollower;
    case 'stale':
      return consistencyStale;
    default:
      throw invalidArgument('consistency', 'UNKNOWN_VALUE', 'consistency is linearizable, follower or stale');
  }
}

export function timeoutMsOf(timeoutMs: number): number {
  if (!Number.isFinite(timeoutMs) || timeoutMs <= 0 || timeoutMs > timeoutMsMax) {
    throw invalidArgument('timeoutMs', 'OUT_OF_RANGE', `timeoutMs must be above 0 and at most ${timeoutMsMax}`);
  }
  return timeoutMs;
}

/** When an operation that begins now ends at the latest, on the monotonic clock. */
export function deadlineMsOf(options: OperationOptions, defaultMs: number, runtime: Runtime): number {
  const nowMs = runtime.nowMs();
  const byTimeout = nowMs + (options.timeoutMs === undefined ? defaultMs : timeoutMsOf(options.timeoutMs));
  if (options.deadline === undefined) return byTimeout;
  const at = options.deadline.getTime();
  if (Number.isNaN(at)) throw invalidArgument('deadline', 'OUT_OF_RANGE', 'deadline is not a valid Date');
  const byDate = nowMs + (at - runtime.wallMs());
  return options.timeoutMs === undefined ? Math.min(byDate, nowMs + timeoutMsMax) : Math.min(byDate, byTimeout);
}

export function positiveIntegerOf(value: number, field: string, max = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > max) {
    throw invalidArgument(field, 'OUT_OF_RANGE', `${field} must be a whole number from 1 to ${max}`);
  }
  return value;
}

export function pageSizeOf(value: number): number {
  return positiveIntegerOf(value, 'pageSize', scanRowsMax);
}
