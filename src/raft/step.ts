import type { Core } from './core.js';
import { stepOk } from './core.js';
import { handlerFor } from './dispatch.js';
import { holdsPromise, keepsLeasePromise } from './election.js';
import { appendThread, applyThread, campaignTransfer, MsgType, none } from './message.js';
import type { Message } from './message.js';
import type { StepResult } from './ready.js';
import { becomeFollower } from './roles/transitions.js';
import { handleStored } from './storage_answers.js';

/* The way of every message: is it for here, of which term, then the cell of the table. */

const notFound: StepResult = Object.freeze({ ok: false, reason: 'peerNotFound' });
const local: StepResult = Object.freeze({ ok: false, reason: 'localMessage' });

/** A message from another replica, from a storage thread, or one that this replica sent to itself. */
export function receive(core: Core, m: Message): StepResult {
  const fromStorage = m.from === appendThread || m.from === applyThread;
  if (isLocal(m.type) && !fromStorage) return local;
  if (isResponse(m.type) && !fromStorage && !core.isMember(m.from)) return notFound;
  return step(core, m);
}

/** Types that never travel between replicas. */
function isLocal(type: MsgType): boolean {
  switch (type) {
    case MsgType.MsgHup:
    case MsgType.MsgBeat:
    case MsgType.MsgUnreachable:
    case MsgType.MsgSnapStatus:
    case MsgType.MsgCheckQuorum:
    case MsgType.MsgStorageAppend:
    case MsgType.MsgStorageAppendResp:
    case MsgType.MsgStorageApply:
    case MsgType.MsgStorageApplyResp:
      return true;
    default:
      return false;
  }
}

/** Answers that only a member's word counts for. */
function isResponse(type: MsgType): boolean {
  switch (type) {
    case MsgType.MsgAppResp:
    case MsgType.MsgVoteResp:
    case MsgType.MsgHeartbeatResp:
    case MsgType.MsgPreVoteResp:
      return true;
    default:
      return false;
  }
}

/** Raft §5.1. Term 0: a local message, or one that whoever leads now may take. */
export function step(core: Core, m: Message): StepResult {
  if (isVoteRequest(m) && ignoresCandidate(core, m)) return stepOk;
  if (m.term > core.term) takeHigherTerm(core, m);
  else if (m.term !== 0 && m.term < core.term) return answerLowerTerm(core, m);
  return handlerFor(core.role, m.type)(core, m);
}

function isVoteRequest(m: Message): boolean {
  return m.type === MsgType.MsgVote || m.type === MsgType.MsgPreVote;
}

/**
 * Voters that hear a leader do not answer candidates, unless the leader itself asked for the candidacy; it gave up its
 * lease then (reads.ts), so the forced vote takes nothing from it.
 */
function ignoresCandidate(core: Core, m: Message): boolean {
  if (m.context === campaignTransfer) return false;
  if (m.term > core.term) return holdsPromise(core);
  return m.term === core.term && keepsLeasePromise(core);
}

function takeHigherTerm(core: Core, m: Message): void {
  switch (m.type) {
    case MsgType.MsgPreVote:
      // Nobody's term changes for a candidacy that may never be.
      return;
    case MsgType.MsgPreVoteResp:
      // A granted pre-vote is of the term to come; a rejection is of a term that exists.
      if (m.reject) becomeFollower(core, m.term, none);
      return;
    case MsgType.MsgApp:
    case MsgType.MsgHeartbeat:
    case MsgType.MsgSnap:
      becomeFollower(core, m.term, m.from);
      return;
    default:
      becomeFollower(core, m.term, none);
  }
}

function answerLowerTerm(core: Core, m: Message): StepResult {
  const { checkQuorum, preVote } = core.config;
  switch (m.type) {
    case MsgType.MsgApp:
    case MsgType.MsgHeartbeat:
      // The sender may lead a quorum that does not know this term, and nothing else would tell it: under these
      // two options this replica cannot depose it by campaigning.
      if (checkQuorum || preVote) core.sendWhenDurable(core.message(MsgType.MsgAppResp, m.from));
      break;
    case MsgType.MsgPreVote: {
      // Lets a candidate with an old term catch up.
      const answer = core.message(MsgType.MsgPreVoteResp, m.from);
      answer.reject = true;
      core.sendWhenDurable(answer);
      break;
    }
    case MsgType.MsgStorageAppendResp:
      return handleStored(core, m);
    default:
      break;
  }
  return stepOk;
}
