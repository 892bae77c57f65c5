import type { Error as ErrorReply } from '../gen/skerry/v1/error.js';
import type { SkerryErrorCode } from './errors.js';
import { detailsOf, SkerryError } from './errors.js';

/**
 * The one table that decides what follows a failed attempt. Rows are the typed errors of error.proto and
 * three failures that only a client sees.
 *
 *   redirect   ask the leader that the answer names; back off when it names none
 *   refresh    the route was wrong: take what the answer teaches, look the route up, ask again
 *   backOff    ask again later
 *   rotate     ask another placement member
 *   fail       give the caller the row's code
 *
 * `certain` false: the attempt may have taken effect. Such a write is only ever repeated with its session
 * and sequence, and ends as UNDETERMINED, never as DEADLINE_EXCEEDED.
 */
export type FailureKind =
  | NonNullable<ErrorReply['detail']>['$case']
  /** The stream broke after the operation had been written to it. */
  | 'connectionLost'
  /** The store could not be reached; the operation was not written to any stream. */
  | 'unreachable'
  /** An error without a detail that this client knows. */
  | 'unknown';

export type RetryAction = 'redirect' | 'refresh' | 'backOff' | 'rotate' | 'fail';

export interface RetryRule {
  readonly action: RetryAction;
  readonly certain: boolean;
  readonly code: SkerryErrorCode;
}

const rule = (action: RetryAction, certain: boolean, code: SkerryErrorCode): RetryRule =>
  Object.freeze({ action, certain, code });

export const retryTable: Readonly<Record<FailureKind, RetryRule>> = Object.freeze({
  notLeader: rule('redirect', true, 'NOT_LEADER'),
  epochNotMatch: rule('refresh', true, 'STALE_ROUTE'),
  shardNotFound: rule('refresh', true, 'SHARD_NOT_FOUND'),
  keyNotInShard: rule('refresh', true, 'STALE_ROUTE'),
  storeNotMatch: rule('refresh', true, 'STALE_ROUTE'),
  serverIsBusy: rule('backOff', true, 'SERVER_BUSY'),
  diskFull: rule('backOff', true, 'DISK_FULL'),
  // The store's clock ran out before ours; it proposed nothing.
  deadlineExceeded: rule('backOff', true, 'DEADLINE_EXCEEDED'),
  undetermined: rule('redirect', false, 'UNDETERMINED'),
  connectionLost: rule('refresh', false, 'STORE_UNAVAILABLE'),
  unreachable: rule('refresh', true, 'STORE_UNAVAILABLE'),
  placementUnavailable: rule('rotate', true, 'PLACEMENT_UNAVAILABLE'),
  // A retry met a shard that forgot the session: an earlier attempt may have taken effect.
  sessionExpired: rule('fail', false, 'UNDETERMINED'),
  clusterMismatch: rule('fail', true, 'CLUSTER_MISMATCH'),
  invalidArgument: rule('fail', true, 'INVALID_ARGUMENT'),
  keyspaceNotFound: rule('fail', true, 'KEYSPACE_NOT_FOUND'),
  alreadyExists: rule('fail', true, 'ALREADY_EXISTS'),
  failedPrecondition: rule('fail', true, 'FAILED_PRECONDITION'),
  storeNotFound: rule('fail', true, 'STORE_NOT_FOUND'),
  operatorNotFound: rule('fail', true, 'OPERATOR_NOT_FOUND'),
  unknown: rule('fail', false, 'INTERNAL'),
});

/** The row for a typed error. An error from a newer server falls to `unknown`. */
export function failureKindOf(reply: ErrorReply): FailureKind {
  const kind = reply.detail?.$case;
  return kind !== undefined && kind in retryTable ? kind : 'unknown';
}

/** The typed error of a reply as the caller sees it; used where no further attempt follows. */
export function skerryErrorOf(reply: ErrorReply): SkerryError {
  const { code, action } = retryTable[failureKindOf(reply)];
  return new SkerryError(code, reply.message === '' ? code : reply.message, {
    retryable: action !== 'fail',
    details: detailsOf(reply),
  });
}
