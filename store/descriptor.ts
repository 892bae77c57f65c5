import type { Epoch, Replica, Shard } from '../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import type { ConfChange } from '../src/raft/conf_change.js';
import { ConfChangeTransition, ConfChangeType } from '../src/raft/conf_change.js';
import type { ConfState } from '../src/raft/message.js';

/**
 * The shard's descriptor and the Raft group's configuration say the same thing in two forms: the
 * descriptor gives each replica a role, the configuration lists ids. Only the descriptor is kept on disk, so every
 * configuration that a shard may have must be expressible in roles (acceptableChange sees to that).
 */

export function epochOf(shard: Shard): Epoch {
  return shard.epoch ?? { confVer: 0, version: 0 };
}

export function sameEpoch(a: Epoch | undefined, b: Epoch | undefined): boolean {
  return (a?.confVer ?? 0) === (b?.confVer ?? 0) && (a?.version ?? 0) === (b?.version ?? 0);
}

/** True while the shard is between entering and leaving a joint configuration. */
export function isJoint(shard: Shard): boolean {
  return shard.replicas.some((r) => r.role !== ReplicaRole.VOTER && r.role !== ReplicaRole.LEARNER);
}

const noIds: readonly number[] = Object.freeze([]);

/** The group's configuration from the replicas' roles. */
export function confStateOf(shard: Shard): ConfState {
  const ids = (...roles: readonly Replica['role'][]): readonly number[] => {
    const found = shard.replicas.filter((r) => roles.includes(r.role));
    // Most lists are empty, and there are four of each of ten thousand shards.
    return found.length === 0 ? noIds : found.map((r) => r.replicaId).sort((a, b) => a - b);
  };
  const { VOTER, LEARNER, INCOMING_VOTER, OUTGOING_VOTER, DEMOTING_VOTER } = ReplicaRole;
  return {
    voters: ids(VOTER, INCOMING_VOTER),
    votersOutgoing: isJoint(shard) ? ids(VOTER, OUTGOING_VOTER, DEMOTING_VOTER) : noIds,
    learners: ids(LEARNER),
    learnersNext: ids(DEMOTING_VOTER),
    autoLeave: false,
  };
}

/** The replicas' roles from the group's configuration. storeOf names the store of a replica. */
export function replicasOf(confState: ConfState, storeOf: (replicaId: number) => number): Replica[] {
  const joint = confState.votersOutgoing.length > 0;
  const roles = new Map<number, Replica['role']>();
  for (const id of confState.voters) {
    const isNew = joint && !confState.votersOutgoing.includes(id);
    roles.set(id, isNew ? ReplicaRole.INCOMING_VOTER : ReplicaRole.VOTER);
  }
  for (const id of confState.votersOutgoing) {
    if (roles.has(id)) continue;
    const demoted = confState.learnersNext.includes(id);
    roles.set(id, demoted ? ReplicaRole.DEMOTING_VOTER : ReplicaRole.OUTGOING_VOTER);
  }
  for (const id of confState.learners) roles.set(id, ReplicaRole.LEARNER);
  return [...roles]
    .sort((a, b) => a[0] - b[0])
    .map(([replicaId, role]) => ({ replicaId, storeId: storeOf(replicaId), role }));
}

/**
 * Whether a change leads to a configuration that roles can express: one change the simple way, several by way of a
 * joint configuration that differs in its voters and is left by a change of its own, or leaving it.
 */
export function acceptableChange(shard: Shard, change: ConfChange): boolean {
  if (change.changes.length === 0) return isJoint(shard);
  if (isJoint(shard)) return false;
  if (change.transition === ConfChangeTransition.JointImplicit) return false;
  if (change.transition === ConfChangeTransition.Auto) return change.changes.length === 1;
  return change.changes.some(({ type, replicaId }) => {
    const isVoter = shard.replicas.some((r) => r.replicaId === replicaId && r.role === ReplicaRole.VOTER);
    return isVoter !== (type === ConfChangeType.AddNode);
  });
}

/** The replica of a shard on a store, if it has one. */
export function replicaOn(shard: Shard, storeId: number): Replica | undefined {
  return shard.replicas.find((r) => r.storeId === storeId);
}
