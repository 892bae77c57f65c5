import type { ConfChange } from './conf_change.js';
import { decodeConfChange } from './conf_change_codec.js';
import { isJoint } from './conf_state.js';
import type { Core, Leadership } from './core.js';
import { emptyBuffer, EntryType, none } from './message.js';
import type { ConfChangeRefusal, ProposalRefusal } from './ready.js';
import { broadcastAppend } from './replication.js';

/* What enters a leader's log. */

/** An entry before it has a place in the log. */
export interface ProposedEntry {
  readonly type: EntryType;
  readonly data: Buffer;
}

/** Proposes on a leader; null: taken, the entries are the last of the log. */
export function proposeAsLeader(
  core: Core,
  leadership: Leadership,
  proposed: readonly ProposedEntry[],
): ProposalRefusal | null {
  const refusal = proposalRefusal(core, leadership, payloadBytes(proposed));
  if (refusal !== null) return refusal;
  for (const { type, data } of screenConfChanges(core, leadership, proposed)) {
    appendAsLeader(core, leadership, type, data);
  }
  announceAppended(core, leadership);
  return null;
}

/** The same for one ordinary entry: most proposals are that. */
export function proposeDataAsLeader(core: Core, leadership: Leadership, data: Buffer): ProposalRefusal | null {
  const refusal = proposalRefusal(core, leadership, data.length);
  if (refusal !== null) return refusal;
  appendAsLeader(core, leadership, EntryType.EntryNormal, data);
  announceAppended(core, leadership);
  return null;
}

/** One proposal above the limit passes while nothing else is uncommitted; empty entries always pass. */
function proposalRefusal(core: Core, leadership: Leadership, bytes: number): ProposalRefusal | null {
  if (!core.isMember(core.id)) return 'notMember';
  if (leadership.transferee !== none) return 'transferring';
  const { uncommittedBytes } = leadership;
  const hasRoom = bytes === 0 || uncommittedBytes === 0;
  return hasRoom || uncommittedBytes + bytes <= core.config.maxUncommittedEntriesSize ? null : 'busy';
}

export function payloadBytes(entries: readonly ProposedEntry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.data.length;
  return bytes;
}

/** Appends one entry; acknowledgeToSelf() has to follow. */
export function appendAsLeader(core: Core, leadership: Leadership, type: EntryType, data: Buffer): void {
  core.log.append({ term: core.term, index: core.log.lastIndex() + 1, type, data });
  leadership.uncommittedBytes += data.length;
}

/** Once what was appended is durable, a leader acknowledges it to itself: it is one replica among others (thesis §10.2.1). */
export function acknowledgeToSelf(core: Core): void {
  core.acknowledge(core.id, core.log.lastIndex(), 0);
}

function announceAppended(core: Core, leadership: Leadership): void {
  acknowledgeToSelf(core);
  if (core.config.sendPolicy.appendPerProposal) broadcastAppend(core, leadership);
  else leadership.appendsDue = true;
}

/**
 * A membership change that may not enter the log now becomes an empty entry, so that what else was proposed with it keeps
 * its place.
 */
function screenConfChanges(
  core: Core,
  leadership: Leadership,
  proposed: readonly ProposedEntry[],
): readonly ProposedEntry[] {
  if (proposed.every((entry) => entry.type === EntryType.EntryNormal)) return proposed;
  const first = core.log.lastIndex() + 1;
  return proposed.map((entry, i) => {
    if (entry.type === EntryType.EntryNormal) return entry;
    const change = decodeConfChange(entry.data);
    const refusal = change === null ? 'unreadable' : confChangeRefusal(core, leadership, change);
    if (refusal !== null && !(core.config.disableConfChangeValidation && change !== null)) {
      core.config.logger?.info({ refusal }, 'raft: membership change refused');
      return { type: EntryType.EntryNormal, data: emptyBuffer };
    }
    leadership.pendingConfIndex = first + i;
    return entry;
  });
}

/**
 * At most one change is unapplied at a time (thesis §4.1), a joint configuration is only ever left, and only a joint one.
 */
export function confChangeRefusal(core: Core, leadership: Leadership, change: ConfChange): ConfChangeRefusal | null {
  const leaves = change.changes.length === 0;
  if (leadership.pendingConfIndex > core.log.applied) return 'pending';
  if (isJoint(core.conf) && !leaves) return 'joint';
  if (!isJoint(core.conf) && leaves) return 'notJoint';
  return null;
}
