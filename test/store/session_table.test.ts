import fc from 'fast-check';
import t from 'tap';
import type { SessionRecord } from '../../src/gen/skerry/v1/kv.js';
import { decodeSessionRecord, encodeSessionRecord } from '../../store/records.js';
import type { SessionChange } from '../../store/session_table.js';
import { SessionTable } from '../../store/session_table.js';

const small = { sessions: 3, sequences: 4 };

/** Rows as an engine would hold them. */
class Rows {
  readonly rows = new Map<number, SessionRecord>();

  write(changes: readonly SessionChange[]): void {
    for (const { sessionId, record } of changes) {
      if (record === null) this.rows.delete(sessionId);
      else this.rows.set(sessionId, decodeSessionRecord(encodeSessionRecord(record)));
    }
  }
}

t.test('a write without a session always takes effect', async (t) => {
  const table = new SessionTable();
  table.record(0, 1, 0, 10);
  t.equal(table.judge(0, 1, true), 'apply');
  t.equal(table.size, 0);
});

t.test('a recorded sequence is a duplicate, whether it says that it is a retry or not', async (t) => {
  const table = new SessionTable();
  table.record(7, 3, 1, 10);
  t.equal(table.judge(7, 3, true), 'duplicate');
  t.equal(table.judge(7, 3, false), 'duplicate');
  t.equal(table.judge(7, 4, true), 'apply');
  t.equal(table.judge(8, 3, true), 'apply');
});

t.test(
  'whatever comes below what the client has seen answered has expired: a late attempt must not undo what came after',
  async (t) => {
    const table = new SessionTable();
    table.record(7, 9, 5, 10);
    t.equal(table.judge(7, 4, true), 'expired');
    t.equal(table.judge(7, 4, false), 'expired');
    t.equal(table.judge(7, 5, true), 'apply');
  },
);

t.test('past the limit of sequences the floor rises over the lowest ones', async (t) => {
  const table = new SessionTable(small);
  for (const sequence of [1, 2, 3, 4, 5, 6]) table.record(7, sequence, 0, 10 + sequence);
  t.equal(table.judge(7, 2, true), 'expired');
  t.equal(table.judge(7, 3, true), 'duplicate');
  t.equal(table.judge(7, 6, true), 'duplicate');
});

t.test(
  'past the limit of sessions the one used longest ago goes, and retries of sessions that may be that one expire',
  async (t) => {
    const table = new SessionTable(small);
    for (const id of [1, 2, 3]) table.record(id, 1, 0, 10 + id);
    t.equal(table.judge(9, 1, true), 'apply', 'nothing was dropped yet');
    table.record(1, 2, 0, 20);
    table.record(4, 1, 0, 21);
    t.equal(table.size, 3);
    t.equal(table.judge(2, 1, true), 'expired');
    t.equal(table.judge(2, 1, false), 'apply');
    t.equal(table.judge(9, 1, true), 'apply', 'a younger session was never dropped');
    t.equal(table.judge(1, 1, true), 'duplicate');
  },
);

t.test('a session that was dropped and made again does not apply a late retry a second time', async (t) => {
  const table = new SessionTable(small);
  table.record(5, 3, 3, 10);
  for (const id of [6, 7, 8]) table.record(id, 1, 0, 10 + id);
  t.equal(table.judge(5, 4, false), 'apply', 'a first attempt has not taken effect before');
  table.record(5, 4, 3, 20);
  t.equal(table.judge(5, 3, true), 'expired', 'it took effect before the session was dropped');
  t.equal(table.judge(5, 4, true), 'duplicate');
  t.equal(table.judge(5, 5, true), 'expired', 'nobody knows whether it took effect');
  t.equal(table.judge(5, 6, false), 'apply');
  const rows = new Rows();
  rows.write(table.takeChanges());
  for (const other of [SessionTable.load(rows.rows, small), table.copyFor(5)]) {
    t.equal(other.judge(5, 3, true), 'expired', 'after a restart, a snapshot or a split too');
  }
});

t.test('a session older than one that was dropped counts as one that may have been dropped', async (t) => {
  const table = new SessionTable(small);
  for (const id of [5, 6, 7, 8]) table.record(id, 1, 0, 10 + id);
  t.equal(table.judge(4, 1, true), 'expired');
  table.record(4, 1, 0, 20);
  t.equal(table.judge(4, 2, true), 'expired');
  table.record(9, 1, 0, 21);
  t.equal(table.judge(9, 2, true), 'apply', 'a younger one does not');
});

