import t from 'tap';
import { ProposalWaiters, type ProposedEntry } from '../../src/multiraft/proposal_waiters.js';

function entry(index: number, term: number): ProposedEntry {
  return { index, term, commands: [], dones: [], bytes: 0, deadlineTick: 0, older: null };
}

function terms(first: ProposedEntry | null): number[] {
  const found: number[] = [];
  for (let e = first; e !== null; e = e.older) found.push(e.term);
  return found;
}

t.test('an index can hold entries of several terms; what is applied there settles all of them', async (t) => {
  const waiters = new ProposalWaiters();
  waiters.add(entry(10, 3));
  waiters.add(entry(11, 3));
  waiters.add(entry(10, 5));
  t.same(terms(waiters.peek(10)), [5, 3]);
  t.same(terms(waiters.take(10)), [5, 3]);
  t.equal(waiters.take(10), null);
  t.same(terms(waiters.take(11)), [3]);
  t.equal(waiters.size, 0);
});

t.test('a deadline holds for what was proposed before leadership was lost, not for what came later', async (t) => {
  const waiters = new ProposalWaiters();
  waiters.add(entry(10, 3));
  waiters.leadershipLost(100);
  waiters.add(entry(10, 5));
  waiters.add(entry(11, 5));
  t.same(waiters.takeExpired(99), []);
  t.same(
    waiters.takeExpired(100).map((e) => [e.index, e.term]),
    [[10, 3]],
  );
  t.same(terms(waiters.peek(10)), [5]);
  waiters.leadershipLost(200);
  waiters.leadershipLost(300);
  t.equal(waiters.takeExpired(200).length, 2, 'losing it again does not prolong the wait');
  t.equal(waiters.size, 0);
});

t.test('later deadlines are kept when earlier ones pass', async (t) => {
  const waiters = new ProposalWaiters();
  waiters.add(entry(10, 3));
  waiters.leadershipLost(100);
  waiters.add(entry(11, 5));
  waiters.leadershipLost(150);
  t.equal(waiters.takeExpired(120).length, 1);
  t.equal(waiters.takeExpired(149).length, 0);
  t.equal(waiters.takeExpired(150).length, 1);
});

t.test('a snapshot takes out everything up to its index', async (t) => {
  const waiters = new ProposalWaiters();
  for (const [index, term] of [
    [10, 3],
    [11, 3],
    [11, 4],
    [12, 4],
  ] as const) {
    waiters.add(entry(index, term));
  }
  t.same(
    waiters.takeThrough(11).map((e) => [e.index, e.term]),
    [
      [10, 3],
      [11, 4],
      [11, 3],
    ],
  );
  t.same(
    waiters.takeAll().map((e) => e.index),
    [12],
  );
});
