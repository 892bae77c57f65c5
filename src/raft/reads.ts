import type { Core, Leadership } from './core.js';
import { leaseMarginTicks, pendingReadsMax } from './limits.js';
import { MsgType, newMessage, none } from './message.js';
import { readFailedIndex } from './ready.js';
import type { WaitingRead } from './read_rounds.js';
import { broadcastHeartbeat } from './replication.js';

/*
 * Linearizable reads without log entries (Raft §8, thesis §6.4). Every readIndex() gets exactly one answer in
 * Ready.readStates, of index -1 when the read was not served.
 *
 *     leader:   readIndex ─▶ fresh ─ own-term commit, ready() ─▶ waits for a round ─ quorum ─▶ readStates
 *     follower: readIndex ─ MsgReadIndex ─▶ leader as above ─ MsgReadIndexResp ─▶ readStates
 *
 * Under leaseBased no round is needed while a quorum's answers are fresh, since none of those who answered votes for
 * anyone else yet; the promise is kept in holdsPromise (election.ts). Lease time is a LeaseClock's, or own ticks.
 */

/** An application's read, on any role. True: it was answered at once, under a lease. */
export function readIndex(core: Core, context: number): boolean {
  if (core.leadership !== null) return takeRead(core, core.leadership, core.id, context);
  const full = (core.forwardedReads?.length ?? 0) >= pendingReadsMax;
  if (core.role !== 'follower' || core.leaderId === none || full) {
    core.readStates.push({ index: readFailedIndex, context });
    return false;
  }
  core.forwardedReads ??= [];
  core.forwardedReads.push({ context, askedAt: core.ticks });
  // Term 0, as a proposal: whoever leads now may answer.
  const m = newMessage(MsgType.MsgReadIndex, core.id, core.leaderId);
  m.context = context;
  core.send(m);
  return false;
}

/** A leader takes a read, of its own or of a follower. First its index, then the look at the lease. True: a lease answered it. */
export function takeRead(core: Core, leadership: Leadership, from: number, context: number): boolean {
  const read: WaitingRead = { from, context, index: core.log.commit };
  if (leadership.ownTermCommitted && hasLease(core, leadership)) {
    answerRead(core, read, read.index);
    return true;
  }
  if (!leadership.reads.add(read)) answerRead(core, read, readFailedIndex);
  return false;
}

/** True when reads wait for ready() to start their round. */
export function readsDue(leadership: Leadership): boolean {
  return leadership.ownTermCommitted && leadership.reads.hasFresh;
}

/** Starts one round for all reads that came since the last one. */
export function startReadRound(core: Core, leadership: Leadership): void {
  leadership.reads.start(core.leaseStamp());
  leadership.reads.enlist(core.log.commit);
  // Without other voters the round is over before it starts.
  serveReads(core, leadership);
  if (leadership.reads.hasWaiting) broadcastHeartbeat(core, leadership);
}

/** A member answered a heartbeat of this round. */
export function roundAnswered(core: Core, leadership: Leadership, from: number, round: number): void {
  const peer = leadership.peers.find(from);
  // A round from before it became a member was answered by somebody else under this id.
  if (peer === null || round <= peer.roundFloor || round > leadership.reads.round) return;
  if (round <= peer.ackedRound) return;
  peer.ackedRound = round;
  serveReads(core, leadership);
}

/** Answers what a quorum confirmed. Rounds count a leader itself as soon as they start. */
function serveReads(core: Core, leadership: Leadership): void {
  const round = confirmedRound(core, leadership);
  for (const read of leadership.reads.confirm(round)) answerRead(core, read, read.index);
}

function confirmedRound(core: Core, leadership: Leadership): number {
  const self = leadership.peers.find(core.id);
  if (self !== null) self.ackedRound = leadership.reads.round;
  const round = leadership.peers.quorumRound();
  return Number.isFinite(round) ? round : 0;
}

/**
 * The lease starts when a round is sent, not when it is answered, and ends before the first voter that answered it
 * may vote. There is none during a transfer, nor after the target was told to campaign: forced votes ignore promises.
 */
function hasLease(core: Core, leadership: Leadership): boolean {
  const { readOnlyOption, electionTick, leaseClock } = core.config;
  if (readOnlyOption !== 'leaseBased' || leadership.transferee !== none || leadership.timeoutNowSent) return false;
  const round = confirmedRound(core, leadership);
  if (leaseClock !== undefined) {
    const sentMs = leadership.reads.leaseStart(round);
    return round > 0 && sentMs !== null && leaseClock.covers(sentMs);
  }
  return round > 0 && leadership.reads.givesLease(round, core.ticks, electionTick - leaseMarginTicks);
}

function answerRead(core: Core, read: WaitingRead, index: number): void {
  if (read.from === core.id) {
    core.readStates.push({ index, context: read.context });
    return;
  }
  const m = core.message(MsgType.MsgReadIndexResp, read.from);
  m.context = read.context;
  if (index === readFailedIndex) {
    m.reject = true;
  } else {
    m.index = index;
    // Under a piggyback policy the follower may otherwise wait for the next heartbeat to be able to apply so far.
    m.commit = Math.min(core.progressOf(read.from)?.match ?? 0, core.log.commit);
  }
  core.send(m);
}

/** The leader steps down: nobody can tell any more whether its commit index is current. */
export function failLeaderReads(core: Core, leadership: Leadership): void {
  for (const read of leadership.reads.drain()) answerRead(core, read, readFailedIndex);
}

/** The leader that was asked is not the leader any more, or not known to be. */
export function failForwardedReads(core: Core): void {
  if (core.forwardedReads === null) return;
  for (const read of core.forwardedReads) core.readStates.push({ index: readFailedIndex, context: read.context });
  core.forwardedReads = null;
}

/** Questions and answers can be lost: whatever is unanswered after an election timeout has failed. True if anything was. */
export function expireForwardedReads(core: Core): boolean {
  const { forwardedReads, config } = core;
  if (forwardedReads === null) return false;
  const waiting = forwardedReads.findIndex((read) => core.ticks - read.askedAt < config.electionTick);
  const expired = waiting === -1 ? forwardedReads : forwardedReads.slice(0, waiting);
  core.forwardedReads = waiting === -1 ? null : forwardedReads.slice(waiting);
  for (const read of expired) core.readStates.push({ index: readFailedIndex, context: read.context });
  return expired.length > 0;
}

/** The leader's answer. One that nobody waits for any more was answered with a failure before. */
export function takeForwardedAnswer(core: Core, context: number, index: number): void {
  const { forwardedReads } = core;
  const at = forwardedReads?.findIndex((read) => read.context === context) ?? -1;
  if (forwardedReads === null || at === -1) return;
  forwardedReads.splice(at, 1);
  if (forwardedReads.length === 0) core.forwardedReads = null;
  core.readStates.push({ index, context });
}
