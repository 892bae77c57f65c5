import fc from 'fast-check';
import t from 'tap';
import { RaftLog } from '../../src/raft/log/raft_log.js';
import type { Entry } from '../../src/raft/message.js';
import { normal, voters } from './group.js';
import { MemoryRaftStorage } from './memory_storage.js';

/* The log as the core sees it, against a plain array. */

function logOf(entries: readonly Entry[], stable: number, applyingBytesMax = Infinity): RaftLog {
  const storage = new MemoryRaftStorage(voters(1));
  storage.append(entries.slice(0, stable));
  const log = new RaftLog(storage, applyingBytesMax);
  for (const entry of entries.slice(stable)) log.append(entry);
  return log;
}

function run(...terms: number[]): Entry[] {
  return terms.map((term, i) => normal(term, i + 1, `e${String(i + 1)}`));
}

void t.test('append, truncate, stabilize and compact agree with a model', (t) => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('leader' as const), back: fc.nat(4), count: fc.nat(3), newTerm: fc.boolean() }),
    fc.record({ kind: fc.constant('write' as const) }),
    fc.record({ kind: fc.constant('sync' as const) }),
    fc.record({ kind: fc.constant('commit' as const), by: fc.nat(3) }),
    fc.record({ kind: fc.constant('compact' as const), by: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const storage = new MemoryRaftStorage(voters(1));
      const log = new RaftLog(storage, Infinity);
      const model: Entry[] = [];
      let term = 1;
      let first = 1;
      const writes: { entries: readonly Entry[]; index: number; term: number; inTerm: number }[] = [];
      for (const a of actions) {
        switch (a.kind) {
          case 'leader': {
            if (a.newTerm) term++;
            const previous = Math.max(log.commit, model.length - a.back);
            const entries = Array.from({ length: a.count }, (_, i) => normal(term, previous + 1 + i));
            const previousTerm = previous === 0 ? 0 : (model[previous - 1]?.term ?? 0);
            if (log.appendFromLeader(previous, previousTerm, entries) !== previous + a.count) return false;
            const conflict = entries.findIndex((e) => model[e.index - 1]?.term !== e.term);
            if (conflict !== -1) model.splice(previous + conflict, Infinity, ...entries.slice(conflict));
            break;
          }
          case 'write': {
            const entries = log.unstable.nextEntries();
            log.unstable.acceptInProgress();
            storage.append(entries);
            if (entries.length > 0) {
              writes.push({ entries, index: log.lastIndex(), term: log.lastTerm(), inTerm: term });
            }
            break;
          }
          case 'sync': {
            const write = writes.shift();
            if (write?.inTerm === term) log.unstable.stableTo(write.index, write.term);
            break;
          }
          case 'commit':
            log.commitTo(Math.min(log.lastIndex(), log.commit + a.by));
            break;
          case 'compact': {
            const to = Math.min(log.commit, log.stableIndex, first - 1 + a.by);
            if (to >= first) {
              storage.compact(to);
              first = to + 1;
            }
            break;
          }
        }
        if (log.lastIndex() !== model.length || log.firstIndex() !== first) return false;
        for (let i = first; i <= model.length; i++) if (log.term(i) !== model[i - 1]?.term) return false;
        if (log.term(model.length + 1) !== null) return false;
        const all = log.slice(first, model.length + 1, Infinity);
        if (typeof all === 'string' || all.length !== model.length - first + 1) return false;
        if (!all.every((entry, i) => entry === model[first - 1 + i])) return false;
        for (let i = first; i <= log.stableIndex; i++) if (storage.term(i) !== model[i - 1]?.term) return false;
      }
      return true;
    }),
    { numRuns: 500 },
  );
  t.end();
});

void t.test('a page holds as many entries as fit, at least one, across storage and unstable entries', (t) => {
  const entries = run(1, 1, 1, 1);
  for (const stable of [0, 1, 2, 3, 4]) {
    const log = logOf(entries, stable);
    // Each entry counts 2 bytes of data and 16 of overhead.
    const length = (bytes: number): number => log.slice(1, 5, bytes).length;
    t.equal(length(0), 1);
    t.equal(length(18), 1);
    t.equal(length(35), 1);
    t.equal(length(36), 2);
    t.equal(length(71), 3);
    t.equal(length(72), 4);
  }
  t.equal(logOf(entries, 2).slice(3, 3, 100).length, 0);
  t.end();
});

void t.test(
  'a log is up to date if its last term is later, or the same and it is at least as long (Raft §5.4.1)',
  (t) => {
    const log = logOf(run(1, 2, 2), 3);
    t.ok(log.isUpToDate(1, 3));
    t.ok(log.isUpToDate(3, 2));
    t.notOk(log.isUpToDate(2, 2));
    t.notOk(log.isUpToDate(9, 1));
    t.end();
  },
);

void t.test('conflict hints skip whole terms (Raft §5.3)', (t) => {
  const log = logOf(run(1, 1, 3, 3, 5), 5);
  t.strictSame(log.findConflictByTerm(5, 4), { index: 4, term: 3 });
  t.strictSame(log.findConflictByTerm(4, 2), { index: 2, term: 1 });
  t.strictSame(log.findConflictByTerm(5, 9), { index: 5, term: 5 });
  t.strictSame(log.findConflictByTerm(5, 0), { index: 0, term: 0 });
  t.end();
});

void t.test('a committed entry is never replaced, and commit stays within the log', (t) => {
  const log = logOf(run(1, 1), 2);
  log.commitTo(2);
  t.throws(() => log.appendFromLeader(1, 1, [normal(2, 2)]), /never replaced/);
  t.throws(() => log.commitTo(3), /in the log/);
  log.commitTo(1);
  t.equal(log.commit, 2, 'commit does not move back');
  t.end();
});

void t.test('committed entries are paged by the bytes that are not applied yet', (t) => {
  const log = logOf(run(1, 1, 1), 3, 40);
  log.commitTo(3);
  const page = log.nextCommitted(true);
  t.equal(page.length, 2, 'two of 18 bytes fit 40');
  log.acceptApplying(page, true);
  t.notOk(log.hasNextCommitted(true), 'nothing more while they are being applied');
  const full = logOf(run(1, 1, 1), 3, 36);
  full.commitTo(2);
  full.acceptApplying(full.nextCommitted(true), true);
  full.commitTo(3);
  t.notOk(full.hasNextCommitted(true), 'the budget is used up to the byte');
  log.appliedTo(1, 18);
  t.ok(log.hasNextCommitted(true));
  t.equal(log.nextCommitted(true)[0]?.index, 3);
  t.throws(() => log.appliedTo(4, 0), /is committed/);
  t.throws(() => log.appliedTo(0, 0), /move back/);
  t.end();
});

void t.test('a leader appends at the end of its log and nowhere else (Raft §5.3, leader append-only)', (t) => {
  const log = logOf(run(1, 1), 1);
  t.throws(() => log.append(normal(1, 2)), /at the end/);
  t.throws(() => log.append(normal(1, 4)), /at the end/);
  log.append(normal(1, 3));
  t.equal(log.lastIndex(), 3);
  t.end();
});
