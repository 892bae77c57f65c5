import type { Core } from './core.js';
import { none } from './message.js';
import type { PeerStatus, RaftStatus } from './ready.js';
import type { Progress } from './tracker/progress.js';

/** A copy of what a peer knows, for people and tests; not for the hot path. */
export function statusOf(core: Core): RaftStatus {
  const { log, leadership } = core;
  return {
    id: core.id,
    term: core.term,
    vote: core.vote,
    commit: log.commit,
    applied: log.applied,
    firstIndex: log.firstIndex(),
    lastIndex: log.lastIndex(),
    stableIndex: log.stableIndex,
    role: core.role,
    leaderId: core.leaderId,
    leadTransferee: leadership?.transferee ?? none,
    confState: core.conf,
    progress: new Map((leadership?.peers.all ?? []).map((peer) => [peer.id, peerStatusOf(peer)])),
  };
}

function peerStatusOf(peer: Progress): PeerStatus {
  return {
    id: peer.id,
    state: peer.state,
    match: peer.match,
    next: peer.next,
    learner: peer.learner,
    paused: peer.isPaused(),
    pendingSnapshot: peer.pendingSnapshot,
    recentActive: peer.recentActive,
    inflightMsgs: peer.inflights.count,
    inflightFull: peer.inflights.full(),
    sentCommit: peer.sentCommit,
  };
}
