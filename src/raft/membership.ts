import { enterJoint, leaveJointChange, simpleChange } from './confchange/changer.js';
import type { ChangeOutcome, MemberFate } from './confchange/changer.js';
import { ConfChangeTransition } from './conf_change.js';
import type { ConfChange } from './conf_change.js';
import { encodeConfChange, leaveJoint } from './conf_change_codec.js';
import { isVoter, memberIds } from './conf_state.js';
import { maybeCommit } from './commit.js';
import type { Core, Leadership } from './core.js';
import { EntryType, none } from './message.js';
import type { ConfState } from './message.js';
import { proposeAsLeader } from './proposals.js';
import { maybeSendAppend } from './replication.js';
import { becomeFollower } from './roles/transitions.js';

/* Membership changes take effect when they are applied (thesis chapter 4, with etcd's choice of the moment). */

/**
 * The change was committed and the state machine is at its entry. A change that does not fit the configuration changes
 * nothing: every replica applies the same entries to the same configuration, so all refuse it alike.
 */
export function applyConfChange(core: Core, change: ConfChange): ConfState {
  const before = core.supersededConf ?? core.conf;
  const outcome = outcomeOf(before, change);
  if (!outcome.ok) {
    core.config.logger?.error({ error: outcome.error }, 'raft: a committed membership change does not fit');
    return before;
  }
  if (core.supersededConf === null) switchTo(core, outcome.conf, outcome.fates);
  else core.supersededConf = outcome.conf;
  return outcome.conf;
}

function outcomeOf(conf: ConfState, change: ConfChange): ChangeOutcome {
  if (change.changes.length === 0) return leaveJointChange(conf);
  if (change.transition === ConfChangeTransition.Auto && change.changes.length === 1) {
    return simpleChange(conf, change.changes);
  }
  return enterJoint(conf, change.transition !== ConfChangeTransition.JointExplicit, change.changes);
}

function switchTo(core: Core, conf: ConfState, fates: ReadonlyMap<number, MemberFate>): void {
  core.conf = conf;
  core.config.logger?.info({ conf }, 'raft: switched configuration');
  const { leadership } = core;
  if (leadership === null) return;
  // Its last entry is where a new member most likely has to be probed from.
  leadership.peers.reconfigure(conf, fates, Math.max(core.log.lastIndex(), 1), leadership.reads.round);
  if (!core.isMember(core.id) || conf.learners.includes(core.id)) {
    if (core.config.stepDownOnRemoval) becomeFollower(core, core.term, none);
    return;
  }
  if (!isVoter(conf, leadership.transferee)) leadership.transferee = none;
  refreshQuorum(core, leadership);
}

/** A changed quorum may have committed more; new members should not wait for the next proposal. */
function refreshQuorum(core: Core, leadership: Leadership): void {
  if (maybeCommit(core, leadership) && core.config.sendPolicy.commitNotice === 'eager') return;
  for (const peer of leadership.peers.all) if (peer.id !== core.id) maybeSendAppend(core, peer, false);
}

/** A configuration from a snapshot: nothing that was known of any member holds. */
export function restoreConfState(core: Core, conf: ConfState): void {
  core.supersededConf ??= core.conf;
  core.conf = conf;
  core.config.logger?.info({ conf, members: memberIds(conf).length }, 'raft: configuration from a snapshot');
}

/** The state machine moved on: leave a joint configuration that leaves by itself. */
export function onApplied(core: Core): void {
  const { leadership } = core;
  if (leadership === null || !core.conf.autoLeave || core.log.applied < leadership.pendingConfIndex) return;
  const entry = { type: EntryType.EntryConfChangeV2, data: encodeConfChange(leaveJoint) };
  const refusal = proposeAsLeader(core, leadership, [entry]);
  // Refused during a transfer: whoever leads next proposes it again when it applies its first entry.
  if (refusal !== null) core.config.logger?.debug({ refusal }, 'raft: not leaving the joint configuration yet');
}
