import type { SkerryErrorCode } from '../client/index.js';
import { SkerryError } from '../client/index.js';

/** Exit codes of the skerry command. They are stable: scripts may rely on them. */
export const exitCodes = Object.freeze({
  ok: 0,
  /** Anything that has no code of its own. */
  failure: 1,
  /** Wrong arguments, or a request that can never succeed. */
  usage: 2,
  /** The key, keyspace, shard, store or operator is not there. */
  notFound: 3,
  /** The cluster did not answer in time; nothing took effect. */
  unavailable: 4,
  /** A change may or may not have taken effect. */
  undetermined: 5,
  /** The cluster is not in a state that allows it, or the thing exists already. */
  conflict: 6,
  /** Ended by Ctrl-C. */
  interrupted: 130,
});

const byCode: Readonly<Record<SkerryErrorCode, number>> = {
  INVALID_ARGUMENT: exitCodes.usage,
  KEYSPACE_NOT_FOUND: exitCodes.notFound,
  SHARD_NOT_FOUND: exitCodes.notFound,
  STORE_NOT_FOUND: exitCodes.notFound,
  OPERATOR_NOT_FOUND: exitCodes.notFound,
  DEADLINE_EXCEEDED: exitCodes.unavailable,
  PLACEMENT_UNAVAILABLE: exitCodes.unavailable,
  STORE_UNAVAILABLE: exitCodes.unavailable,
  NOT_LEADER: exitCodes.unavailable,
  STALE_ROUTE: exitCodes.unavailable,
  SERVER_BUSY: exitCodes.unavailable,
  DISK_FULL: exitCodes.unavailable,
  CLIENT_OVERLOADED: exitCodes.unavailable,
  UNDETERMINED: exitCodes.undetermined,
  ALREADY_EXISTS: exitCodes.conflict,
  FAILED_PRECONDITION: exitCodes.conflict,
  CLUSTER_MISMATCH: exitCodes.failure,
  CLIENT_CLOSED: exitCodes.failure,
  ABORTED: exitCodes.failure,
  INTERNAL: exitCodes.failure,
};

/** A failure that a command wants to end with, in words for people. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommandError) return error.exitCode;
  return error instanceof SkerryError ? byCode[error.code] : exitCodes.failure;
}

/** One line on what went wrong, with the stable code that programs know it by. */
export function describeError(error: unknown): string {
  if (error instanceof SkerryError) return `${error.message} [${error.code}]`;
  return error instanceof Error ? error.message : String(error);
}
