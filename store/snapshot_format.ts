import type { LoadTarget } from '../src/engine/engine.js';
import { dataKey, dataRange, sessionRange } from '../src/engine/keys.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';

/**
 * The bytes of a shard's snapshot, version 1: packed rows (src/engine/packed_rows.ts) of two tags, sessions first, and the
 * closing count.
 *
 *   session   key = session id u64, value = SessionRecord
 *   data      key = encoded key, value = user's value
 */
export const snapshotFormatVersion = 1;

export const RowTag = Object.freeze({ session: 1, data: 2 } as const);

/** Bytes that are no snapshot of a version that this one reads. */
export class SnapshotFormatError extends Error {
  override readonly name = 'SnapshotFormatError';
}

/** Where the rows of a shard's snapshot belong in an engine; read the other way round, where they come from. */
export function snapshotTargets(shard: Shard): readonly LoadTarget[] {
  const sessions = sessionRange(shard.shardId);
  return [
    { tag: RowTag.session, prefix: sessions.start, ...sessions, keyBytes: 8 },
    {
      tag: RowTag.data,
      prefix: dataKey(shard.keyspaceId, Buffer.alloc(0)),
      ...dataRange(shard.keyspaceId, shard.startKey, shard.endKey),
    },
  ];
}