t.test('of sessions used at one log index the lowest id goes, whatever the order of use', async (t) => {
  for (const order of [
    [3, 1, 2],
    [2, 3, 1],
  ]) {
    const table = new SessionTable(small);
    for (const id of order) table.record(id, 1, 0, 10);
    table.record(4, 1, 0, 11);
    t.equal(table.judge(1, 1, true), 'expired');
    t.equal(table.judge(3, 1, true), 'duplicate');
  }
});

t.test('an evicted session is deleted from the rows and the mark of it is written', async (t) => {
  const table = new SessionTable(small);
  for (const id of [1, 2, 3]) table.record(id, 1, 0, 10 + id);
  table.takeChanges();
  table.record(4, 1, 0, 20);
  const changes = table.takeChanges();
  t.same(changes.map(({ sessionId, record }) => [sessionId, record === null]).sort(), [
    [0, false],
    [1, true],
    [4, false],
  ]);
  t.same(table.takeChanges(), [], 'each change is taken once');
});

interface Step {
  readonly sessionId: number;
  readonly sequence: number;
  readonly acked: number;
  readonly retry: boolean;
  /** Its compare-and-swap finds something else. */
  readonly fails: boolean;
}

const steps = fc.array(
  fc.record({
    sessionId: fc.integer({ min: 0, max: 6 }),
    sequence: fc.integer({ min: 1, max: 12 }),
    acked: fc.integer({ min: 0, max: 8 }),
    retry: fc.boolean(),
    fails: fc.boolean(),
  }),
  // As long as allowed: a session has to be dropped, made again and asked once more.
  { maxLength: 80, size: 'max' },
);

function applyStep(table: SessionTable, step: Step, index: number): string {
  const verdict = table.judge(step.sessionId, step.sequence, step.retry);
  if (verdict !== 'apply') return verdict;
  table.record(step.sessionId, step.sequence, step.acked, index, step.fails ? 'refused' : 'applied');
  return step.fails ? 'failed' : 'apply';
}

t.test('a table loaded from its rows judges as the one in memory, at any point', async () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 5 }), (script, batchSize) => {
      const rows = new Rows();
      const live = new SessionTable(small);
      let restored = new SessionTable(small);
      script.forEach((step, at) => {
        const index = 10 + Math.floor(at / 2);
        if (applyStep(live, step, index) !== applyStep(restored, step, index)) throw new Error(`step ${at} differs`);
        if (at % batchSize === 0) {
          rows.write(live.takeChanges());
          restored = SessionTable.load(rows.rows, small);
        }
      });
    }),
  );
});

t.test('a retry never takes effect twice, however sessions and sequences are forgotten', async () => {
  fc.assert(
    fc.property(steps, (script) => {
      const table = new SessionTable(small);
      const effects = new Set<string>();
      script.forEach((step, at) => {
        if (step.sessionId === 0) return;
        const name = `${step.sessionId}/${step.sequence}`;
        // A client calls only its first attempt a first attempt.
        const verdict = applyStep(table, { ...step, retry: effects.has(name) || step.retry }, at + 1);
        if (verdict !== 'apply') return;
        if (effects.has(name)) throw new Error(`${name} took effect twice`);
        effects.add(name);
      });
    }),
  );
});

t.test('the table stays within its limits', async () => {
  fc.assert(
    fc.property(steps, (script) => {
      const table = new SessionTable(small);
      script.forEach((step, at) => applyStep(table, step, at + 1));
      const rows = [...table.rows()].filter(([id]) => id !== 0);
      if (rows.length > small.sessions) throw new Error('too many sessions');
      const tooLong = rows.some(
        ([, record]) => Math.max(record.applied.length, record.refused.length) > small.sequences,
      );
      if (tooLong) throw new Error('too many sequences');
    }),
  );
});

t.test("a split's copy begins with the new shard's log: it judges as before and takes its first indexes", async (t) => {
  const table = new SessionTable();
  table.record(9, 3, 2, 70_000);
  table.record(8, 1, 0, 70_001);
  const copy = table.copyFor(5);
  t.equal(copy.judge(9, 3, true), 'duplicate');
  copy.record(9, 4, 2, 6);
  t.equal(copy.judge(9, 4, true), 'duplicate');
  t.same(
    [...copy.rows()].map(([id, row]) => [id, row.lastIndex]),
    [
      [8, 5],
      [9, 6],
    ],
  );
});

t.test('a failed compare-and-swap is remembered until the client has its answer', async (t) => {
  const table = new SessionTable();
  table.record(7, 4, 0, 10, 'refused');
  t.equal(table.judge(7, 4, false), 'refused');
  t.equal(table.judge(7, 4, true), 'refused');
  const again = SessionTable.load([...table.rows()]);
  t.equal(again.judge(7, 4, true), 'refused', 'a restarted replica remembers it too');
  table.record(7, 6, 5, 11);
  t.equal(table.judge(7, 4, false), 'expired');
});
