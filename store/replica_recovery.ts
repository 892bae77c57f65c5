import type { Logger } from '../src/base/logger.js';
import type { Runtime } from '../src/base/runtime.js';
import { sleep } from '../src/base/runtime.js';
import type { TypedError } from '../src/base/wire_errors.js';
import { failedPrecondition, shardNotFound } from '../src/base/wire_errors.js';
import { replicaKey } from '../src/engine/keys.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import type { ForceReplica, ReplicaSurvey, SurveyedReplica } from '../src/gen/skerry/v1/placement.js';
import type { MultiRaft } from '../src/multiraft/host.js';
import { decodeConfChange } from '../src/raft/conf_change_codec.js';
import { ConfChangeType } from '../src/raft/conf_change.js';
import { EntryType } from '../src/raft/message.js';
import type { GroupLog, RaftLog } from '../src/raftlog/raft_log.js';
import { epochOf, replicaOn } from './descriptor.js';
import { forceApplyMs, forcePollMs, suffixBytesMax, surveyPartMax } from './limits.js';
import { mergedOf } from './merge.js';
import { encodeReplicaRecord } from './records.js';
import type { Replicas } from './replicas.js';
import { SessionTable } from './session_table.js';
import { ShardStateMachine } from './shard_state_machine.js';

/**
 * A shard that lost the majority of its voters for good goes on from one replica that is left (`skerry recover`). It is the one place where
 * a store gives up what Raft promises, and only because a person told placement to.
 *
 *   1  the whole log counts as committed, and is applied      Group.learnCommit
 *   2  one record of the engine, synced: the shard has this replica alone, at the epoch that placement gave, as of position
 *      (last index + 1, the given term)
 *   3  the peer is started anew from that record; the log is made to begin there (prepareLog, as after a snapshot)
 *
 * Step 2 is where it happens: a crash before it leaves the replica as it was, to be asked again, and a crash after it finds
 * the record and does step 3. To other replicas it is as if a snapshot at that position had been installed here.
 *
 * Why the whole log: what the lost majority had committed and acknowledged may be its uncommitted end here. Entries that were never
 * committed may be applied by that, as after any election that this replica could have won; a retry of them changes nothing (sessions).
 *
 * Why nothing of the old group can mix with the new one. Its replicas' ids are not members any more, so their messages, and those for them,
 * reach nobody; members that are added from now on have ids of their own and begin with a snapshot. The term is above every term
 * that the old group can have reached, so position (last index + 1, term) is in no other log; the epoch's confVer is above every
 * one that it can have had, so that routes, reports and questions of stale replicas tell old from new. What would break it is the old majority
 * running on somewhere: therefore placement removes its stores from the cluster first, and they must be down.
 */
export interface ReplicaRecoveryOptions {
  readonly replicas: Replicas;
  readonly raftLog: RaftLog;
  readonly multi: Pick<MultiRaft, 'stopGroup'>;
  readonly runtime: Runtime;
  readonly logger: Logger;
}

export class ReplicaRecovery {
  private readonly options: ReplicaRecoveryOptions;
  /** Shards that are at it: a command may come twice. */
  private readonly forcing = new Set<number>();

  constructor(options: ReplicaRecoveryOptions) {
    this.options = options;
  }

  /** What this store has of shards without a leader, or with a member on one of these stores, in parts. */
  survey(surveyId: number, deadStoreIds: readonly number[]): ReplicaSurvey[] {
    const { replicas } = this.options;
    const found: SurveyedReplica[] = [];
    for (const machine of replicas.machines()) {
      const group = replicas.group(machine.shardId);
      const leaderless = group === undefined || group.leaderId() === 0;
      if (leaderless || deadStoreIds.some((id) => replicaOn(machine.shard, id) !== undefined)) {
        found.push(this.surveyed(machine, machine.phase !== 'normal' || group === undefined));
      }
    }
    for (const machine of replicas.quarantined()) found.push(this.surveyed(machine, true));
    const parts: ReplicaSurvey[] = [];
    for (let at = 0; at === 0 || at < found.length; at += surveyPartMax) {
      const part = found.slice(at, at + surveyPartMax);
      parts.push({ surveyId, replicas: part, last: at + surveyPartMax >= found.length });
    }
    return parts;
  }

  private surveyed({ shardId, replicaId, shard, applied }: ShardStateMachine, unusable: boolean): SurveyedReplica {
    const log = this.options.raftLog.group(shardId);
    const lastIndex = log?.lastIndex() ?? 0;
    const lastTerm = log?.term(lastIndex) ?? 0;
    const hard = log?.hardState;
    return {
      replicaId,
      shard,
      term: hard?.term ?? 0,
      lastIndex,
      lastTerm: typeof lastTerm === 'number' ? lastTerm : 0,
      commitIndex: Math.max(hard?.commit ?? 0, applied.index),
      appliedIndex: applied.index,
      unusable: unusable || typeof lastTerm !== 'number',
    };
  }

  /** null: this replica is its shard's only member, or was at that epoch or a later one. */
  async force(wanted: ForceReplica): Promise<TypedError | null> {
    const { shardId } = wanted;
    if (this.forcing.has(shardId)) return failedPrecondition('FORCE_UNDER_WAY');
    this.forcing.add(shardId);
    try {
      return await this.forceOnce(wanted);
    } finally {
      this.forcing.delete(shardId);
    }
  }

