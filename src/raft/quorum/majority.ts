/** Arithmetic of one majority. Knows nothing of Raft beside Raft §5.2 and §5.3: more than half. */

export type VoteResult = 'won' | 'lost' | 'pending';

/** Members that make a majority of n. */
export function majoritySize(n: number): number {
  return Math.floor(n / 2) + 1;
}

/**
 * The highest value that a majority has reached, given one value per voter (0: nothing known). No voters: Infinity,
 * so that the empty half of a joint quorum does not hold back the other. Sorts its argument.
 */
export function majorityIndex(values: number[]): number {
  const n = values.length;
  if (n === 0) return Infinity;
  // Insertion sort: n is 3 or 5, and it allocates nothing.
  for (let i = 1; i < n; i++) {
    const value = values[i] ?? 0;
    let j = i - 1;
    for (; j >= 0 && (values[j] ?? 0) > value; j--) values[j + 1] = values[j] ?? 0;
    values[j + 1] = value;
  }
  return values[n - majoritySize(n)] ?? 0;
}

/** The outcome of a vote among `voters`; who is not in `votes` has not answered. No voters: won. */
export function majorityVotes(voters: readonly number[], votes: ReadonlyMap<number, boolean>): VoteResult {
  let yes = 0;
  let unknown = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) unknown++;
    else if (vote) yes++;
  }
  const needed = majoritySize(voters.length);
  if (voters.length === 0 || yes >= needed) return 'won';
  return yes + unknown >= needed ? 'pending' : 'lost';
}
