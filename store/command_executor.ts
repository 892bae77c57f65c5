import type { TypedError } from '../src/base/wire_errors.js';
import {
  epochNotMatch,
  failedPrecondition,
  invalidArgument,
  notLeader,
  shardNotFound,
  undetermined,
} from '../src/base/wire_errors.js';
import type { AdminCommand } from '../src/gen/skerry/v1/kv.js';
import { ConfChangeContext } from '../src/gen/skerry/v1/kv.js';
import type { Replica, Shard } from '../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import type {
  CancelMerge,
  ChangeReplicas,
  CreateShards,
  DestroyReplica,
  MergeShard,
  ReplicaChange,
  ReplicaSurvey,
  SplitShard,
  StoreCommand,
  TransferLeader,
  VerifyShard,
} from '../src/gen/skerry/v1/placement.js';
import type { Group, ProposalOutcome } from '../src/multiraft/host.js';
import type { ConfChange } from '../src/raft/conf_change.js';
import { ConfChangeTransition, ConfChangeType } from '../src/raft/conf_change.js';
import { acceptableChange, epochOf, isJoint, sameEpoch } from './descriptor.js';
import { pendingEntries } from './limits.js';
import type { MergeRefusal } from './merge.js';
import { mergeRefusal } from './merge.js';
import type { MergeDriver } from './merge_driver.js';
import { isSplitKey, middleKey } from './middle_key.js';
import { proposeAdmin } from './propose_admin.js';
import type { ReplicaRecovery } from './replica_recovery.js';
import type { Replicas } from './replicas.js';
import type { ShardStateMachine } from './shard_state_machine.js';
import { splitShard } from './split.js';
import type { WriteOutcome } from './write_outcome.js';

/**
 * Carries out what placement asks of this store. Every command may come twice: what is done already is
 * no failure where that can be told, and fails by its epoch where it cannot.
 */
export class CommandExecutor {
  private readonly replicas: Replicas;
  private readonly recovery: Pick<ReplicaRecovery, 'survey' | 'force'>;
  private readonly merges: Pick<MergeDriver, 'takeBack'>;
  private readonly surveyed: (survey: ReplicaSurvey) => void;

  /** surveyed: takes the parts of an answer to SurveyReplicas. */
  constructor(
    replicas: Replicas,
    recovery: Pick<ReplicaRecovery, 'survey' | 'force'>,
    merges: Pick<MergeDriver, 'takeBack'>,
    surveyed: (survey: ReplicaSurvey) => void,
  ) {
    this.replicas = replicas;
    this.recovery = recovery;
    this.merges = merges;
    this.surveyed = surveyed;
  }

  /** null: done. Rejects only when the store itself has failed. */
  async execute({ command }: StoreCommand): Promise<TypedError | null> {
    switch (command?.$case) {
      case 'createShards':
        return this.createShards(command.value);
      case 'changeReplicas':
        return this.changeReplicas(command.value);
      case 'transferLeader':
        return this.transferLeader(command.value);
      case 'splitShard':
        return this.splitShard(command.value);
      case 'destroyReplica':
        return this.destroyReplica(command.value);
      case 'verifyShard':
        return this.verifyShard(command.value);
      case 'mergeShard':
        return this.mergeShard(command.value);
      case 'cancelMerge':
        return this.cancelMerge(command.value);
      case 'surveyReplicas':
        for (const part of this.recovery.survey(command.value.surveyId, command.value.deadStoreIds)) {
          this.surveyed(part);
        }
        return null;
      case 'forceReplica':
        return this.recovery.force(command.value);
      case undefined:
        return invalidArgument('command', 'UNKNOWN_COMMAND', 'a command that this version does not know');
    }
  }

  private async createShards({ shards, firstLeaders }: CreateShards): Promise<TypedError | null> {
    const wanted = shards.map((shard, at) => {
      const own = shard.replicas.find((r) => r.storeId === this.replicas.storeId);
      return { shard, campaign: own !== undefined && own.replicaId === firstLeaders[at] };
    });
    const failures = await this.replicas.create(wanted);
    const first = failures[0];
    return first === undefined ? null : failedPrecondition(first.reason, `shard ${first.shardId}: ${first.reason}`);
  }

