import type { Core, Leadership } from './core.js';
import { maybeCampaign } from './election.js';
import { none } from './message.js';
import { expireForwardedReads } from './reads.js';
import { broadcastHeartbeat } from './replication.js';
import { abortTransfer } from './roles/leader.js';
import { becomeFollower } from './roles/transitions.js';

/* Time, in ticks. */

export function tick(core: Core): void {
  core.ticks++;
  core.electionElapsed++;
  if (core.leadership === null) tickOthers(core);
  else tickLeader(core, core.leadership);
}

function tickOthers(core: Core): void {
  if (core.forwardedReads.length > 0) expireForwardedReads(core);
  if (core.electionElapsed < core.electionTimeout || !core.isPromotable()) return;
  core.electionElapsed = 0;
  maybeCampaign(core, false);
}

function tickLeader(core: Core, leadership: Leadership): void {
  const { electionTick, heartbeatTick, checkQuorum } = core.config;
  core.heartbeatElapsed++;
  if (core.electionElapsed >= electionTick) {
    core.electionElapsed = 0;
    if (checkQuorum && !evaluateQuorum(core, leadership)) return;
    if (leadership.transferee !== none) abortTransfer(core, leadership);
  }
  if (core.heartbeatElapsed >= heartbeatTick) {
    core.heartbeatElapsed = 0;
    broadcastHeartbeat(core, leadership);
  }
}

/** Thesis §6.2: a leader that no quorum answers makes room; false if it did. */
function evaluateQuorum(core: Core, leadership: Leadership): boolean {
  if (!leadership.peers.quorumActive()) {
    core.config.logger?.warn({ term: core.term }, 'raft: no active quorum');
    becomeFollower(core, core.term, none);
    return false;
  }
  leadership.peers.forgetActivity(core.id);
  return true;
}
