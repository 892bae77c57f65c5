import { voterIds } from './conf_state.js';
import type { Core } from './core.js';
import { campaignTransfer, EntryType, MsgType, none } from './message.js';
import type { Message } from './message.js';
import { jointVotes } from './quorum/joint.js';
import type { VoteResult } from './quorum/majority.js';
import { becomeCandidate, becomePreCandidate } from './roles/transitions.js';

/* Campaigning and voting (Raft §5.2, §5.4.1; PreVote: thesis §9.6; CheckQuorum: thesis §6.2, §4.2.3). */

/** Bytes of entries looked through at a time for membership changes. */
const scanBytesMax = 1024 * 1024;

/** Starts an election if this replica may: because of its timer, or because its leader asked it to (`transfer`). */
export function maybeCampaign(core: Core, transfer: boolean): void {
  if (core.role === 'leader') return;
  if (!core.isPromotable()) return;
  // Its own vote is a vote: it is promised, too.
  if (!transfer && keepsLeasePromise(core)) return;
  if (hasUnappliedConfChange(core)) {
    core.config.logger?.info({ term: core.term }, 'raft: not campaigning with a membership change to apply');
    return;
  }
  if (core.config.preVote && !transfer) campaignForPreVotes(core);
  else campaign(core, transfer);
}

/** A committed membership change decides who votes: it has to be applied first (thesis §4.1). */
function hasUnappliedConfChange(core: Core): boolean {
  const { log } = core;
  for (let next = log.applied + 1; next <= log.commit;) {
    const page = log.slice(next, log.commit + 1, scanBytesMax);
    // Not in memory: assume there is one. The next timeout asks again.
    if (typeof page === 'string' || page.length === 0) return true;
    if (page.some((entry) => entry.type !== EntryType.EntryNormal)) return true;
    next += page.length;
  }
  return false;
}

function campaignForPreVotes(core: Core): void {
  becomePreCandidate(core);
  askForVotes(core, MsgType.MsgPreVote, core.term + 1, 0);
}

/** Raises the term and asks for votes. */
export function campaign(core: Core, transfer: boolean): void {
  becomeCandidate(core);
  askForVotes(core, MsgType.MsgVote, core.term, transfer ? campaignTransfer : 0);
}

function askForVotes(
  core: Core,
  type: typeof MsgType.MsgVote | typeof MsgType.MsgPreVote,
  term: number,
  context: number,
): void {
  const lastIndex = core.log.lastIndex();
  const lastTerm = core.log.lastTerm();
  for (const id of voterIds(core.conf)) {
    if (id === core.id) {
      // Its own vote counts once it is durable, as everyone else's does.
      const vote = core.message(responseType(type), id);
      vote.term = term;
      core.sendWhenDurable(vote);
      continue;
    }
    const m = core.message(type, id);
    m.term = term;
    m.index = lastIndex;
    m.logTerm = lastTerm;
    m.context = context;
    if (type === MsgType.MsgVote && mustOutliveCrash(core)) core.sendWhenDurable(m);
    else core.send(m);
  }
}

/**
 * A vote is for one candidacy, with one log. After a crash the candidate must not campaign in the same term again, with
 * less of a log, and find votes for its former self: so term and log are durable before it asks. Without async storage writes they
 * are before anything is sent.
 */
function mustOutliveCrash(core: Core): boolean {
  return core.config.asyncStorageWrites && core.config.earlyVoteRequests !== true;
}

function responseType(type: MsgType): MsgType {
  return type === MsgType.MsgVote ? MsgType.MsgVoteResp : MsgType.MsgPreVoteResp;
}

/** Notes an answer to the present candidacy; each voter's first one counts. */
export function tallyVote(core: Core, from: number, granted: boolean): VoteResult {
  const votes = core.candidacy?.votes;
  if (votes === undefined) return 'lost';
  if (!votes.has(from)) votes.set(from, granted);
  return jointVotes(core.conf.voters, core.conf.votersOutgoing, votes);
}

/** Answers MsgVote and MsgPreVote of the own term, and MsgPreVote of a higher one. */
export function handleVoteRequest(core: Core, m: Message): void {
  const preVote = m.type === MsgType.MsgPreVote;
  const free =
    core.vote === m.from || (core.vote === none && core.leaderId === none) || (preVote && m.term > core.term);
  const granted = free && core.log.isUpToDate(m.index, m.logTerm);
  const answer = core.message(responseType(m.type), m.from);
  // A granted pre-vote is of a term that the voter itself is not in yet.
  if (granted) answer.term = m.term;
  else answer.reject = true;
  core.sendWhenDurable(answer);
  if (granted && !preVote) {
    core.electionElapsed = 0;
    core.vote = m.from;
  }
}

/**
 * True while this replica ignores candidates, because it hears a leader. Under CheckQuorum that keeps those who cannot
 * hear the leader from deposing it.
 */
export function holdsPromise(core: Core): boolean {
  const { checkQuorum, electionTick } = core.config;
  if (!checkQuorum) return false;
  if (core.leaderId !== none && core.electionElapsed < electionTick) return true;
  return keepsLeasePromise(core);
}

/**
 * Under lease-based reads the leader that was heard last may still serve reads from its lease, even if this replica has
 * moved to another term since or was restarted. The promise is thus to any leader heard, and outlives the term.
 */
export function keepsLeasePromise(core: Core): boolean {
  return core.config.readOnlyOption === 'leaseBased' && promiseLeft(core) > 0;
}

/** What is left of the promise to the leader heard last, in lease time; not above 0: nothing. */
export function promiseLeft(core: Core): number {
  const { leaseClock, electionTick } = core.config;
  return core.leaderHeardAt + (leaseClock?.promiseMs ?? electionTick) - core.leaseStamp();
}
