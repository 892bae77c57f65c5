import type { Epoch, Label, Partitioning, Shard } from '../../src/gen/skerry/v1/meta.js';
import type { PlacementRules } from '../rules/placement_rules.js';

/** What people asked for a store. Whether it is connected or down is not state but observation (cluster_view.ts). */
export type StoredStoreState = 'up' | 'maintenance' | 'draining' | 'tombstone';

export interface StoreRecord {
  readonly storeId: number;
  readonly address: string;
  readonly labels: readonly Label[];
  readonly state: StoredStoreState;
  readonly version: string;
  readonly engine: string;
  /** Random, made once per data directory: finds the store's id again. */
  readonly directoryId: string;
}

/**
 *   planning ──all shards added──▶ creating ──every shard had a leader──▶ ready
 *      └──leader changed──▶ (abandoned: removed with its shards; no store has heard of them)
 */
export type KeyspacePhase = 'planning' | 'creating' | 'ready';

export interface KeyspaceRecord {
  readonly keyspaceId: number;
  readonly name: string;
  readonly partitioning: Partitioning;
  readonly replicaCount: number;
  readonly initialShards: number;
  readonly phase: KeyspacePhase;
  /** Absent: replicaCount voters, wherever balance wants them. */
  readonly rules?: PlacementRules;
}

/** A shard's descriptor as it was last accepted. The first replica listed of a new shard is its first leader. */
export interface ShardRecord extends Shard {
  startKey: Buffer;
  endKey: Buffer;
  epoch: Epoch;
}

/** What someone asked for one shard, where it differs from its keyspace: by adding or removing a replica by hand. */
export interface ShardTarget {
  readonly shardId: number;
  readonly voters: number;
  /** Stores whose learners are wanted. */
  readonly learnerStoreIds: readonly number[];
}

/** Everything that is replicated and is no row of its own. */
export interface MetaRecord {
  /** 0: not bootstrapped yet. */
  readonly clusterId: number;
  /** The next shard, replica or operator id. */
  readonly nextId: number;
  readonly nextStoreId: number;
  readonly nextKeyspaceId: number;
  /** Version of the last change of the metadata table. */
  readonly metadataVersion: number;
  /** Above the id of every placement member that there ever was. */
  readonly nextMemberId: number;
  /** Counts the changes of the members. */
  readonly membersVersion: number;
}

/** True when `a` is a later configuration than `b`: splits order first, then membership changes. */
export function epochIsNewer(a: Epoch, b: Epoch): boolean {
  return a.version > b.version || (a.version === b.version && a.confVer > b.confVer);
}

/** A descriptor that shares no memory with the frame that it came in. Null: it lacks its epoch. */
export function toShardRecord(shard: Shard): ShardRecord | null {
  if (shard.epoch === undefined) return null;
  return {
    shardId: shard.shardId,
    keyspaceId: shard.keyspaceId,
    partitioning: shard.partitioning,
    startKey: Buffer.from(shard.startKey),
    endKey: Buffer.from(shard.endKey),
    epoch: { confVer: shard.epoch.confVer, version: shard.epoch.version },
    replicas: shard.replicas.map((r) => ({ replicaId: r.replicaId, storeId: r.storeId, role: r.role })),
    // Numbers only: it shares nothing with the frame.
    merge: shard.merge,
  };
}