  private async forceOnce({ shardId, replicaId, epoch, term }: ForceReplica): Promise<TypedError | null> {
    const machine = this.options.replicas.machine(shardId);
    const log = this.options.raftLog.group(shardId);
    if (machine?.replicaId !== replicaId || epoch === undefined || log === undefined) return shardNotFound(shardId);
    if (epochOf(machine.shard).confVer >= epoch.confVer) return null;
    const obstacle = this.obstacle(machine, log, term) ?? (await this.applyAll(machine, log));
    if (obstacle !== null) return failedPrecondition(obstacle, `replica ${replicaId} of shard ${shardId}: ${obstacle}`);
    const { version } = epochOf(machine.shard);
    if (version > epoch.version) return failedPrecondition('FORCE_VERSION', 'its log held a split or a merge');
    await this.goOnAlone(machine, log.lastIndex() + 1, term, { ...epoch });
    return null;
  }

  private obstacle(machine: ShardStateMachine, log: GroupLog, term: number): string | null {
    const group = this.options.replicas.group(machine.shardId);
    if (machine.phase !== 'normal' || group === undefined) return 'FORCE_NOT_RUNNING';
    // With a leader that can be reached the shard needs none of this.
    if (group.leaderId() !== 0) return 'FORCE_HAS_LEADER';
    if (machine.isMerging) return 'FORCE_MERGING';
    return (log.hardState?.term ?? 0) < term ? null : 'FORCE_TERM';
  }

  /** Has the end of the log applied. Not null: why it can not be. */
  private async applyAll(machine: ShardStateMachine, log: GroupLog): Promise<string | null> {
    const { runtime, replicas } = this.options;
    const lastIndex = log.lastIndex();
    const lastTerm = log.term(lastIndex);
    if (typeof lastTerm !== 'number') return 'FORCE_LOG_UNAVAILABLE';
    const removed = await removesReplica(machine, log);
    if (removed !== null) return removed;
    const group = replicas.group(machine.shardId);
    group?.learnCommit(lastIndex, lastTerm);
    const untilMs = runtime.nowMs() + forceApplyMs;
    const isApplied = (): boolean =>
      machine.applied.index === lastIndex && group?.status().applied === lastIndex && log.lastIndex() === lastIndex;
    while (!isApplied() && runtime.nowMs() < untilMs) await sleep(runtime, forcePollMs);
    if (!isApplied()) return 'FORCE_NOT_APPLIED';
    return machine.phase === 'normal' && !machine.isMerging ? null : 'FORCE_NOT_RUNNING';
  }

  private async goOnAlone(
    machine: ShardStateMachine,
    index: number,
    term: number,
    epoch: NonNullable<Shard['epoch']>,
  ): Promise<void> {
    const { replicas, multi, logger } = this.options;
    const { shardId, replicaId } = machine;
    const alone = { replicaId, storeId: replicas.storeId, role: ReplicaRole.VOTER };
    const merge =
      machine.shard.merge === undefined ? undefined : { into: undefined, merged: [...mergedOf(machine.shard)] };
    const shard: Shard = { ...machine.shard, epoch, replicas: [alone], merge };
    logger.warn(
      { shardId, replicaId, index, term, epoch },
      'a shard that lost its majority goes on from this replica alone',
    );
    const sessions = SessionTable.load(new Map(machine.sessionRows()));
    replicas.reserve(shardId, replicaId);
    const batch = replicas.engine.newBatch();
    const record = { replicaId, state: ReplicaState.NORMAL, shard, appliedIndex: index, appliedTerm: term };
    batch.put(replicaKey(shardId), encodeReplicaRecord(record));
    await replicas.engine.write(batch);
    await replicas.engine.sync();
    await multi.stopGroup(shardId);
    const next = { replicaId, shard, phase: 'normal', applied: { index, term }, sessions } as const;
    await replicas.start(new ShardStateMachine(replicas, next), { campaign: true });
  }
}

/** Whether what is not applied yet would take this replica out of its shard, and with it what may be the last copy. */
async function removesReplica({ applied, replicaId, shard }: ShardStateMachine, log: GroupLog): Promise<string | null> {
  const isLeaving = shard.replicas.some((r) => r.replicaId === replicaId && r.role === ReplicaRole.OUTGOING_VOTER);
  const end = log.lastIndex() + 1;
  for (let at = applied.index + 1; at < end;) {
    await log.load(at, end, suffixBytesMax);
    const entries = log.entries(at, end, suffixBytesMax);
    if (typeof entries === 'string') return 'FORCE_LOG_UNAVAILABLE';
    for (const { type, data } of entries) {
      const change = type === EntryType.EntryNormal ? null : decodeConfChange(data);
      if (change === null) continue;
      const isNamed = change.changes.some((c) => c.replicaId === replicaId && c.type === ConfChangeType.RemoveNode);
      if (isNamed || (isLeaving && change.changes.length === 0)) return 'FORCE_REMOVED_BY_LOG';
    }
    at += entries.length;
  }
  return null;
}
