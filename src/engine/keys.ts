/**
 * The key layout of a store's engine. The first byte says what a row is; integers are big-endian.
 *
 *   'd' ‖ keyspaceId u32 ‖ encoded key           a user's value
 *   's' ‖ shardId u64 ‖ sessionId u64            a client session of a shard
 *   'm' ‖ shardId u64                            a replica: descriptor, applied index and term, state
 *   'x' ‖ name                                   the store itself: identity, format version
 *
 * Data is keyed by keyspace, not by shard, so that a split moves no rows.
 */
const data = 0x64;
const session = 0x73;
const meta = 0x6d;
const store = 0x78;

/** The engine key of a user's value. */
export function dataKey(keyspaceId: number, encodedKey: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(5 + encodedKey.length);
  out[0] = data;
  out.writeUInt32BE(keyspaceId, 1);
  out.set(encodedKey, 5);
  return out;
}

/** True for the key of a user's value. */
export function isDataKey(key: Buffer): boolean {
  return key[0] === data;
}

/** The first engine key past every value of a keyspace. */
export function dataEnd(keyspaceId: number): Buffer {
  const out = Buffer.allocUnsafe(5);
  out[0] = data;
  out.writeUInt32BE(keyspaceId + 1, 1);
  return out;
}

/** The engine range of a shard's values; an empty endKey is the end of the keyspace. */
export function dataRange(
  keyspaceId: number,
  startKey: Uint8Array,
  endKey: Uint8Array,
): { start: Buffer; end: Buffer } {
  return {
    start: dataKey(keyspaceId, startKey),
    end: endKey.length === 0 ? dataEnd(keyspaceId) : dataKey(keyspaceId, endKey),
  };
}

/** The encoded key inside a data key (a view). */
export function encodedKeyOf(dataKeyBytes: Buffer): Buffer {
  return dataKeyBytes.subarray(5);
}

function withU64(prefix: number, id: number): Buffer {
  const out = Buffer.allocUnsafe(9);
  out[0] = prefix;
  out.writeBigUInt64BE(BigInt(id), 1);
  return out;
}

/** The engine key of a replica's own record. */
export function replicaKey(shardId: number): Buffer {
  return withU64(meta, shardId);
}

/** The range of all replica records. */
export function replicaRange(): { start: Buffer; end: Buffer } {
  return { start: Buffer.from([meta]), end: Buffer.from([meta + 1]) };
}

/** The shard id of a replica key. */
export function shardIdOfReplicaKey(key: Buffer): number {
  return Number(key.readBigUInt64BE(1));
}

/** The engine key of one session of a shard. */
export function sessionKey(shardId: number, sessionId: number): Buffer {
  const out = Buffer.allocUnsafe(17);
  out[0] = session;
  out.writeBigUInt64BE(BigInt(shardId), 1);
  out.writeBigUInt64BE(BigInt(sessionId), 9);
  return out;
}

/** The range of all sessions of a shard. */
export function sessionRange(shardId: number): { start: Buffer; end: Buffer } {
  return { start: withU64(session, shardId), end: withU64(session, shardId + 1) };
}

/** The session id of a session key. */
export function sessionIdOfKey(key: Buffer): number {
  return Number(key.readBigUInt64BE(9));
}

/** The engine key of a record of the store itself. */
export function storeKey(name: string): Buffer {
  return Buffer.concat([Buffer.from([store]), Buffer.from(name, 'utf8')]);
}
