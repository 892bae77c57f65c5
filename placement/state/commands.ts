import type { TypedError } from '../../src/base/wire_errors.js';
import type { Label, Partitioning, Shard } from '../../src/gen/skerry/v1/meta.js';
import type { PlacementRules } from '../rules/placement_rules.js';
import type { Verdict } from '../scrub/verdict.js';
import type { OperatorRecord } from './operator_records.js';
import type { ShardTarget, StoredStoreState } from './records.js';
import type { RecoveryRecord } from './recovery_table.js';

/** What goes through the placement group's log. Deterministic: every id that a command makes comes from the state's counters. */
export type PlacementCommand =
  /** Names the cluster, if it has no name yet. Result: its id. */
  | { readonly kind: 'bootstrap'; readonly clusterId: number }
  /** storeId 0 asks for an id; a known directory gets its old one. Result: the store id. */
  | {
      readonly kind: 'registerStore';
      readonly storeId: number;
      readonly address: string;
      readonly labels: readonly Label[];
      readonly version: string;
      readonly engine: string;
      readonly directoryId: string;
    }
  /** Result: the store id. */
  | { readonly kind: 'setStoreState'; readonly storeId: number; readonly state: StoredStoreState }
  /** Makes a keyspace in phase planning. Result: its id. */
  | {
      readonly kind: 'createKeyspace';
      readonly name: string;
      readonly partitioning: Partitioning;
      readonly replicaCount: number;
      readonly initialShards: number;
      /** Absent: replicaCount voters, wherever balance wants them. */
      readonly rules?: PlacementRules;
    }
  /** Adds shards in key order; the last one ends the planning. Result: shards so far. */
  | { readonly kind: 'addShards'; readonly keyspaceId: number; readonly shards: readonly ShardPlan[] }
  /** Removes a keyspace that is still being planned. Result: its id. */
  | { readonly kind: 'abandonKeyspace'; readonly keyspaceId: number }
  /** Result: the keyspace id. */
  | { readonly kind: 'markKeyspaceReady'; readonly keyspaceId: number }
  /** What the keyspace wants of its replicas from now on; the number of voters is one of it. Result: the keyspace id. */
  | { readonly kind: 'setKeyspaceRules'; readonly keyspaceId: number; readonly rules: PlacementRules }
  /** Takes each descriptor whose epoch is newer, and new shards (children of a split). Result: descriptors taken. */
  | { readonly kind: 'updateShards'; readonly shards: readonly Shard[] }
  /** Result: the first of `count` ids. */
  | { readonly kind: 'allocateIds'; readonly count: number }
  /** voters 0 takes the target back. Result: the shard id. */
  | {
      readonly kind: 'setShardTarget';
      readonly shardId: number;
      readonly voters: number;
      readonly learnerStoreIds: readonly number[];
    }
  /**
   * Keeps an operator that someone asked for, with what the shard should have from now on (voters 0: as its keyspace; null: as
   * before). Result: its id.
   */
  | {
      readonly kind: 'startOperator';
      readonly operator: OperatorRecord;
      readonly target: Pick<ShardTarget, 'voters' | 'learnerStoreIds'> | null;
    }
  /** How far operators are, and which ended; one that ended without success takes its target back. Result: records taken. */
  | { readonly kind: 'recordOperators'; readonly operators: readonly OperatorRecord[] }
  /** What comparisons of replicas found; null: they are equal again. Result: findings taken. */
  | {
      readonly kind: 'recordFindings';
      readonly findings: readonly { readonly shardId: number; readonly verdict: Verdict | null }[];
    }
  /** Stores that are gone for good, whatever they held: they can not come back. Result: stores. */
  | { readonly kind: 'buryStores'; readonly storeIds: readonly number[] }
  /** Shards that lost their majority go on from one replica; an earlier choice stays while its store is there. Result: choices taken. */
  | { readonly kind: 'recoverShards'; readonly shards: readonly RecoveryRecord[] }
  /** ifVersion: only if the entry has this version (0: only if there is none). Result: the entry's version. */
  | {
      readonly kind: 'setMetadata';
      readonly key: string;
      readonly value: Buffer;
      readonly ifVersion: number | undefined;
    }
  /** Result: 1 if there was an entry, else 0. */
  | { readonly kind: 'deleteMetadata'; readonly key: string; readonly ifVersion: number | undefined }
  /** Records a placement member, or its new address; memberId 0: a new one. Result: its id. */
  | { readonly kind: 'putMember'; readonly memberId: number; readonly address: string }
  /** Asks a placement member to leave. Result: its id. */
  | { readonly kind: 'removeMember'; readonly memberId: number }
  /** A leaving member is out of the group for good. Result: its id. */
  | { readonly kind: 'forgetMember'; readonly memberId: number };

/** A new shard; the first store is the one whose replica leads first. */
export interface ShardPlan {
  readonly startKey: Buffer;
  readonly endKey: Buffer;
  readonly storeIds: readonly number[];
}

/** What a command came to. The meaning of value is said beside each command. */
export type CommandOutcome =
  { readonly ok: true; readonly value: number } | { readonly ok: false; readonly error: TypedError };
