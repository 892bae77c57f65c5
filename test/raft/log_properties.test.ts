import fc from 'fast-check';
import t from 'tap';
import { RaftLog } from '../../src/raft/log/raft_log.js';
import type { Entry } from '../../src/raft/message.js';
import { normal, voters } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* Two logs that meet (Raft §5.3). Terms along a log never fall; logs that agree at one index agree up to it. */

interface Pair {
  readonly leader: Entry[];
  readonly follower: Entry[];
  /** Entries that both have. */
  readonly shared: number;
}

const growth = fc.array(fc.nat(2), { maxLength: 8 });

function grow(from: readonly Entry[], steps: readonly number[], ofTerm: (term: number) => number): Entry[] {
  const entries = [...from];
  for (const step of steps) {
    const last = entries.at(-1)?.term ?? 1;
    entries.push(normal(ofTerm(last + step), entries.length + 1));
  }
  return entries;
}

/** After the shared part one log has odd terms and the other one even terms, so that they agree nowhere else. */
const pair: fc.Arbitrary<Pair> = fc.tuple(growth, growth, growth).map(([both, ours, theirs]) => {
  const shared = grow([], both, (term) => term);
  const odd = (term: number): number => term | 1;
  const even = (term: number): number => term + (term & 1);
  const split = grow(shared, [], odd);
  const leader = grow(split, ours, (term) => odd(term + 1));
  const follower = grow(split, theirs, (term) => even(term + 1));
  return { leader, follower, shared: shared.length };
});

function logOf(entries: readonly Entry[]): RaftLog {
  const log = new RaftLog(new MemoryRaftStorage(voters(1)), Infinity);
  for (const entry of entries) log.append(entry);
  return log;
}

/** Probes as a leader does until the follower takes one; the index that was taken, and the number of probes. */
function probe(leader: RaftLog, follower: RaftLog): { at: number; probes: number } {
  let at = leader.lastIndex();
  for (let probes = 1; ; probes++) {
    if (follower.appendFromLeader(at, leader.term(at) ?? -1, []) !== null) return { at, probes };
    const hint = follower.findConflictByTerm(Math.min(at, follower.lastIndex()), leader.term(at) ?? -1);
    const next = hint.term > 0 ? leader.findConflictByTerm(hint.index, hint.term).index : hint.index;
    at = Math.min(at - 1, next);
  }
}

void t.test(
  'probing with hints ends at the last entry that both logs have, after at most one probe a term',
  async (t) => {
    let refusals = 0;
    fc.assert(
      fc.property(pair, ({ leader, follower, shared }) => {
        const { at, probes } = probe(logOf(leader), logOf(follower));
        refusals += probes - 1;
        const terms = new Set([...leader, ...follower].map(({ term }) => term)).size;
        return at === Math.min(shared, leader.length) && probes <= terms + 2;
      }),
      { numRuns: 500 },
    );
    t.ok(refusals > 100, `${refusals} probes were refused`);
  },
);

void t.test('taking the entries after a probe makes the logs the same, and again changes nothing', async (t) => {
  fc.assert(
    fc.property(pair, ({ leader, follower, shared }) => {
      const log = logOf(follower);
      const entries = leader.slice(shared);
      const term = leader[shared - 1]?.term ?? 0;
      for (let times = 0; times < 2; times++) {
        if (log.appendFromLeader(shared, term, entries) !== leader.length) return false;
        const last = entries.length > 0 ? leader.length : follower.length;
        if (log.lastIndex() !== last) return false;
        if (leader.some((entry) => log.term(entry.index) !== entry.term)) return false;
      }
      return true;
    }),
  );
  t.pass("the leader's log is a prefix");
});

void t.test('an append that comes late takes nothing from a longer log of the same leader', async (t) => {
  fc.assert(
    fc.property(growth, fc.nat(8), fc.nat(8), (steps, from, count) => {
      const entries = grow([], steps, (term) => term);
      const log = logOf(entries);
      const start = Math.min(from, entries.length);
      const late = entries.slice(start, start + count);
      log.appendFromLeader(start, entries[start - 1]?.term ?? 0, late);
      return log.lastIndex() === entries.length && entries.every((entry) => log.term(entry.index) === entry.term);
    }),
  );
  t.pass('nothing is cut off (Raft §5.3, "if an existing entry conflicts")');
});
