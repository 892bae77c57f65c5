import type { Error as WireErrorMessage } from '../gen/skerry/v1/error.js';
import type { Shard } from '../gen/skerry/v1/meta.js';

/**
 * Constructors for the typed errors of proto/skerry/v1/error.proto, shared by both servers. The
 * message is for people; programs read the detail, which carries the cure.
 */
export type TypedError = WireErrorMessage;

function typed(message: string, detail: WireErrorMessage['detail']): TypedError {
  return { message, detail };
}

/** This replica does not lead; nothing was proposed. leaderReplicaId 0: no leader is known. */
export function notLeader(
  shardId: number,
  leader: { readonly replicaId: number; readonly storeId: number },
  term: number,
): TypedError {
  const where = leader.replicaId === 0 ? 'no leader is known' : `store ${leader.storeId} leads`;
  return typed(`shard ${shardId} is not led here; ${where}`, {
    $case: 'notLeader',
    value: { shardId, leaderReplicaId: leader.replicaId, leaderStoreId: leader.storeId, term },
  });
}

export function epochNotMatch(currentShards: readonly Shard[]): TypedError {
  const names = currentShards.map((s) => `${s.shardId}@${s.epoch?.confVer ?? 0}.${s.epoch?.version ?? 0}`).join(', ');
  return typed(`the request was routed by another epoch; current: ${names}`, {
    $case: 'epochNotMatch',
    value: { currentShards: [...currentShards] },
  });
}

export function shardNotFound(shardId: number): TypedError {
  return typed(`no replica of shard ${shardId} on this store`, { $case: 'shardNotFound', value: { shardId } });
}

export function keyNotInShard(shard: Shard, key: Uint8Array): TypedError {
  return typed(`the key lies outside of shard ${shard.shardId}`, {
    $case: 'keyNotInShard',
    value: { shardId: shard.shardId, key, startKey: shard.startKey, endKey: shard.endKey },
  });
}

export function storeNotMatch(requestedStoreId: number, actualStoreId: number): TypedError {
  return typed(`the request is meant for store ${requestedStoreId}; this is store ${actualStoreId}`, {
    $case: 'storeNotMatch',
    value: { requestedStoreId, actualStoreId },
  });
}

export function clusterMismatch(requestedClusterId: number, actualClusterId: number): TypedError {
  return typed(`the request names cluster ${requestedClusterId}; this is cluster ${actualClusterId}`, {
    $case: 'clusterMismatch',
    value: { requestedClusterId, actualClusterId },
  });
}

/** limit: the name of the limit that was reached. */
export function serverIsBusy(limit: string, retryAfterMs: number): TypedError {
  return typed(`the limit ${limit} is reached; try again in ${retryAfterMs} ms`, {
    $case: 'serverIsBusy',
    value: { limit, retryAfterMs },
  });
}

/** The deadline passed and certainly nothing was proposed. */
export function deadlineExceeded(): TypedError {
  return typed('the deadline passed before anything was proposed', { $case: 'deadlineExceeded', value: {} });
}

/** The write was proposed and its fate is not known. */
export function undetermined(shardId: number, leaderStoreId: number): TypedError {
  return typed(`the write to shard ${shardId} may or may not take effect`, {
    $case: 'undetermined',
    value: { shardId, leaderStoreId },
  });
}

/** reason: stable and upper case, for example KEY_EMPTY. */
export function invalidArgument(field: string, reason: string, message?: string): TypedError {
  return typed(message ?? `${field}: ${reason}`, { $case: 'invalidArgument', value: { field, reason } });
}

export function keyspaceNotFound(name: string, keyspaceId: number): TypedError {
  return typed(`no keyspace ${name === '' ? keyspaceId : JSON.stringify(name)}`, {
    $case: 'keyspaceNotFound',
    value: { name, keyspaceId },
  });
}

export function alreadyExists(resource: string): TypedError {
  return typed(`${resource} exists already`, { $case: 'alreadyExists', value: { resource } });
}

/** reason: stable and upper case, for example NOT_BOOTSTRAPPED. storeIds: the stores that are the reason. */
export function failedPrecondition(reason: string, message?: string, storeIds: readonly number[] = []): TypedError {
  return typed(message ?? reason, { $case: 'failedPrecondition', value: { reason, storeIds: [...storeIds] } });
}

/** leaderAddress empty: no leader is known. */
export function placementUnavailable(leaderAddress: string): TypedError {
  const where = leaderAddress === '' ? 'no leader is known' : `${leaderAddress} leads`;
  return typed(`this placement member cannot answer; ${where}`, {
    $case: 'placementUnavailable',
    value: { leaderAddress },
  });
}

export function sessionExpired(sessionId: number): TypedError {
  return typed(`the shard no longer remembers session ${sessionId}; the write may have been applied already`, {
    $case: 'sessionExpired',
    value: { sessionId },
  });
}

export function diskFull(storeId: number): TypedError {
  return typed(`store ${storeId} keeps its last free space; writes are refused`, {
    $case: 'diskFull',
    value: { storeId },
  });
}

export function storeNotFound(storeId: number): TypedError {
  return typed(`no store ${storeId}`, { $case: 'storeNotFound', value: { storeId } });
}

export function operatorNotFound(operatorId: number): TypedError {
  return typed(`no running operator ${operatorId}`, { $case: 'operatorNotFound', value: { operatorId } });
}
