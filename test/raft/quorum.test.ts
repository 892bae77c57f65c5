import fc from 'fast-check';
import t from 'tap';
import { jointIndex, jointVotes } from '../../src/raft/quorum/joint.js';
import { majorityIndex, majoritySize, majorityVotes } from '../../src/raft/quorum/majority.js';

/* Raft §5.2, §5.3 (majorities), thesis §4.3 (joint quorums). */

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 9 });

void t.test('a majority is more than half', (t) => {
  t.strictSame([1, 2, 3, 4, 5, 6, 7].map(majoritySize), [1, 2, 2, 3, 3, 4, 4]);
  t.end();
});

void t.test('the majority index is the largest value that more than half have reached', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (values) => {
      const found = majorityIndex([...values]);
      const reached = (v: number): boolean => values.filter((x) => x >= v).length * 2 > values.length;
      const best = Math.max(...[0, ...values].filter(reached));
      return found === best;
    }),
  );
  t.equal(majorityIndex([]), Infinity, 'no voters hold nothing back');
  t.end();
});

void t.test('a joint index is what majorities of both halves have reached, and either half may be empty', (t) => {
  fc.assert(
    fc.property(ids, ids, fc.array(fc.nat(9), { minLength: 13, maxLength: 13 }), (a, b, acked) => {
      const half = (voters: number[]): number => majorityIndex(voters.map((id) => acked[id] ?? 0));
      const joint = jointIndex(half(a), half(b));
      return (
        joint === jointIndex(half(b), half(a)) &&
        jointIndex(half(a), half([])) === half(a) &&
        jointIndex(half(a), half(a)) === half(a) &&
        joint <= half(a) &&
        joint <= half(b)
      );
    }),
  );
  t.end();
});

void t.test('a vote is won, lost or pending exactly when all outcomes of the open votes agree', (t) => {
  const voteOf = fc.constantFrom(true, false, undefined);
  fc.assert(
    fc.property(ids, ids, fc.array(voteOf, { minLength: 13, maxLength: 13 }), (a, b, cast) => {
      const voters = [...new Set([...a, ...b])];
      const votes = new Map<number, boolean>();
      for (const id of voters) {
        const vote = cast[id];
        if (vote !== undefined) votes.set(id, vote);
      }
      const open = voters.filter((id) => !votes.has(id));
      const wins = (all: ReadonlyMap<number, boolean>): boolean =>
        [a, b].every((half) => half.length === 0 || half.filter((id) => all.get(id) === true).length * 2 > half.length);
      const allYes = wins(new Map([...votes, ...open.map((id) => [id, true] as const)]));
      const allNo = wins(new Map([...votes, ...open.map((id) => [id, false] as const)]));
      const result = jointVotes(a, b, votes);
      return result === (allNo ? 'won' : allYes ? 'pending' : 'lost');
    }),
  );
  t.equal(majorityVotes([], new Map()), 'won');
  t.end();
});
