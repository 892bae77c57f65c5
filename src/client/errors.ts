import type { Error as ErrorReply } from '../gen/skerry/v1/error.js';

/**
 * The codes of SkerryError. They are stable: programs switch over them.
 *
 * - INVALID_ARGUMENT: the request can never succeed; nothing was sent.
 * - DEADLINE_EXCEEDED: the time is over and the operation surely did not take effect.
 * - UNDETERMINED: the time is over, or the session is gone, and a write may or may not have taken effect.
 * - PLACEMENT_UNAVAILABLE: no placement member answered in time.
 * - CLIENT_OVERLOADED: too many operations wait in this client already.
 * - INTERNAL: an answer that this client does not understand.
 */
export type SkerryErrorCode =
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'UNDETERMINED'
  | 'ABORTED'
  | 'CLIENT_CLOSED'
  | 'CLIENT_OVERLOADED'
  | 'PLACEMENT_UNAVAILABLE'
  | 'STORE_UNAVAILABLE'
  | 'NOT_LEADER'
  | 'STALE_ROUTE'
  | 'SERVER_BUSY'
  | 'DISK_FULL'
  | 'CLUSTER_MISMATCH'
  | 'KEYSPACE_NOT_FOUND'
  | 'SHARD_NOT_FOUND'
  | 'STORE_NOT_FOUND'
  | 'OPERATOR_NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'FAILED_PRECONDITION'
  | 'INTERNAL';

export interface SkerryErrorOptions {
  readonly cause?: unknown;
  /** True: the same request may succeed later. */
  readonly retryable?: boolean;
  /** Facts for programs: the reason of an invalid argument, ids, limits. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The one error of the client. */
export class SkerryError extends Error {
  override readonly name = 'SkerryError';
  readonly code: SkerryErrorCode;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: SkerryErrorCode, message: string, options: SkerryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }
}

/** An argument that can never work. `reason` is stable, for example KEY_EMPTY or VALUE_TOO_LARGE. */
export function invalidArgument(field: string, reason: string, message: string): SkerryError {
  return new SkerryError('INVALID_ARGUMENT', message, { details: { field, reason } });
}

/** The typed error's detail as a flat record, for SkerryError.details. */
export function detailsOf(reply: ErrorReply): Record<string, unknown> {
  return reply.detail === undefined ? {} : { kind: reply.detail.$case, ...reply.detail.value };
}
