import {
  commandBytesMax,
  commandOpsMax,
  keyBytesMax,
  scanRowsDefault,
  scanRowsMax,
  valueBytesMax,
} from '../src/base/limits.js';
import type { TypedError } from '../src/base/wire_errors.js';
import { invalidArgument, keyNotInShard } from '../src/base/wire_errors.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import type { ScanOp, WriteCommand } from '../src/wire/kv_codec.js';
import type { ShardKeys } from './shard_keys.js';

/** Key range first, then sizes; null: nothing wrong. What is found here can never succeed, or only elsewhere. */
export function checkWrite(shard: Shard, keys: ShardKeys, command: WriteCommand, bodyBytes: number): TypedError | null {
  const { mutations } = command;
  if (mutations.length === 0) return invalidArgument('mutations', 'BATCH_EMPTY', 'a write needs at least one mutation');
  for (const { key } of mutations) {
    if (!keys.contains(keys.engineKey(key))) return keyNotInShard(shard, key);
  }
  for (const mutation of mutations) {
    const wrongKey = checkKey(mutation.key);
    if (wrongKey !== null) return wrongKey;
    if (mutation.kind !== 'delete' && (mutation.value?.length ?? 0) > valueBytesMax) return valueTooLarge('value');
    if (mutation.kind === 'swap' && (mutation.expected?.length ?? 0) > valueBytesMax) return valueTooLarge('expected');
  }
  if (mutations.length > commandOpsMax) {
    return invalidArgument('mutations', 'BATCH_TOO_LARGE', `a write has at most ${commandOpsMax} mutations`);
  }
  if (bodyBytes > commandBytesMax) {
    return invalidArgument('mutations', 'BATCH_TOO_LARGE', `a write has at most ${commandBytesMax} bytes`);
  }
  return null;
}

/** The engine keys of a read, or what is wrong with it. */
export function checkKeys(
  shard: Shard,
  keys: ShardKeys,
  userKeys: readonly Buffer[],
): { readonly engineKeys: Buffer[] } | { readonly error: TypedError } {
  const engineKeys: Buffer[] = [];
  for (const userKey of userKeys) {
    const engineKey = keys.engineKey(userKey);
    if (!keys.contains(engineKey)) return { error: keyNotInShard(shard, userKey) };
    engineKeys.push(engineKey);
  }
  for (const userKey of userKeys) {
    const error = checkKey(userKey);
    if (error !== null) return { error };
  }
  if (userKeys.length > commandOpsMax) {
    return { error: invalidArgument('keys', 'BATCH_TOO_LARGE', `at most ${commandOpsMax} keys`) };
  }
  return { engineKeys };
}

function checkKey(key: Buffer): TypedError | null {
  if (key.length === 0) return invalidArgument('key', 'KEY_EMPTY', 'a key has at least one byte');
  if (key.length > keyBytesMax)
    return invalidArgument('key', 'KEY_TOO_LARGE', `a key has at most ${keyBytesMax} bytes`);
  return null;
}

function valueTooLarge(field: string): TypedError {
  return invalidArgument(field, 'VALUE_TOO_LARGE', `a value has at most ${valueBytesMax} bytes`);
}

/** Rows that a page holds: what the caller wants, up to the limit. */
export function scanLimit(scan: ScanOp): number {
  return scan.limit === 0 ? scanRowsDefault : Math.min(scan.limit, scanRowsMax);
}
