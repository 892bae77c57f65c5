import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { SurveyedReplica } from '../../src/gen/skerry/v1/placement.js';
import { recoveryJump } from '../limits.js';
import type { ClusterState } from '../state/cluster_state.js';
import type { RecoveryRecord } from '../state/recovery_table.js';
import type { ShardRecord } from '../state/records.js';
import { epochIsNewer, toShardRecord } from '../state/records.js';

/**
 * Which shards lost the majority of their voters with some stores, and from which replica each can go on (`skerry recover`).
 *
 * Of the replicas left the one whose log ends last is chosen, by (term, index) of its last entry: that is who would have won an election
 * among them (Raft §5.4.1), and it has every entry that any of them has and that was committed. What was acknowledged with the
 * lost voters alone is gone; how much that is can not be known, only a lower bound from what the last leader told.
 *
 * Left alone, and said so: a shard of which no usable replica is left; one whose replica has not seen a split or merge that placement knows of, because
 * its range is now another shard's too; one in the middle of a merge, whose other half would never learn; and one whose
 * range overlaps another shard's for any other reason.
 */
export interface PlanFacts {
  readonly state: ClusterState;
  readonly deadStoreIds: ReadonlySet<number>;
  readonly replicas: readonly HeldReplica[];
  /** It has a leader that can be reached. */
  readonly isLed: (shardId: number) => boolean;
  /** The last term and index that a leader of the shard told of itself; 0: none did. */
  readonly lastKnown: (shardId: number) => { readonly term: number; readonly index: number };
}

/** A replica that a living store has. */
export interface HeldReplica {
  readonly storeId: number;
  readonly replica: SurveyedReplica;
}

export interface ShardRecovery {
  readonly record: RecoveryRecord;
  /** As the chosen replica has applied it. */
  readonly shard: ShardRecord;
  readonly lastTerm: number;
  readonly lastIndex: number;
  readonly appliedIndex: number;
  readonly missingEntriesMin: number;
  readonly voters: number;
  readonly votersLeft: number;
}

export interface Unrecoverable {
  readonly shardId: number;
  readonly keyspaceId: number;
  readonly reason: string;
}

export interface RecoveryPlan {
  readonly recoveries: readonly ShardRecovery[];
  readonly unrecoverable: readonly Unrecoverable[];
}

/** By shard id. Shards that are led, that have their majority, or that are being recovered already are not in it. */
export function planRecovery(facts: PlanFacts): RecoveryPlan {
  const { state, deadStoreIds } = facts;
  const held = heldByShard(facts);
  const ids = new Set(held.keys());
  for (const storeId of deadStoreIds) for (const shardId of state.shardIdsOn(storeId)) ids.add(shardId);
  const found = [...ids].sort((a, b) => a - b).flatMap((id) => planShard(facts, id, held.get(id) ?? []) ?? []);
  const chosen = new Map(found.flatMap((f) => ('record' in f ? [[f.shard.shardId, f]] : [])));
  const recoveries: ShardRecovery[] = [];
  const unrecoverable: Unrecoverable[] = [];
  for (const finding of found) {
    if (!('record' in finding)) {
      unrecoverable.push(finding);
      continue;
    }
    const { shardId, keyspaceId } = finding.shard;
    const other = overlapping(state, finding.shard, chosen);
    if (other === null) recoveries.push(finding);
    else unrecoverable.push({ shardId, keyspaceId, reason: `its keys are those of shard ${other}, too` });
  }
  return { recoveries, unrecoverable: unrecoverable.sort((a, b) => a.shardId - b.shardId) };
}

function heldByShard({ replicas, deadStoreIds }: PlanFacts): Map<number, HeldReplica[]> {
  const held = new Map<number, HeldReplica[]>();
  for (const one of replicas) {
    const shardId = one.replica.shard?.shardId ?? 0;
    if (shardId === 0 || deadStoreIds.has(one.storeId)) continue;
    const known = held.get(shardId);
    if (known === undefined) held.set(shardId, [one]);
    else known.push(one);
  }
  return held;
}

