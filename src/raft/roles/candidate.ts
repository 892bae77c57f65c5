import type { Core, Handler } from '../core.js';
import { stepOk } from '../core.js';
import { campaign, tallyVote } from '../election.js';
import { none } from '../message.js';
import type { Message } from '../message.js';
import { broadcastAppend } from '../replication.js';
import { becomeFollower, becomeLeader } from './transitions.js';

/* Messages to candidates and pre-candidates (Raft §5.2). */

/** Someone else leads this term: follow, then take the message as a follower does. */
export function followAnd(handler: Handler): Handler {
  return (core, m) => {
    becomeFollower(core, m.term, m.from);
    return handler(core, m);
  };
}

export const handleVoteAnswer: Handler = (core, m) => {
  switch (tallyVote(core, m.from, !m.reject)) {
    case 'won':
      becomeLeader(core);
      broadcastAppend(core, core.leading());
      break;
    case 'lost':
      lose(core, m);
      break;
    case 'pending':
      break;
  }
  return stepOk;
};

export const handlePreVoteAnswer: Handler = (core, m) => {
  // A grant is of the term that would be next; one of an earlier candidacy says nothing about this one.
  if (!m.reject && m.term !== core.term + 1) return stepOk;
  switch (tallyVote(core, m.from, !m.reject)) {
    case 'won':
      campaign(core, false);
      break;
    case 'lost':
      lose(core, m);
      break;
    case 'pending':
      break;
  }
  return stepOk;
};

function lose(core: Core, m: Message): void {
  core.config.logger?.debug({ term: core.term, by: m.from }, 'raft: lost an election');
  becomeFollower(core, core.term, none);
}
