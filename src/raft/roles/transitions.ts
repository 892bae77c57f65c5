import { assert } from '../../base/assert.js';
import { voterIds } from '../conf_state.js';
import type { Core } from '../core.js';
import { acknowledgeToSelf, appendAsLeader } from '../proposals.js';
import { none, EntryType, emptyBuffer } from '../message.js';
import { failForwardedReads, failLeaderReads } from '../reads.js';
import { ReadRounds } from '../read_rounds.js';
import { PeerTable } from '../tracker/peer_table.js';

/*
 * The only place where a role, the term, or what belongs to a role changes (Raft figure 4).
 *
 *                 timeout                majority would              majority did
 *     follower ──────────▶ preCandidate ──────────────▶ candidate ──────────────▶ leader
 *        ▲ ▲                    │                          │                        │
 *        │ └────────────────────┴──────────────────────────┘                        │
 *        │       lost, or a leader of the term is heard                             │
 *        └──────────────────────────────────────────────────────────────────────────┘
 *          higher term (from everywhere); no active quorum or removed (from leader)
 *
 * Without PreVote, and when leadership is handed over, a follower becomes a candidate at once.
 */

/** Leaves the present role: what belongs to it ends here. */
function leaveRole(core: Core): void {
  failForwardedReads(core);
  // In the old term, in which those who asked know this replica as their leader.
  if (core.leadership !== null) failLeaderReads(core, core.leadership);
  core.leadership = null;
  core.candidacy = null;
  core.leaderId = none;
}

/** A vote belongs to a term (Raft §5.2). */
function enterTerm(core: Core, term: number): void {
  assert(term >= core.term, 'raft: the term never moves back');
  assert(Number.isSafeInteger(term), 'raft: the term fits a number');
  if (term === core.term) return;
  core.term = term;
  core.vote = none;
}

function restartTimers(core: Core): void {
  core.electionElapsed = 0;
  core.heartbeatElapsed = 0;
  core.drawElectionTimeout();
}

export function becomeFollower(core: Core, term: number, leaderId: number): void {
  const wasFollower = core.role === 'follower';
  leaveRole(core);
  enterTerm(core, term);
  restartTimers(core);
  core.role = 'follower';
  core.leaderId = leaderId;
  if (!wasFollower) core.config.logger?.info({ term, leaderId }, 'raft: became follower');
}

/** Changes neither term nor vote: nothing is lost if nobody would vote for it (thesis §9.6). */
export function becomePreCandidate(core: Core): void {
  assert(core.role !== 'leader', 'raft: a leader does not become a pre-candidate');
  leaveRole(core);
  core.drawElectionTimeout();
  core.role = 'preCandidate';
  core.candidacy = { votes: new Map() };
  core.config.logger?.info({ term: core.term }, 'raft: became pre-candidate');
}

export function becomeCandidate(core: Core): void {
  assert(core.role !== 'leader', 'raft: a leader does not become a candidate');
  leaveRole(core);
  enterTerm(core, core.term + 1);
  restartTimers(core);
  core.role = 'candidate';
  core.vote = core.id;
  core.candidacy = { votes: new Map() };
  core.config.logger?.info({ term: core.term }, 'raft: became candidate');
}

/** Starts a leadership with an empty entry, without which nothing from before can be committed (Raft §5.4.2, §8). */
export function becomeLeader(core: Core): void {
  assert(core.role === 'candidate', 'raft: only a candidate becomes leader');
  assert(voterIds(core.conf).includes(core.id), 'raft: only a voter becomes leader');
  const { log, config } = core;
  leaveRole(core);
  restartTimers(core);
  core.role = 'leader';
  core.leaderId = core.id;
  const last = log.lastIndex();
  const options = { inflightMsgsMax: config.maxInflightMsgs, inflightBytesMax: config.maxInflightBytes };
  const leadership = {
    peers: new PeerTable(options, core.conf, last + 1),
    reads: new ReadRounds(),
    firstOwnIndex: last + 1,
    ownTermCommitted: false,
    transferee: none,
    timeoutNowSent: false,
    // Any entry not applied yet may be a membership change; reading them all to find out is not worth it.
    pendingConfIndex: last,
    uncommittedBytes: 0,
    appendsDue: false,
  };
  core.leadership = leadership;
  const self = leadership.peers.find(core.id);
  if (self !== null) {
    self.match = log.stableIndex;
    self.becomeReplicate();
    self.next = last + 1;
    self.recentActive = true;
  }
  appendAsLeader(core, leadership, EntryType.EntryNormal, emptyBuffer);
  acknowledgeToSelf(core);
  config.logger?.info({ term: core.term, lastIndex: log.lastIndex() }, 'raft: became leader');
}
