import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { AdminCommand } from '../src/gen/skerry/v1/kv.js';
import type { MergingInto } from '../src/gen/skerry/v1/meta.js';
import { heirOf } from '../src/multiraft/heir.js';
import type { Group, MultiRaft, ProposalOutcome } from '../src/multiraft/host.js';
import { replicaOn, sameEpoch } from './descriptor.js';
import { mergeBlindMs, mergeLookMs, mergePatienceMs } from './limits.js';
import { fateOf } from './merge.js';
import { proposeAdmin } from './propose_admin.js';
import type { Replicas } from './replicas.js';
import type { ShardStateMachine } from './shard_state_machine.js';

/**
 * Ends the merges that have begun, from the store on which the source leads (merge.ts). What to do follows from what this
 * store has applied, so that any store can go on with it:
 *
 *   the target can not take it in any more           RollbackMerge, to the source
 *   the target leads elsewhere                       hand the source's leadership over to that store, or, if the source's replica
 *                                                    there can not lead, ask for the target's
 *   every replica of the source has its last entry   CommitMerge, to the target
 *   it takes too long, or placement wants it back    ForbidMerge, to the target
 *   there is no target here to look at               hand the source's leadership over
 *
 * Only the target's log can rule a merge out, so one that has lost its majority leaves the source waiting until it is back, or
 * was made to go on without it (replica_recovery.ts). That placement wants a merge back is known to the leader alone that was told:
 * placement tells the next one.
 */
export interface MergeDriverOptions {
  readonly replicas: Replicas;
  readonly multi: Pick<MultiRaft, 'retryHeld'>;
  readonly runtime: Runtime;
  readonly logger: Logger;
}

/** A source that leads here. */
interface Watched {
  readonly machine: ShardStateMachine;
  /** Log index at which it began. */
  readonly index: number;
  readonly sinceMs: number;
  /** Since when it is to be taken back; null: it goes ahead. */
  unwantedSinceMs: number | null;
  /** A proposal is on its way. */
  proposing: boolean;
  transferredAtMs: number;
}

export class MergeDriver {
  private readonly options: MergeDriverOptions;
  private readonly watched = new Map<number, Watched>();
  private timer: TimerHandle | null = null;

  constructor(options: MergeDriverOptions) {
    this.options = options;
  }

