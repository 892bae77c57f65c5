import fc from 'fast-check';
import t from 'tap';
import { checkHistory } from './check_history.js';
import type { Call, Operation } from './history.js';
import { isLinearizable, runRegister, smallHistories } from './support.js';
import { statesPerKeyMax } from './limits.js';
import { checkKey } from './wgl.js';
import { checkZones, zonesApply } from './zones.js';

const allKinds: readonly Call['kind'][] = ['get', 'exists', 'set', 'delete', 'swap'];

void t.test('what clients of an atomic register see is linearizable', async () => {
  const runs = fc.record({
    seed: fc.integer(),
    operations: fc.integer({ min: 1, max: 120 }),
    clients: fc.integer({ min: 1, max: 8 }),
    values: fc.constantFrom(null, 2, 5),
    kinds: fc.constantFrom(allKinds, ['get', 'set'] as const, ['get', 'set', 'swap'] as const),
    lostAnswers: fc.constantFrom(0, 0.05, 0.4),
  });
  fc.assert(
    fc.property(runs, (run) => {
      const { verdict } = checkHistory(runRegister(run));
      if (verdict.kind !== 'ok') throw new Error(JSON.stringify(verdict, null, 1));
    }),
    { numRuns: 500 },
  );
});

void t.test('the search agrees with the definition on small histories of every kind of operation', async (t) => {
  const seen = { ok: 0, violation: 0, unknown: 0 };
  fc.assert(
    fc.property(smallHistories(allKinds, false), (history) => {
      const { verdict } = checkKey('k', history);
      seen[verdict.kind]++;
      return (verdict.kind === 'ok') === isLinearizable(history);
    }),
    { numRuns: 4000 },
  );
  t.ok(seen.ok > 200 && seen.violation > 200, `both verdicts were drawn often: ${JSON.stringify(seen)}`);
  t.equal(seen.unknown, 0);
});

/** The history with the value of one answered get changed. */
function withOtherRead(history: readonly Operation[], which: number, value: string | null): Operation[] {
  const reads = history.filter(({ answer }) => answer?.kind === 'get');
  const chosen = reads[which % Math.max(1, reads.length)];
  return history.map((operation) =>
    operation === chosen ? { ...operation, answer: { kind: 'get', value } } : operation,
  );
}

void t.test('a register history with one read changed gets the verdict that the definition gives', async (t) => {
  const seen = { ok: 0, violation: 0, unknown: 0 };
  const value = fc.constantFrom(null, 'v1', 'v2', 'v3', 'v4');
  fc.assert(
    fc.property(fc.integer(), fc.nat(9), value, fc.boolean(), (seed, which, read, unique) => {
      const run = { seed, operations: 8, clients: 4, kinds: ['get', 'get', ...allKinds] as const, lostAnswers: 0.2 };
      const history = withOtherRead(runRegister({ ...run, values: unique ? null : 3 }), which, read);
      const { verdict } = checkHistory(history);
      seen[verdict.kind]++;
      return (verdict.kind === 'ok') === isLinearizable(history);
    }),
    { numRuns: 1500 },
  );
  t.ok(seen.ok > 100 && seen.violation > 100, `both verdicts were drawn often: ${JSON.stringify(seen)}`);
});

void t.test('zones, search and definition agree on registers of unique values', async (t) => {
  const seen = { ok: 0, violation: 0, unknown: 0 };
  fc.assert(
    fc.property(smallHistories(['get', 'get', 'set'], true), (history) => {
      if (!zonesApply(history)) return false;
      const zones = checkZones('k', history).kind;
      seen[zones]++;
      return zones === checkKey('k', history).verdict.kind && (zones === 'ok') === isLinearizable(history);
    }),
    { numRuns: 6000 },
  );
  t.ok(seen.ok > 300 && seen.violation > 300, `both verdicts were drawn often: ${JSON.stringify(seen)}`);
});

void t.test('zones and search agree on long register histories with a read changed', async (t) => {
  const seen = { ok: 0, violation: 0, unknown: 0 };
  fc.assert(
    fc.property(fc.integer(), fc.nat(99), fc.integer({ min: 1, max: 60 }), (seed, which, value) => {
      const run = { seed, operations: 100, clients: 6, values: null, kinds: ['get', 'set'] as const, lostAnswers: 0.1 };
      const history = withOtherRead(runRegister(run), which, `v${value}`);
      const zones = checkZones('k', history).kind;
      seen[zones]++;
      return zones === checkKey('k', history).verdict.kind;
    }),
    { numRuns: 300 },
  );
  t.ok(seen.ok > 3 && seen.violation > 50, `both verdicts were drawn: ${JSON.stringify(seen)}`);
});

void t.test('zones do not apply to repeated values, deletes and swaps', async (t) => {
  const run = { seed: 1, operations: 40, clients: 3, lostAnswers: 0 };
  t.ok(zonesApply(runRegister({ ...run, values: null, kinds: ['get', 'set'] })));
  t.notOk(zonesApply(runRegister({ ...run, values: 2, kinds: ['get', 'set'] })));
  t.notOk(zonesApply(runRegister({ ...run, values: null, kinds: ['get', 'set', 'delete'] })));
  t.notOk(zonesApply(runRegister({ ...run, values: null, kinds: ['get', 'swap'] })));
});

void t.test(
  'a key with 1,000 operations by ten clients and dozens of open ones is decided in a bounded search',
  async (t) => {
    const counts: number[] = [];
    for (let seed = 1; seed <= 10; seed++) {
      const run = { seed, operations: 1000, clients: 10, values: null, kinds: allKinds, lostAnswers: 0.05 };
      const history = runRegister(run);
      const { verdict, states } = checkHistory(history);
      t.equal(verdict.kind, 'ok', `seed ${seed}`);
      t.ok(history.filter(({ answer }) => answer === null).length > 24, 'dozens are open');
      counts.push(states);
      const broken = checkHistory(withOtherRead(history, 50, 'never written'));
      t.equal(broken.verdict.kind, 'violation', `seed ${seed} with a read of nothing ever written`);
      counts.push(broken.states);
    }
    t.comment(`states: ${counts.join(' ')}`);
    t.ok(Math.max(...counts) < statesPerKeyMax / 2, 'far below the limit');
  },
);
