import type { Error as ErrorReply } from '../gen/skerry/v1/error.js';
import type { SkerryErrorCode } from './errors.js';
import { detailsOf, SkerryError } from './errors.js';
import type { LastFailure, Operation } from './operation.js';
import { WriteOperation } from './operation.js';
import type { Refusal } from './overload_budget.js';
import { retryTable } from './retry_table.js';

/** How an operation that did not succeed is told to its caller. */

/**
 * An error without the stack of where it was made. Under overload there are tens of thousands a second, and capturing the stack,
 * which shows the router and not the caller, takes thirty times as long as all else about an error.
 */
function withoutStack(make: () => SkerryError): SkerryError {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** True when an attempt of a write was sent and its outcome is not certain. */
export function isUncertain(operation: Operation): boolean {
  return operation instanceof WriteOperation && (operation.maybeApplied || operation.written);
}

function causeOf(failure: LastFailure | null): SkerryError | undefined {
  if (failure === null) return undefined;
  const { code, action } = retryTable[failure.kind];
  return new SkerryError(code, failure.message === '' ? failure.kind : failure.message, {
    retryable: action !== 'fail',
    details: { kind: failure.kind, storeId: failure.storeId },
  });
}

const waitedFor: Readonly<Record<Operation['state'], string>> = {
  waiting: 'it was still waiting for room in flight or for a session',
  routing: 'it was still waiting for its route; are the placement members reachable?',
  resting: 'it was between two attempts',
  sent: 'it was waiting for an answer',
  done: 'it was over',
};

/** Its time is over, or as good as over: what is told of its effect is what is known. */
function outOfTime(operation: Operation, what: string): SkerryError {
  const uncertain = isUncertain(operation);
  const fate = uncertain ? 'the write may or may not take effect' : 'it did not take effect';
  return withoutStack(
    () =>
      new SkerryError(uncertain ? 'UNDETERMINED' : 'DEADLINE_EXCEEDED', `${what}; ${fate}`, {
        cause: causeOf(operation.lastFailure),
        retryable: !uncertain,
        details: { attempts: operation.attempts },
      }),
  );
}

/** The deadline has passed. */
export function deadlineError(operation: Operation): SkerryError {
  const failure = operation.lastFailure;
  const last =
    failure === null ? '' : `; last failure: ${failure.kind} from store ${failure.storeId}: ${failure.message}`;
  return outOfTime(
    operation,
    `deadline passed after ${operation.attempts} attempts: ${waitedFor[operation.state]}${last}`,
  );
}

/** What is left of its time is less than an answer takes now; it is not sent (again). */
export function tooLateError(operation: Operation, leftMs: number, neededMs: number): SkerryError {
  const left = Math.max(0, Math.round(leftMs));
  return outOfTime(operation, `not sent: ${left} ms are left and answers take at least ${Math.ceil(neededMs)} ms now`);
}

/** The operation was given up by its caller or by close(). details.maybeApplied tells a write's fate. */
export function givenUpError(
  operation: Operation,
  code: 'ABORTED' | 'CLIENT_CLOSED',
  message: string,
  cause: unknown,
): SkerryError {
  return new SkerryError(code, message, { cause, details: { maybeApplied: isUncertain(operation) } });
}

/** The retry table says "fail" for the last attempt. */
export function finalError(
  operation: Operation,
  code: SkerryErrorCode,
  reply: ErrorReply | null,
  message: string,
): SkerryError {
  const details = reply === null ? {} : detailsOf(reply);
  const text = message === '' ? code : message;
  const error = new SkerryError(code, text, { details });
  // What can never be valid was not applied by an earlier attempt either.
  if (!isUncertain(operation) || code === 'UNDETERMINED' || code === 'INVALID_ARGUMENT') return error;
  return new SkerryError('UNDETERMINED', `an earlier attempt may have taken effect; then: ${text}`, {
    cause: error,
    details,
  });
}

/** An atomic operation whose keys do not lie in one shard. */
export function keysInSeveralShardsError(operation: Operation): SkerryError {
  const message = 'the keys of an atomic batch lie in several shards; give them one {hash tag} or leave out atomic';
  const error = new SkerryError('INVALID_ARGUMENT', message, {
    details: { field: 'mutations', reason: 'KEYS_IN_SEVERAL_SHARDS' },
  });
  if (!isUncertain(operation)) return error;
  return new SkerryError('UNDETERMINED', 'the shard was split while the outcome of an atomic batch was not known', {
    cause: error,
  });
}

/** A store has too much to do; the operation did not take effect. */
export function busyError(operation: Operation, { limit, retryAfterMs }: Refusal): SkerryError {
  const message = `a store has reached its limit ${limit}: try again in ${retryAfterMs} ms; it did not take effect`;
  const details = { kind: 'serverIsBusy', limit, retryAfterMs, attempts: operation.attempts };
  return withoutStack(() => new SkerryError('SERVER_BUSY', message, { retryable: true, details }));
}

export function closedError(): SkerryError {
  return new SkerryError('CLIENT_CLOSED', 'the client was closed');
}

/** More waits in this client than can be begun in time; nothing was sent. */
export function overloadedError(limit: 'waitingOpsMax' | 'waitingShareMax', waitMs: number): SkerryError {
  const message =
    limit === 'waitingOpsMax'
      ? 'too many operations wait in this client already; await some of them'
      : `operations that wait in this client already would take ${Math.ceil(waitMs)} ms; await some of them`;
  return withoutStack(() => new SkerryError('CLIENT_OVERLOADED', message, { retryable: true, details: { limit } }));
}