  private async changeReplicas({ shardId, epoch, changes, joint }: ChangeReplicas): Promise<TypedError | null> {
    const led = this.led(shardId);
    if ('error' in led) return led.error;
    const { machine, group } = led;
    if (!sameEpoch(machine.shard.epoch, epoch)) return epochNotMatch([machine.shard]);
    const change = confChangeOf(machine.shard, changes, joint);
    if (!acceptableChange(machine.shard, change)) {
      const reason = isJoint(machine.shard) ? 'JOINT_STATE' : 'CHANGE_NOT_ACCEPTABLE';
      return failedPrecondition(reason, `shard ${shardId} cannot make this membership change`);
    }
    const outcome = await new Promise<ProposalOutcome>((resolve) => group.proposeConfChange(change, resolve));
    return proposalError(machine, group, outcome);
  }

  private transferLeader({ shardId, toReplicaId }: TransferLeader): TypedError | null {
    const led = this.led(shardId);
    if ('error' in led) return led.error;
    const { machine, group } = led;
    if (toReplicaId === machine.replicaId) return null;
    if (machine.hostOf(toReplicaId) === 0)
      return failedPrecondition('NOT_A_MEMBER', `replica ${toReplicaId} is no member`);
    group.transferLeader(toReplicaId);
    return null;
  }

  private async splitShard({ shardId, epoch, splitKey, into }: SplitShard): Promise<TypedError | null> {
    const led = this.led(shardId);
    if ('error' in led) return led.error;
    const { machine } = led;
    if (!sameEpoch(machine.shard.epoch, epoch)) return epochNotMatch([machine.shard]);
    const { shard } = machine;
    const key = splitKey.length > 0 ? Buffer.from(splitKey) : await middleKey(this.replicas.engine, shard);
    if (key === null) return failedPrecondition('TOO_FEW_KEYS', `shard ${shardId} has too few keys to find a middle`);
    if (!isSplitKey(shard, key)) return invalidArgument('split_key', 'SPLIT_KEY', 'no boundary inside of the shard');
    const replicas = shard.replicas.map((old, at) => ({ ...old, replicaId: into?.replicaIds[at] ?? 0 }));
    const command = { epoch, splitKey: key, newShard: { ...shard, shardId: into?.shardId ?? 0, replicas } };
    const dryRun = splitShard(shard, command);
    if (dryRun.kind === 'refused') return failedPrecondition(`SPLIT_${dryRun.reason.toUpperCase()}`);
    return proposed(led, { $case: 'split', value: command });
  }

  private async destroyReplica({ shardId, replicaId, epoch }: DestroyReplica): Promise<TypedError | null> {
    const held = this.replicas.descriptorHeld(shardId, replicaId);
    if (held === null) return null;
    if (epochOf(held).confVer > (epoch?.confVer ?? 0)) return epochNotMatch([held]);
    const done = await this.replicas.destroy(shardId, replicaId);
    return done ? null : failedPrecondition('REPLICA_BUSY', `replica ${replicaId} cannot be destroyed right now`);
  }

  private async verifyShard({ shardId, checkId, bytesPerSecond }: VerifyShard): Promise<TypedError | null> {
    const led = this.led(shardId);
    if ('error' in led) return led.error;
    return proposed(led, { $case: 'checksum', value: { checkId, bytesPerSecond } });
  }

  /** Begins a merge; merge_driver.ts ends it. */
  private async mergeShard({ shardId, epoch, targetShardId }: MergeShard): Promise<TypedError | null> {
    const led = this.led(shardId);
    if ('error' in led) return led.error;
    const { machine, group } = led;
    if (!sameEpoch(machine.shard.epoch, epoch)) return epochNotMatch([machine.shard]);
    const target = this.replicas.machine(targetShardId);
    if (target?.phase !== 'normal') return failedPrecondition('MERGE_NO_TARGET', `no shard ${targetShardId} here`);
    const refusal = mergeRefusal(machine.shard, target.shard);
    if (refusal !== null) return failedPrecondition(mergeReasons[refusal], `shard ${shardId} does not fit its target`);
    const { progress, lastIndex } = group.status();
    if (progress.some(({ match, recentActive }) => !recentActive || lastIndex - match > pendingEntries)) {
      return failedPrecondition('MERGE_REPLICA_BEHIND', `a replica of shard ${shardId} is not up to date`);
    }
    return proposed(led, { $case: 'prepareMerge', value: { epoch, target: target.shard } });
  }