/** Null: nothing is to be done about the shard. */
function planShard(
  facts: PlanFacts,
  shardId: number,
  held: readonly HeldReplica[],
): ShardRecovery | Unrecoverable | null {
  const { state, deadStoreIds } = facts;
  const record = state.shard(shardId);
  if (facts.isLed(shardId) || (record === undefined && state.holderOf(shardId) !== undefined)) return null;
  const before = state.recoveries.get(shardId);
  if (before !== undefined && !deadStoreIds.has(before.storeId)) return null;
  const usable = held.filter(({ replica }) => !replica.unusable && (replica.shard?.epoch?.version ?? 0) > 0);
  const latest = latestOf(record, usable);
  if (latest === null) return null;
  const unusable = new Set(held.flatMap(({ replica }) => (replica.unusable ? [replica.replicaId] : [])));
  const isLeft = (r: Shard['replicas'][number]): boolean =>
    !deadStoreIds.has(r.storeId) && !unusable.has(r.replicaId) && state.store(r.storeId)?.state !== 'tombstone';
  if (hasMajority(latest, isLeft)) return null;
  const best = [...usable].sort(newestFirst)[0];
  const refuse = (reason: string): Unrecoverable => ({ shardId, keyspaceId: latest.keyspaceId, reason });
  const shard = best?.replica.shard === undefined ? null : toShardRecord(best.replica.shard);
  if (best === undefined || shard === null) return refuse('no usable replica of it is left');
  if (record !== undefined && record.epoch.version > shard.epoch.version) {
    return refuse(`the replica on store ${best.storeId} has not seen a split or a merge of it`);
  }
  if ((shard.merge ?? record?.merge)?.into !== undefined) return refuse('a merge of it was under way');
  return recoveryOf(facts, shard, best, latest, isLeft, held);
}

function recoveryOf(
  { state, lastKnown }: PlanFacts,
  shard: ShardRecord,
  { storeId, replica }: HeldReplica,
  latest: ShardRecord,
  isLeft: (r: Shard['replicas'][number]) => boolean,
  held: readonly HeldReplica[],
): ShardRecovery {
  const { shardId } = shard;
  const { replicaId, lastTerm, lastIndex, appliedIndex } = replica;
  const known = lastKnown(shardId);
  const before = state.recoveries.get(shardId);
  const confVer = Math.max(latest.epoch.confVer, before?.epoch.confVer ?? 0) + recoveryJump;
  const term = Math.max(known.term, before?.term ?? 0, ...held.map((h) => h.replica.term)) + recoveryJump;
  const voters = latest.replicas.filter((r) => r.role !== ReplicaRole.LEARNER);
  return {
    record: { shardId, replicaId, storeId, epoch: { confVer, version: shard.epoch.version }, term },
    shard,
    lastTerm,
    lastIndex,
    appliedIndex,
    missingEntriesMin: Math.max(0, known.index - lastIndex),
    voters: voters.length,
    votersLeft: voters.filter(isLeft).length,
  };
}

/** The newest configuration that placement or any of the replicas knows. */
function latestOf(record: ShardRecord | undefined, usable: readonly HeldReplica[]): ShardRecord | null {
  let latest = record ?? null;
  for (const { replica } of usable) {
    const shard = replica.shard === undefined ? null : toShardRecord(replica.shard);
    if (shard !== null && (latest === null || epochIsNewer(shard.epoch, latest.epoch))) latest = shard;
  }
  return latest;
}

/** In a joint configuration both halves need theirs. */
function hasMajority({ replicas }: ShardRecord, isLeft: (r: Shard['replicas'][number]) => boolean): boolean {
  const { VOTER, INCOMING_VOTER, OUTGOING_VOTER, DEMOTING_VOTER } = ReplicaRole;
  const halves = [
    [VOTER, INCOMING_VOTER],
    [VOTER, OUTGOING_VOTER, DEMOTING_VOTER],
  ] as const;
  return halves.every((roles) => {
    const voters = replicas.filter((r) => roles.some((role) => role === r.role));
    return voters.length === 0 || 2 * voters.filter(isLeft).length > voters.length;
  });
}

/** By the end of the log; of equal ones the first replica. */
function newestFirst({ replica: a }: HeldReplica, { replica: b }: HeldReplica): number {
  return b.lastTerm - a.lastTerm || b.lastIndex - a.lastIndex || a.replicaId - b.replicaId;
}

/** Another shard that has some of these keys, as it will be after the plan; null: none. */
function overlapping(
  state: ClusterState,
  { shardId, keyspaceId, startKey, endKey }: ShardRecord,
  chosen: ReadonlyMap<number, ShardRecovery>,
): number | null {
  const meets = (other: ShardRecord): boolean =>
    other.shardId !== shardId &&
    other.keyspaceId === keyspaceId &&
    (endKey.length === 0 || Buffer.compare(other.startKey, endKey) < 0) &&
    (other.endKey.length === 0 || Buffer.compare(startKey, other.endKey) < 0);
  for (const known of state.shardsIn(keyspaceId, startKey, endKey)) {
    if (meets(chosen.get(known.shardId)?.shard ?? known)) return known.shardId;
  }
  for (const { shard } of chosen.values()) {
    // Those that placement knows were looked at above.
    if (state.shard(shard.shardId) === undefined && meets(shard)) return shard.shardId;
  }
  return null;
}
