import type { Engine } from '../src/engine/engine.js';
import type { MergingInto, Shard } from '../src/gen/skerry/v1/meta.js';
import type { Readiness } from '../src/multiraft/host.js';
import type { ChecksumRequest } from './checksums.js';
import type { SessionTable } from './session_table.js';
import type { ShardStateMachine } from './shard_state_machine.js';

/** What a shard asks of the store around it. */
export interface ShardHost {
  readonly storeId: number;
  readonly engine: Engine;
  /**
   * A split wants its right-hand replica on this store. False: a later replica of that shard is or was here already,
   * so the rows are dropped instead. True reserves the place until splitDone().
   */
  reserveChild(shardId: number, replicaId: number): boolean;
  /** The batch with the child's record was handed to the engine: start its peer. */
  splitDone(child: SplitChild): void;
  readonly merges: MergeHost;
  /** The descriptor, and so perhaps the range, is another one from now on. */
  descriptorChanged(machine: ShardStateMachine): void;
  leaderChanged(machine: ShardStateMachine, leaderId: number, term: number, isLeader: boolean): void;
  /** A checksum as of this entry is wanted. Called before the batch under way is handed to the engine. */
  takeChecksum(request: ChecksumRequest): void;
}

/** What a shard asks of the store when it merges (merge.ts). */
export interface MergeHost {
  /** Whether the replica of a source here has come as far as its merge needs. */
  readiness(source: Shard, into: MergingInto): Readiness;
  /** The replica of a source that is ready: from now on it is no replica any more, and its keys are the caller's. */
  takeSource(source: Shard, into: MergingInto): ShardStateMachine;
  /** The batch with the merged shard and the source's tombstone was handed to the engine: forget the source. */
  done(targetShardId: number, source: ShardStateMachine): void;
  /** Replicas here of shards that became a part of this one: the snapshot that is about to be installed has their rows. */
  takeMerged(shard: Shard): readonly ShardStateMachine[];
  /** The snapshot is installed, and with it the tombstones of what it took in. */
  installed(taken: readonly ShardStateMachine[]): void;
}

export interface SplitChild {
  readonly parentShardId: number;
  readonly shard: Shard;
  readonly replicaId: number;
  readonly sessions: SessionTable;
}