  /**
   * A merge that has not begun is ruled out in the shard's own log, where PrepareMerge then finds another version; one that has
   * begun is for its target's log (merge.ts), and merge_driver.ts to see to.
   */
  private async cancelMerge({ shardId, epoch }: CancelMerge): Promise<TypedError | null> {
    const led = this.led(shardId);
    if ('error' in led) return led.error;
    const { machine } = led;
    const { version } = epochOf(machine.shard);
    const asked = epoch?.version ?? 0;
    if (machine.isMerging) {
      // It began with a version more. A later merge has more than that: what took this one back has a version, too.
      if (version !== asked && version !== asked + 1) return epochNotMatch([machine.shard]);
      this.merges.takeBack(machine);
      return null;
    }
    // Taken back already, or ruled out.
    if (version > asked) return null;
    if (!sameEpoch(machine.shard.epoch, epoch)) return epochNotMatch([machine.shard]);
    return proposed(led, { $case: 'forbidMerge', value: { epoch } });
  }

  private led(shardId: number): Led | { error: TypedError } {
    const machine = this.replicas.machine(shardId);
    const group = this.replicas.group(shardId);
    if (machine?.phase !== 'normal' || group === undefined) return { error: shardNotFound(shardId) };
    if (!group.isLeader()) return { error: leaderError(machine, group, group.leaderId()) };
    return { machine, group };
  }
}

/** A shard that leads here. */
interface Led {
  readonly machine: ShardStateMachine;
  readonly group: Group;
}

async function proposed(
  { machine, group }: Led,
  command: NonNullable<AdminCommand['command']>,
): Promise<TypedError | null> {
  const outcome = await new Promise<ProposalOutcome>((resolve) => proposeAdmin(group, command, resolve));
  return proposalError(machine, group, outcome);
}

const mergeReasons: Readonly<Record<MergeRefusal, string>> = {
  epoch: 'MERGE_EPOCH',
  merging: 'MERGE_UNDER_WAY',
  notNeighbours: 'MERGE_NOT_NEIGHBOURS',
  notAligned: 'MERGE_NOT_ALIGNED',
};

function confChangeOf(shard: Shard, changes: readonly ReplicaChange[], joint: boolean): ConfChange {
  const replicas: Replica[] = changes
    .filter((change) => change.role !== ReplicaRole.UNSPECIFIED)
    .map(({ replicaId, storeId, role }) => ({ replicaId, storeId, role }));
  const context = Buffer.from(ConfChangeContext.encode({ epoch: shard.epoch, replicas }).finish());
  return {
    transition: joint && changes.length > 0 ? ConfChangeTransition.JointExplicit : ConfChangeTransition.Auto,
    changes: changes.map(({ replicaId, role }) => ({ replicaId, type: changeType(role) })),
    context,
  };
}

function changeType(role: ReplicaRole): ConfChangeType {
  if (role === ReplicaRole.UNSPECIFIED) return ConfChangeType.RemoveNode;
  return role === ReplicaRole.LEARNER ? ConfChangeType.AddLearnerNode : ConfChangeType.AddNode;
}

function leaderError(machine: ShardStateMachine, group: Group, leaderId: number): TypedError {
  const storeId = machine.hostOf(leaderId);
  return notLeader(machine.shardId, { replicaId: storeId === 0 ? 0 : leaderId, storeId }, group.term());
}

function proposalError(machine: ShardStateMachine, group: Group, outcome: ProposalOutcome): TypedError | null {
  switch (outcome.status) {
    case 'applied': {
      const result = outcome.result as WriteOutcome;
      const done = result.kind === 'split' || result.kind === 'changed' || result.kind === 'checksum';
      return done ? null : epochNotMatch([machine.shard]);
    }
    case 'undetermined':
      return undetermined(machine.shardId, machine.hostOf(outcome.leaderId));
    case 'dropped':
      switch (outcome.reason) {
        case 'notLeader':
        case 'stopped':
          return leaderError(machine, group, outcome.leaderId);
        case 'rejected':
          return epochNotMatch([machine.shard]);
        case 'busy':
        case 'transferring':
        case 'confChangePending':
          return failedPrecondition(`PROPOSAL_${outcome.reason.toUpperCase()}`);
      }
  }
}
