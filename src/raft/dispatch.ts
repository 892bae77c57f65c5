import type { Handler } from './core.js';
import { stepDropped, stepOk } from './core.js';
import { handleVoteRequest, maybeCampaign } from './election.js';
import { MsgType } from './message.js';
import type { MsgTypeName } from './message.js';
import type { Role } from './ready.js';
import { followAnd, handlePreVoteAnswer, handleVoteAnswer } from './roles/candidate.js';
import * as follower from './roles/follower.js';
import * as leader from './roles/leader.js';
import { handleApplied, handleStored } from './storage_answers.js';

/*
 * Role × message. Every cell is filled: `ignored` says that a message is meant to do nothing in a role, `dropped`
 * that the sender should hear of it.
 */

export const ignored: Handler = () => stepOk;
export const dropped: Handler = () => stepDropped;

type Row = Readonly<Record<MsgTypeName, Handler>>;

const vote: Handler = (core, m) => {
  handleVoteRequest(core, m);
  return stepOk;
};

/** The same in every role; types that never arrive as messages, or only in some roles. */
const everyRole = {
  MsgHup: ((core) => {
    maybeCampaign(core, false);
    return stepOk;
  }) satisfies Handler,
  // Ticks and checks are function calls here (tick.ts), storage work is for the host.
  MsgBeat: ignored,
  MsgCheckQuorum: ignored,
  MsgStorageAppend: ignored,
  MsgStorageApply: ignored,
  MsgStorageAppendResp: handleStored,
  MsgStorageApplyResp: handleApplied,
  MsgVote: vote,
  MsgPreVote: vote,
};

/** Answers to a leader, late by the time they arrive at somebody else. */
const notLeading = {
  MsgAppResp: ignored,
  MsgHeartbeatResp: ignored,
  MsgSnapStatus: ignored,
  MsgUnreachable: ignored,
  MsgReadIndex: follower.refuseRead,
};

const followerRow: Row = {
  ...everyRole,
  ...notLeading,
  MsgProp: follower.forwardProposal,
  MsgApp: follower.handleAppend,
  MsgHeartbeat: follower.handleHeartbeat,
  MsgSnap: follower.handleSnapshot,
  // Votes for a candidacy that is over.
  MsgVoteResp: ignored,
  MsgPreVoteResp: ignored,
  MsgTransferLeader: follower.forwardTransfer,
  MsgTimeoutNow: follower.handleTimeoutNow,
  MsgForgetLeader: follower.handleForgetLeader,
  MsgReadIndexResp: follower.handleReadAnswer,
};

const campaigning = {
  ...everyRole,
  ...notLeading,
  MsgProp: dropped,
  MsgApp: followAnd(follower.handleAppend),
  MsgHeartbeat: followAnd(follower.handleHeartbeat),
  MsgSnap: followAnd(follower.handleSnapshot),
  MsgTransferLeader: dropped,
  // It campaigns already.
  MsgTimeoutNow: ignored,
  // It knows of none.
  MsgForgetLeader: ignored,
  // Its reads failed when it left its leader.
  MsgReadIndexResp: ignored,
};

const candidateRow: Row = { ...campaigning, MsgVoteResp: handleVoteAnswer, MsgPreVoteResp: ignored };

const preCandidateRow: Row = { ...campaigning, MsgVoteResp: ignored, MsgPreVoteResp: handlePreVoteAnswer };

const leaderRow: Row = {
  ...everyRole,
  MsgProp: leader.handleProposal,
  MsgApp: leader.twoLeaders,
  MsgHeartbeat: leader.twoLeaders,
  // A snapshot may have been sent by hand; a leader needs none.
  MsgSnap: ignored,
  MsgAppResp: leader.handleAppendAnswer,
  MsgHeartbeatResp: leader.handleHeartbeatAnswer,
  // Won already.
  MsgVoteResp: ignored,
  MsgPreVoteResp: ignored,
  MsgSnapStatus: leader.handleSnapshotStatus,
  MsgUnreachable: leader.handleUnreachable,
  MsgTransferLeader: leader.handleTransfer,
  // From a leader of this term there is no other.
  MsgTimeoutNow: ignored,
  MsgForgetLeader: ignored,
  MsgReadIndex: leader.handleReadRequest,
  MsgReadIndexResp: ignored,
};

/** The table by names, for the test that reads it. */
export const rows: Readonly<Record<Role, Row>> = Object.freeze({
  follower: followerRow,
  preCandidate: preCandidateRow,
  candidate: candidateRow,
  leader: leaderRow,
});

const indexed: Readonly<Record<Role, readonly Handler[]>> = Object.freeze({
  follower: byNumber(followerRow),
  preCandidate: byNumber(preCandidateRow),
  candidate: byNumber(candidateRow),
  leader: byNumber(leaderRow),
});

function byNumber(row: Row): readonly Handler[] {
  const list: Handler[] = new Array<Handler>(Object.keys(MsgType).length).fill(ignored);
  for (const name of Object.keys(row) as MsgTypeName[]) list[MsgType[name]] = row[name];
  return list;
}

export function handlerFor(role: Role, type: MsgType): Handler {
  return indexed[role][type] ?? ignored;
}
