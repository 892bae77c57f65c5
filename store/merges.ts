import { assert } from '../src/base/assert.js';
import type { Engine } from '../src/engine/engine.js';
import type { MergingInto, Shard } from '../src/gen/skerry/v1/meta.js';
import type { Group, Readiness } from '../src/multiraft/host.js';
import { replicaOn } from './descriptor.js';
import { fateOf, hasMerged, mergedOf } from './merge.js';
import type { MergeHost } from './shard_host.js';
import type { ShardStateMachine } from './shard_state_machine.js';

/** What a store has of a shard. machine: null for one that is arriving, being made, or gone. */
export interface HeldState {
  readonly kind: 'running' | 'arriving' | 'reserved' | 'quarantined' | 'tombstone';
  readonly replicaId: number;
  readonly machine: ShardStateMachine | null;
}

/** What merges need of the store's replicas. */
export interface MergeReplicas {
  readonly storeId: number;
  readonly engine: Engine;
  held(shardId: number): HeldState | undefined;
  machine(shardId: number): ShardStateMachine | undefined;
  machines(): IterableIterator<ShardStateMachine>;
  group(shardId: number): Group | undefined;
  takeOut(machine: ShardStateMachine): void;
  forget(machine: ShardStateMachine): Promise<void>;
  fail(error: unknown): void;
}

/** The side of a store on which sources and targets of merges meet (merge.ts). */
export class Merges implements MergeHost {
  private readonly replicas: MergeReplicas;
  /** Shards that wait to become a part of a neighbour. */
  private readonly waiting = new Set<number>();

  constructor(replicas: MergeReplicas) {
    this.replicas = replicas;
  }

  /** The descriptor of a replica is another one, or the replica is new or gone. */
  noted(machine: ShardStateMachine): void {
    if (machine.isMerging && machine.phase !== 'removed') this.waiting.add(machine.shardId);
    else this.waiting.delete(machine.shardId);
  }

  sources(): ShardStateMachine[] {
    return [...this.waiting].flatMap((shardId) => this.replicas.machine(shardId) ?? []);
  }

  /**
   * A state of a shard that may have taken another one in: its own, or, when it is not here because a further shard took
   * it in, that one's.
   */
  stateOfTarget(shardId: number): Shard | undefined {
    const machine = this.replicas.machine(shardId);
    if (machine !== undefined) return machine.phase === 'normal' ? machine.shard : undefined;
    for (const other of this.replicas.machines()) {
      if (other.phase === 'normal' && hasMerged(other.shard, shardId)) return other.shard;
    }
    return undefined;
  }

  /** The shard waits for a target here that has not decided: what it holds must stay as it is. */
  awaitsTarget(shardId: number): boolean {
    const machine = this.replicas.machine(shardId);
    const into = machine?.phase === 'normal' ? machine.shard.merge?.into : undefined;
    const target = into === undefined ? undefined : this.stateOfTarget(into.shardId);
    return into !== undefined && target !== undefined && fateOf(shardId, into, target) === 'open';
  }

  /** Another replica here ends when the snapshot of a shard that took it in is installed. */
  maySwallow(shard: Shard, otherId: number): boolean {
    return hasMerged(shard, otherId) && this.replicas.held(otherId)?.machine?.phase !== 'installing';
  }

  readiness(source: Shard, into: MergingInto): Readiness {
    const own = replicaOn(source, this.replicas.storeId);
    const held = this.replicas.held(source.shardId);
    if (own === undefined || held?.replicaId !== own.replicaId) return 'never';
    if (held.kind === 'reserved') return 'later';
    const { machine } = held;
    if (machine === null || machine.phase === 'removed' || machine.phase === 'uninitialized') return 'never';
    if (machine.phase !== 'installing' && machine.applied.index >= into.index) return 'alone';
    if (held.kind === 'quarantined') return 'never';
    this.replicas.group(source.shardId)?.learnCommit(into.index, into.term);
    return 'later';
  }

  takeSource(source: Shard, into: MergingInto): ShardStateMachine {
    const machine = this.replicas.held(source.shardId)?.machine ?? null;
    const waits = machine?.phase === 'normal' && machine.shard.merge?.into?.index === into.index;
    assert(machine !== null && waits, `INV-46: shard ${source.shardId} waits here until its target takes it in`);
    this.replicas.takeOut(machine);
    return machine;
  }

  done(targetShardId: number, source: ShardStateMachine): void {
    // What the target serves has changed.
    this.replicas.group(targetShardId)?.voidLease();
    const bury = async (): Promise<void> => {
      await this.replicas.engine.sync();
      await this.replicas.forget(source);
    };
    bury().catch((error: unknown) => this.replicas.fail(error));
  }

  takeMerged(shard: Shard): readonly ShardStateMachine[] {
    const taken: ShardStateMachine[] = [];
    for (const { shardId } of mergedOf(shard)) {
      const machine = this.replicas.held(shardId)?.machine ?? null;
      if (machine === null || (machine.phase !== 'normal' && machine.phase !== 'leaving')) continue;
      this.replicas.takeOut(machine);
      taken.push(machine);
    }
    return taken;
  }

  installed(taken: readonly ShardStateMachine[]): void {
    Promise.all(taken.map((machine) => this.replicas.forget(machine))).catch((error: unknown) =>
      this.replicas.fail(error),
    );
  }
}
