import { inRange } from '../src/base/encoded_key.js';
import type { SplitCommand } from '../src/gen/skerry/v1/kv.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { epochOf, isJoint, sameEpoch } from './descriptor.js';

/**
 * The two shards that a split makes. The left one keeps the id and its group; the right one is
 * new, with a replica on every store that has one of the left. Both have the next version. The command's ids count; range,
 * keyspace, roles and epoch come from the shard that is split, so a wrong command cannot tear a hole.
 */
export type SplitResult =
  | { readonly kind: 'split'; readonly left: Shard; readonly right: Shard }
  | { readonly kind: 'refused'; readonly reason: 'epoch' | 'joint' | 'splitKey' | 'replicas' | 'merging' };

export function splitShard(shard: Shard, command: SplitCommand): SplitResult {
  if (!sameEpoch(shard.epoch, command.epoch)) return { kind: 'refused', reason: 'epoch' };
  if (isJoint(shard)) return { kind: 'refused', reason: 'joint' };
  if (shard.merge?.into !== undefined) return { kind: 'refused', reason: 'merging' };
  // A copy: the command is a view into its log entry, which it would pin.
  const splitKey = Buffer.from(command.splitKey);
  const inside = inRange(splitKey, shard.startKey, shard.endKey) && Buffer.compare(splitKey, shard.startKey) > 0;
  if (!inside) return { kind: 'refused', reason: 'splitKey' };
  const named = command.newShard;
  const { confVer, version } = epochOf(shard);
  const epoch = { confVer, version: version + 1 };
  const replicas = shard.replicas.map((old) => ({
    replicaId: named?.replicas.find((r) => r.storeId === old.storeId)?.replicaId ?? 0,
    storeId: old.storeId,
    role: old.role,
  }));
  const ids = new Set(replicas.map((r) => r.replicaId));
  if (named === undefined || named.shardId === 0 || ids.has(0) || ids.size !== replicas.length) {
    return { kind: 'refused', reason: 'replicas' };
  }
  return {
    kind: 'split',
    left: { ...shard, endKey: splitKey, epoch },
    right: { ...shard, shardId: named.shardId, startKey: splitKey, epoch, replicas },
  };
}
