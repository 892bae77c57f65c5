import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import type { ShardStatus } from '../cluster_view.js';
import { replicaOn } from '../operators/step.js';
import type { ShardSizes } from '../shard_sizes.js';
import type { ShardRecord } from '../state/records.js';
import type { CheckResult, Checker } from './check_result.js';
import { repair, sound } from './check_result.js';

const kind = 'split-shard';
/** The store finds the key: near the middle. */
const nearTheMiddle = Buffer.alloc(0);
/** Encoded tokens of one slot; a shard of a hash keyspace has whole slots. */
const tokensPerSlot = 4;

/** Splits a shard that has grown too large, by bytes or by keys, or that bears too much load. */
export const splitChecker: Checker = {
  name: 'split',
  check({ view, operators, sizes }, shard): CheckResult {
    const status = view.status(shard.shardId);
    const reason = status === undefined ? null : excessOf(status, sizes);
    if (reason === null || slotsOf(shard) < 2) return sound;
    const wants = { kind, reason };
    const hindrance = operators.reshapeHindrance(shard.shardId, view.nowMs);
    if (hindrance !== null) return { kind: 'resting', wants, hindrance };
    // Each store must make its half: one that cannot be reached would come back to a shard that it does not know.
    if (!view.isHealthy(shard)) return { kind: 'resting', wants, hindrance: { kind: 'unhealthy' } };
    const leader = replicaOn(shard, view.leaderOf(shard.shardId)?.leaderStoreId ?? 0);
    if (leader === undefined) return { kind: 'resting', wants, hindrance: { kind: 'noLeader' } };
    return repair(shard, kind, reason, [
      {
        kind: 'splitShard',
        splitKey: nearTheMiddle,
        newShardId: 0,
        newReplicaIds: shard.replicas.map(() => 0),
        version: shard.epoch.version,
      },
    ]);
  },
};

/** Which limit the shard is past; null: none. */
function excessOf(status: ShardStatus, { splitBytes, splitKeys, splitWork }: ShardSizes): string | null {
  const { approximateBytes, approximateKeys, readsPerS, writesPerS } = status;
  if (splitBytes > 0 && approximateBytes > splitBytes) return `${approximateBytes} bytes, above ${splitBytes}`;
  if (splitKeys > 0 && approximateKeys > splitKeys) return `${approximateKeys} keys, above ${splitKeys}`;
  const work = readsPerS + writesPerS;
  if (splitWork > 0 && work > splitWork) return `${Math.round(work)} operations per second, above ${splitWork}`;
  return null;
}

/** Parts that the shard can be cut into; Infinity where keys are in order. */
function slotsOf(shard: ShardRecord): number {
  if (shard.partitioning !== Partitioning.HASH) return Infinity;
  const token = (key: Buffer, open: number): number => (key.length === 0 ? open : ((key[0] ?? 0) << 8) | (key[1] ?? 0));
  return (token(shard.endKey, 1 << 16) - token(shard.startKey, 0)) / tokensPerSlot;
}
