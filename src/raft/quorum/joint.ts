import { majorityVotes } from './majority.js';
import type { VoteResult } from './majority.js';

/*
 * Joint quorums (thesis §4.3): a decision needs a majority of both halves. An empty second half is an
 * ordinary configuration.
 */

/** The highest value reached by both halves, given the value that each has reached. */
export function jointIndex(incoming: number, outgoing: number): number {
  return Math.min(incoming, outgoing);
}

/** Both have to be won; losing one is enough to lose. */
export function jointVotes(
  incoming: readonly number[],
  outgoing: readonly number[],
  votes: ReadonlyMap<number, boolean>,
): VoteResult {
  const a = majorityVotes(incoming, votes);
  const b = majorityVotes(outgoing, votes);
  if (a === b) return a;
  return a === 'lost' || b === 'lost' ? 'lost' : 'pending';
}
