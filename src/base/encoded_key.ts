import { tokenOf } from './slot.js';

/** How a keyspace maps user keys to encoded keys; the numbers are those of meta.proto. */
export const partitioningHash = 1;
export const partitioningRange = 2;

/** Bytes of the token in front of the user key in a hash keyspace. */
export const tokenBytes = 2;

/** The encoded key of a user key: token ‖ key for hash keyspaces, the key itself (not copied) for range. */
export function encodeKey(partitioning: number, userKey: Buffer): Buffer {
  if (partitioning !== partitioningHash) return userKey;
  const out = Buffer.allocUnsafe(tokenBytes + userKey.length);
  out.writeUInt16BE(tokenOf(userKey), 0);
  userKey.copy(out, tokenBytes);
  return out;
}

/** The user key inside an encoded key (a view, not a copy). */
export function decodeKey(partitioning: number, encoded: Buffer): Buffer {
  return partitioning === partitioningHash ? encoded.subarray(tokenBytes) : encoded;
}

/** True when start <= key < end; an empty end is the end of the keyspace. */
export function inRange(key: Uint8Array, start: Uint8Array, end: Uint8Array): boolean {
  return Buffer.compare(key, start) >= 0 && (end.length === 0 || Buffer.compare(key, end) < 0);
}

/** True when [aStart, aEnd) and [bStart, bEnd) share a key; empty ends are open. */
export function rangesOverlap(aStart: Uint8Array, aEnd: Uint8Array, bStart: Uint8Array, bEnd: Uint8Array): boolean {
  const aBeforeB = aEnd.length !== 0 && Buffer.compare(aEnd, bStart) <= 0;
  const bBeforeA = bEnd.length !== 0 && Buffer.compare(bEnd, aStart) <= 0;
  return !aBeforeB && !bBeforeA;
}

/** The start keys of n equal hash shards, the first one empty. */
export function hashSplitKeys(shards: number): Buffer[] {
  const keys: Buffer[] = [];
  for (let i = 0; i < shards; i++) {
    const key = Buffer.alloc(i === 0 ? 0 : tokenBytes);
    // Boundaries fall on whole slots: a slot is four tokens.
    if (i > 0) key.writeUInt16BE(Math.floor((i * 16_384) / shards) * 4, 0);
    keys.push(key);
  }
  return keys;
}