  start(): void {
    this.timer = this.options.runtime.every(mergeLookMs, () => this.look());
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** The merge that a shard led here waits for is to be ruled out, unless the target has taken the shard in by then. */
  takeBack(machine: ShardStateMachine): void {
    const into = machine.shard.merge?.into;
    if (into === undefined) return;
    this.watch(machine, into).unwantedSinceMs ??= this.options.runtime.nowMs();
    this.look();
  }

  private look(): void {
    const { replicas } = this.options;
    this.options.multi.retryHeld();
    for (const [shardId, { machine }] of this.watched) {
      if (!machine.isMerging || replicas.group(shardId)?.isLeader() !== true) this.watched.delete(shardId);
    }
    for (const machine of replicas.merges.sources()) {
      const group = replicas.group(machine.shardId);
      const into = machine.shard.merge?.into;
      if (into === undefined || machine.phase !== 'normal' || group?.isLeader() !== true) continue;
      this.drive(this.watch(machine, into), into, group);
    }
  }

  private watch(machine: ShardStateMachine, { index }: MergingInto): Watched {
    const known = this.watched.get(machine.shardId);
    if (known?.machine === machine && known.index === index) return known;
    const sinceMs = this.options.runtime.nowMs();
    const fresh = { machine, index, sinceMs, unwantedSinceMs: null, proposing: false, transferredAtMs: -Infinity };
    this.watched.set(machine.shardId, fresh);
    return fresh;
  }

  private drive(source: Watched, into: MergingInto, group: Group): void {
    if (source.proposing) return;
    const { machine } = source;
    const { replicas, logger } = this.options;
    const target = replicas.merges.stateOfTarget(into.shardId);
    const fate = target === undefined ? 'unseen' : fateOf(machine.shardId, into, target);
    switch (fate) {
      case 'ruledOut':
        logger.info({ shardId: machine.shardId, into: into.shardId }, 'a merge is taken back');
        this.propose(source, group, { $case: 'rollbackMerge', value: { epoch: machine.shard.epoch } });
        return;
      case 'open':
        this.push(source, into, group);
        return;
      case 'unseen':
      // The store is about to be told that this replica is gone; or only another one remembers what became of it.
      case 'merged':
      case 'forgotten':
        if (this.ageMs(source) > mergeBlindMs) this.handOver(source, group, heirOf(group.status()));
    }
  }

  /** The target has the epoch that the merge is for, or is behind. */
  private push(source: Watched, into: MergingInto, group: Group): void {
    const { replicas } = this.options;
    const { machine } = source;
    const target = replicas.machine(into.shardId);
    const targetGroup = replicas.group(into.shardId);
    if (target === undefined || targetGroup === undefined) return;
    const { progress } = group.status();
    const hasLastEntry = ({ replicaId }: { replicaId: number }): boolean =>
      progress.some((p) => p.replicaId === replicaId && p.match >= into.index);
    if (!targetGroup.isLeader()) {
      const storeId = target.hostOf(targetGroup.leaderId());
      const there = replicaOn(machine.shard, storeId);
      if (there === undefined || storeId === replicas.storeId) return;
      if (hasLastEntry(there) && this.mayLeadElsewhere(source)) this.handOver(source, group, there.replicaId);
      else this.handOver(source, targetGroup, target.replicaId);
      return;
    }
    if (!sameEpoch(target.shard.epoch, into.epoch)) return;
    const missing = !machine.shard.replicas.every(hasLastEntry);
    if (source.unwantedSinceMs !== null) {
      this.options.logger.info({ shardId: machine.shardId }, 'a merge is ruled out: placement wants it back');
      this.propose(source, targetGroup, { $case: 'forbidMerge', value: { epoch: into.epoch } });
    } else if (!missing) {
      this.propose(source, targetGroup, { $case: 'commitMerge', value: { source: machine.shard } });
    } else if (this.ageMs(source) > mergePatienceMs) {
      this.options.logger.warn({ shardId: machine.shardId }, 'a merge takes too long: not every replica answers');
      this.propose(source, targetGroup, { $case: 'forbidMerge', value: { epoch: into.epoch } });
    }
  }

  /**
   * One that is behind, or lost its log, does not become leader; then it is for this store to rule the merge out. So it is, at first,
   * when the merge is unwanted: the next leader would carry it through before placement has told it.
   */
  private mayLeadElsewhere(source: Watched): boolean {
    const { unwantedSinceMs } = source;
    if (unwantedSinceMs === null) return this.ageMs(source) <= 2 * mergePatienceMs;
    return this.options.runtime.nowMs() - unwantedSinceMs > 2 * mergePatienceMs;
  }

  private propose(source: Watched, group: Group, command: NonNullable<AdminCommand['command']>): void {
    source.proposing = true;
    const { shardId } = source.machine;
    proposeAdmin(group, command, (outcome: ProposalOutcome) => {
      // Whatever came of it shows in the descriptors; the next look begins with them.
      source.proposing = false;
      const { status } = outcome;
      this.options.logger.debug({ shardId, kind: command.$case, status }, 'a step of a merge');
    });
  }

  private handOver(source: Watched, group: Group, toReplicaId: number | null): void {
    const nowMs = this.options.runtime.nowMs();
    if (toReplicaId === null || nowMs - source.transferredAtMs < mergeBlindMs) return;
    source.transferredAtMs = nowMs;
    group.transferLeader(toReplicaId);
  }

  private ageMs(source: Watched): number {
    return this.options.runtime.nowMs() - source.sinceMs;
  }
}
