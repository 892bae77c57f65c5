import { assert } from '../../base/assert.js';
import { maybeCommit } from '../commit.js';
import type { Core, Handler, Leadership } from '../core.js';
import { stepDropped, stepOk } from '../core.js';
import { isVoter } from '../conf_state.js';
import { onApplied } from '../membership.js';
import { MsgType, none } from '../message.js';
import type { Message } from '../message.js';
import { proposeAsLeader } from '../proposals.js';
import { roundAnswered, takeRead } from '../reads.js';
import { fillWindow, maybeSendAppend } from '../replication.js';
import type { Progress } from '../tracker/progress.js';

/* Messages to a leader. */

/** A follower passed a proposal on. */
export const handleProposal: Handler = (core, m) => {
  if (m.entries.length === 0) return stepDropped;
  return proposeAsLeader(core, core.leading(), m.entries) === null ? stepOk : stepDropped;
};

export const handleAppendAnswer: Handler = (core, m) => {
  const leadership = core.leading();
  const peer = leadership.peers.find(m.from);
  if (peer === null) return stepOk;
  // An acknowledgement to an earlier membership of this id: that disk may be gone.
  if (m.from !== core.id && m.context !== peer.session) return stepOk;
  peer.recentActive = true;
  if (m.reject) handleRejection(core, peer, m);
  else handleAcknowledgement(core, leadership, peer, m.index);
  return stepOk;
};

/** Raft §5.3: go back to where the logs may agree, skipping terms that only one of them has. */
function handleRejection(core: Core, peer: Progress, m: Message): void {
  const hint = m.logTerm > 0 ? core.log.findConflictByTerm(m.rejectHint, m.logTerm).index : m.rejectHint;
  if (!peer.reject(m.index, hint)) return;
  if (peer.state === 'replicate') peer.becomeProbe();
  maybeSendAppend(core, peer, true);
}

function handleAcknowledgement(core: Core, leadership: Leadership, peer: Progress, index: number): void {
  assert(index <= core.log.lastIndex(), () => `raft: ${String(peer.id)} has an entry that its leader has not`);
  const news = peer.acknowledge(index);
  // A probe that was answered found the place, even if it taught nothing new.
  if (!news && !(peer.state === 'probe' && peer.match === index)) return;
  advanceState(core, peer, index);
  const committed = maybeCommit(core, leadership);
  if (peer.id === core.id) return;
  if (!committed && core.config.sendPolicy.commitNotice === 'eager' && peer.wantsCommit(core.log.commit)) {
    maybeSendAppend(core, peer, true);
  }
  if (core.config.sendPolicy.appendPerProposal) fillWindow(core, peer);
  else if (peer.next <= core.log.lastIndex()) leadership.appendsDue = true;
  if (peer.id === leadership.transferee && peer.match === core.log.lastIndex()) sendTimeoutNow(core, leadership);
}

function advanceState(core: Core, peer: Progress, index: number): void {
  switch (peer.state) {
    case 'probe':
      peer.becomeReplicate();
      break;
    case 'replicate':
      peer.inflights.freeTo(index);
      break;
    case 'snapshot':
      // Whatever snapshot it got and from whom: its log and this one meet again.
      if (peer.match + 1 >= core.log.firstIndex()) peer.becomeReplicate();
      break;
  }
}

export const handleHeartbeatAnswer: Handler = (core, m) => {
  const leadership = core.leading();
  const peer = leadership.peers.find(m.from);
  if (peer === null) return stepOk;
  peer.recentActive = true;
  // An append may have been lost: send one even into a full window, and see what comes back.
  peer.flowPaused = false;
  if (peer.match < core.log.lastIndex() || peer.state === 'probe') maybeSendAppend(core, peer, true);
  if (m.context !== 0) roundAnswered(core, leadership, m.from, m.context);
  return stepOk;
};

export const handleSnapshotStatus: Handler = (core, m) => {
  const peer = core.leading().peers.find(m.from);
  if (peer?.state !== 'snapshot') return stepOk;
  if (m.reject) peer.pendingSnapshot = 0;
  peer.becomeProbe();
  // Delivered or not, wait for the follower to be heard of before the next try.
  peer.flowPaused = true;
  return stepOk;
};

/** Appends on their way are probably lost. */
export const handleUnreachable: Handler = (core, m) => {
  const peer = core.leading().peers.find(m.from);
  if (peer?.state === 'replicate') peer.becomeProbe();
  return stepOk;
};

/** Thesis §3.10: bring the target up to date, then have it campaign. Proposals wait meanwhile. */
export const handleTransfer: Handler = (core, m) => {
  const leadership = core.leading();
  const target = m.from;
  const peer = leadership.peers.find(target);
  if (peer === null || !isVoter(core.conf, target) || target === leadership.transferee) return stepOk;
  leadership.transferee = none;
  if (target === core.id) return stepOk;
  // The transfer has an election timeout from now on; see tickLeader.
  core.electionElapsed = 0;
  leadership.transferee = target;
  core.config.logger?.info({ term: core.term, to: target }, 'raft: handing leadership over');
  if (peer.match === core.log.lastIndex()) sendTimeoutNow(core, leadership);
  else maybeSendAppend(core, peer, true);
  return stepOk;
};

function sendTimeoutNow(core: Core, leadership: Leadership): void {
  leadership.timeoutNowSent = true;
  core.send(core.message(MsgType.MsgTimeoutNow, leadership.transferee));
}

/** Goes back to work: the target did not take over in time. */
export function abortTransfer(core: Core, leadership: Leadership): void {
  core.config.logger?.warn({ to: leadership.transferee }, 'raft: gave up handing leadership over');
  leadership.transferee = none;
  // What was refused meanwhile and nobody else will ask for again.
  onApplied(core);
}

export const handleReadRequest: Handler = (core, m) => {
  takeRead(core, core.leading(), m.from, m.context);
  return stepOk;
};

/** Election safety (Raft §5.2) is broken: nothing that this replica could do would be right. */
export const twoLeaders: Handler = (core, m) => {
  assert(false, `raft: ${String(m.from)} and ${String(core.id)} both lead term ${String(core.term)}`);
};
