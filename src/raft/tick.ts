import type { Core, Leadership } from './core.js';
import { maybeCampaign } from './election.js';
import { none } from './message.js';
import { expireForwardedReads } from './reads.js';
import { broadcastHeartbeat } from './replication.js';
import { abortTransfer } from './roles/leader.js';
import { becomeFollower } from './roles/transitions.js';

/* Time, in ticks. Most ticks find nothing due and only count: they are what thousands of idle groups cost. */

/** True when a timer fired: there may be something to hand out. */
export function tick(core: Core): boolean {
  core.ticks++;
  core.electionElapsed++;
  return core.leadership === null ? tickOthers(core) : tickLeader(core, core.leadership);
}

function tickOthers(core: Core): boolean {
  const failed = core.forwardedReads !== null && expireForwardedReads(core);
  if (core.electionElapsed < core.electionTimeout || !core.isPromotable()) return failed;
  core.electionElapsed = 0;
  maybeCampaign(core, false);
  return true;
}

function tickLeader(core: Core, leadership: Leadership): boolean {
  const { electionTick, heartbeatTick, checkQuorum } = core.config;
  core.heartbeatElapsed++;
  let fired = false;
  if (core.electionElapsed >= electionTick) {
    fired = true;
    core.electionElapsed = 0;
    if (checkQuorum && !evaluateQuorum(core, leadership)) return true;
    if (leadership.transferee !== none) abortTransfer(core, leadership);
  }
  if (core.heartbeatElapsed >= heartbeatTick) {
    fired = true;
    core.heartbeatElapsed = 0;
    broadcastHeartbeat(core, leadership);
  }
  return fired;
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
