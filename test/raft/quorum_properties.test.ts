import fc from 'fast-check';
import t from 'tap';
import { emptyConfState } from '../../src/raft/conf_state.js';
import { jointVotes } from '../../src/raft/quorum/joint.js';
import { PeerTable } from '../../src/raft/tracker/peer_table.js';

/* What a leader computes over its members, against a count over all sets of voters (Raft §5.3; joint: thesis §4.3). */

const idMax = 6;
const half = fc.uniqueArray(fc.integer({ min: 1, max: idMax }), { minLength: 1, maxLength: idMax });
const outgoing = fc.oneof(fc.constant<number[]>([]), half);

/** All sets of ids that hold a majority of each half that is not empty. */
function quorums(halves: readonly (readonly number[])[]): number[] {
  const bits = (ids: readonly number[]): number => ids.reduce((set, id) => set | (1 << id), 0);
  const count = (set: number): number => set.toString(2).replaceAll('0', '').length;
  const decides = (set: number): boolean =>
    halves.every((ids) => ids.length === 0 || count(set & bits(ids)) * 2 > ids.length);
  return Array.from({ length: 1 << (idMax + 1) }, (_, set) => set).filter(decides);
}

const has = (set: number, id: number): boolean => (set & (1 << id)) !== 0;

void t.test('a leader commits exactly what some quorum has stored', async (t) => {
  const matches = fc.array(fc.nat(9), { minLength: idMax + 1, maxLength: idMax + 1 });
  fc.assert(
    fc.property(half, outgoing, matches, (voters, votersOutgoing, match) => {
      const sorted = (ids: readonly number[]): number[] => [...ids].sort((a, b) => a - b);
      const conf = { ...emptyConfState, voters: sorted(voters), votersOutgoing: sorted(votersOutgoing) };
      const peers = new PeerTable({ inflightMsgsMax: 1, inflightBytesMax: 1 }, conf, 1);
      for (const peer of peers.all) peer.match = match[peer.id] ?? 0;
      const storedBy = (set: number): number => Math.min(...match.filter((_, id) => has(set, id)));
      const ofMembers = quorums([voters, votersOutgoing]).map((set) => {
        const members = peers.all.reduce((bits, { id }) => bits | (1 << id), 0);
        return storedBy(set & members);
      });
      return peers.quorumMatch() === Math.max(...ofMembers);
    }),
  );
  t.pass('quorumMatch is the best of all quorums');
});

void t.test('an election is won by a quorum of grants, lost once none is possible, and open in between', async (t) => {
  const seen = { won: 0, lost: 0, pending: 0 };
  const cast = fc.array(fc.constantFrom(true, false, undefined), { minLength: idMax + 1, maxLength: idMax + 1 });
  fc.assert(
    fc.property(half, outgoing, cast, (voters, votersOutgoing, votes) => {
      const known = new Map<number, boolean>();
      for (const [id, vote] of votes.entries()) if (vote !== undefined) known.set(id, vote);
      const all = quorums([voters, votersOutgoing]);
      const members = [...voters, ...votersOutgoing];
      const agree = (set: number, granted: (id: number) => boolean): boolean =>
        members.every((id) => !has(set, id) || granted(id));
      const won = all.some((set) => agree(set, (id) => known.get(id) === true));
      const possible = all.some((set) => agree(set, (id) => known.get(id) !== false));
      const result = jointVotes(voters, votersOutgoing, known);
      seen[result]++;
      return result === (won ? 'won' : possible ? 'pending' : 'lost');
    }),
    { numRuns: 300 },
  );
  t.ok(seen.won > 0 && seen.lost > 0 && seen.pending > 0, JSON.stringify(seen));
});

void t.test('two elections cannot both be won when each voter votes once', async (t) => {
  let decided = 0;
  const choices = fc.array(fc.constantFrom('one', 'other', 'none'), { minLength: idMax + 1, maxLength: idMax + 1 });
  fc.assert(
    fc.property(half, outgoing, choices, (voters, votersOutgoing, choice) => {
      const votesFor = (candidate: string): Map<number, boolean> =>
        new Map([...choice.entries()].map(([id, chosen]) => [id, chosen === candidate]));
      const results = ['one', 'other'].map((candidate) => jointVotes(voters, votersOutgoing, votesFor(candidate)));
      if (results.includes('won')) decided++;
      return results.filter((result) => result === 'won').length < 2;
    }),
    { numRuns: 300 },
  );
  t.ok(decided > 0, `${decided} elections were decided`);
});
