import type { RaftSettings, ReplicaStart } from '../raft/config.js';
import type { HostContext } from './context.js';
import type { GroupSpec } from './host.js';

/** The core's settings, the same for all groups of a host: ten thousand of them share one object. */
export function coreSettings({ options, random, leaseClock }: HostContext): RaftSettings {
  return {
    electionTick: options.electionTicks,
    heartbeatTick: options.heartbeatTicks,
    maxSizePerMsg: options.appendBytesMax,
    maxCommittedSizePerReady: options.applyingBytesMax,
    maxInflightMsgs: options.inflightMessagesMax,
    maxInflightBytes: options.inflightBytesMax,
    // The host's own limit counts commands; entries are a little larger, and the host's answer should come first.
    maxUncommittedEntriesSize: options.limits.groupProposalBytes * 2,
    preVote: true,
    checkQuorum: true,
    asyncStorageWrites: true,
    stepDownOnRemoval: true,
    disableConfChangeValidation: false,
    // A proposal's fate is awaited where it was proposed: forwarding is done with whole requests, above.
    disableProposalForwarding: true,
    readOnlyOption: options.leases ? 'leaseBased' : 'safe',
    leaseClock,
    random,
    logger: null,
    sendPolicy: options.sendPolicy,
  };
}

/** What one group's replica starts with. isNew: the log did not know the group, so its replica promised nothing in this life of the host. */
export function replicaStart(host: HostContext, spec: GroupSpec, isNew: boolean): ReplicaStart {
  return {
    id: spec.replicaId,
    applied: spec.applied.index,
    ...(isNew ? { promisedAtMs: host.leaseClock.startedMs } : {}),
    // A new group's first leader is placement's choice: the other replicas give it an election timeout's start.
    electionPriority: spec.bootstrap !== undefined && spec.campaign !== true ? 1 : 0,
  };
}
