import { assert } from '../../base/assert.js';
import type { Core, Handler } from '../core.js';
import { stepDropped, stepOk } from '../core.js';
import { maybeCampaign } from '../election.js';
import { isMember, normalConfState } from '../conf_state.js';
import { MsgType, none } from '../message.js';
import type { Message, SnapshotMeta } from '../message.js';
import { restoreConfState } from '../membership.js';
import { readFailedIndex } from '../ready.js';
import { failForwardedReads, takeForwardedAnswer } from '../reads.js';

/* Messages to a follower; its voting is in election.ts. */

/** The leader of the term was heard: no election while that goes on. */
function hearLeader(core: Core, m: Message): void {
  core.electionElapsed = 0;
  core.leaderHeardAt = core.leaseStamp();
  core.leaderId = m.from;
}

function assertOneLeader(core: Core, m: Message): void {
  assert(
    core.leaderId === none || core.leaderId === m.from,
    () => `raft: ${String(m.from)} and ${String(core.leaderId)} both lead term ${String(m.term)}`,
  );
}

/** Raft §5.3. Every append is answered. */
export const handleAppend: Handler = (core, m) => {
  assertOneLeader(core, m);
  if (!isContiguous(m)) return stepDropped;
  hearLeader(core, m);
  const { log } = core;
  if (m.index < log.commit) {
    // What is committed matches: the leader may go on from there.
    core.acknowledge(m.from, log.commit, m.context);
    return stepOk;
  }
  const last = log.appendFromLeader(m.index, m.logTerm, m.entries);
  if (last === null) {
    refuseAppend(core, m);
    return stepOk;
  }
  // No further than this message proves to be the leader's log.
  log.commitTo(Math.min(m.commit, last));
  core.acknowledge(m.from, last, m.context);
  return stepOk;
};

/** Entries of an append follow its previous index one by one; anything else is not a leader's message. */
function isContiguous(m: Message): boolean {
  for (let i = 0; i < m.entries.length; i++) if (m.entries[i]?.index !== m.index + 1 + i) return false;
  return true;
}

/** Tells the leader where the logs may agree, so that it skips a term per round trip rather than an entry. */
function refuseAppend(core: Core, m: Message): void {
  const hint = core.log.findConflictByTerm(Math.min(m.index, core.log.lastIndex()), m.logTerm);
  const answer = core.message(MsgType.MsgAppResp, m.from);
  answer.context = m.context;
  answer.index = m.index;
  answer.reject = true;
  answer.rejectHint = hint.index;
  answer.logTerm = hint.term;
  core.sendWhenDurable(answer);
}

export const handleHeartbeat: Handler = (core, m) => {
  assertOneLeader(core, m);
  hearLeader(core, m);
  takeLeaderCommit(core, m.commit);
  const answer = core.message(MsgType.MsgHeartbeatResp, m.from);
  answer.context = m.context;
  core.send(answer);
  return stepOk;
};

/**
 * A commit index without entries to prove it. The leader claims that this replica has its log up to there; that is
 * checked: if the last entry is of the present term, then the whole log is this leader's (log matching, Raft §5.3). A message to
 * an earlier replica of this id, whose log is gone, thus commits nothing.
 */
function takeLeaderCommit(core: Core, commit: number): void {
  const { log } = core;
  if (commit > log.commit && log.lastTerm() === core.term) log.commitTo(Math.min(commit, log.lastIndex()));
}

/** Raft §7. */
export const handleSnapshot: Handler = (core, m) => {
  if (m.snapshot === null) return stepDropped;
  hearLeader(core, m);
  const restored = restore(core, m.snapshot);
  core.acknowledge(m.from, restored ? core.log.lastIndex() : core.log.commit, m.context);
  return stepOk;
};

/** True when the snapshot replaces log and configuration. */
function restore(core: Core, snapshot: SnapshotMeta): boolean {
  const { log } = core;
  if (snapshot.index <= log.commit) return false;
  if (log.matchesTerm(snapshot.index, snapshot.term)) {
    // Nothing in it that the log does not have.
    log.commitTo(snapshot.index);
    return false;
  }
  const conf = normalConfState(snapshot.confState);
  if (!isMember(conf, core.id)) {
    core.config.logger?.warn({ index: snapshot.index }, 'raft: refused a snapshot of a group without this replica');
    return false;
  }
  log.restore(snapshot);
  restoreConfState(core, conf);
  core.config.logger?.info({ index: snapshot.index, term: snapshot.term }, 'raft: restored a snapshot');
  return true;
}

/** Passes a proposal on; whoever leads decides. */
export const forwardProposal: Handler = (core, m) => {
  if (core.leaderId === none || core.config.disableProposalForwarding) return stepDropped;
  m.to = core.leaderId;
  core.send(m);
  return stepOk;
};

export const forwardTransfer: Handler = (core, m) => {
  if (core.leaderId === none) return stepDropped;
  m.to = core.leaderId;
  core.send(m);
  return stepOk;
};

/** Leadership is handed to this replica: campaign now, without asking for pre-votes (thesis §3.10). */
export const handleTimeoutNow: Handler = (core, m) => {
  // Only the leader of the term may void its own lease.
  if (core.leaderId !== none && core.leaderId !== m.from) return stepDropped;
  maybeCampaign(core, true);
  return stepOk;
};

/** The application knows better than the timer that the leader is gone. With a lease clock the promise to it lasts all the same. */
export const handleForgetLeader: Handler = (core) => {
  if (core.config.readOnlyOption === 'leaseBased' && core.config.leaseClock === undefined) {
    core.config.logger?.error({ leaderId: core.leaderId }, 'raft: a leader with a lease is not forgotten');
    return stepOk;
  }
  failForwardedReads(core);
  core.leaderId = none;
  return stepOk;
};

/** Whoever asks here takes this replica for the leader. */
export const refuseRead: Handler = (core, m) => {
  const answer = core.message(MsgType.MsgReadIndexResp, m.from);
  answer.context = m.context;
  answer.reject = true;
  core.send(answer);
  return stepOk;
};

export const handleReadAnswer: Handler = (core, m) => {
  // An answer is only as good as its sender's claim to lead.
  if (m.from !== core.leaderId) return stepOk;
  if (!m.reject) takeLeaderCommit(core, m.commit);
  takeForwardedAnswer(core, m.context, m.reject ? readFailedIndex : m.index);
  return stepOk;
};
