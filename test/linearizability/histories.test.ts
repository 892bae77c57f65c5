import t from 'tap';
import { checkHistory } from './check_history.js';
import type { Answer, Call, Operation } from './history.js';
import { HistoryRecorder, operationsByKey } from './history.js';
import { isLinearizable } from './support.js';

/** One operation of a hand-written history: what, from when to when; no end: no answer came. */
type Line = readonly [Call, Answer, from: number, to?: number];

const set = (value: string, from: number, to?: number): Line => line({ kind: 'set', value }, { kind: 'set' }, from, to);
const del = (from: number, to?: number): Line => line({ kind: 'delete' }, { kind: 'delete' }, from, to);
const get = (value: string | null, from: number, to?: number): Line =>
  line({ kind: 'get' }, { kind: 'get', value }, from, to);
const exists = (yes: boolean, from: number, to?: number): Line =>
  line({ kind: 'exists' }, { kind: 'exists', exists: yes }, from, to);
const swap = (expected: string | null, value: string | null, from: number, to?: number): Line =>
  line({ kind: 'swap', expected, value }, { kind: 'swap', applied: true, current: null }, from, to);
const refused = (expected: string, value: string, current: string | null, from: number, to?: number): Line =>
  line({ kind: 'swap', expected, value }, { kind: 'swap', applied: false, current }, from, to);

function line(call: Call, answer: Answer, from: number, to?: number): Line {
  return to === undefined ? [call, answer, from] : [call, answer, from, to];
}

function historyOf(lines: readonly Line[]): Operation[] {
  return lines.map(([call, answer, invokeAt, to], i) => {
    const common = { id: i + 1, client: i + 1, key: 'k', call, invokeAt };
    return to === undefined ? { ...common, answer: null, returnAt: null } : { ...common, answer, returnAt: to };
  });
}

const good: Readonly<Record<string, readonly Line[]>> = {
  'nothing at all': [],
  'one after the other': [set('a', 0, 1), get('a', 2, 3), del(4, 5), get(null, 6, 7), exists(false, 8, 9)],
  'a read during a write may see either value': [set('a', 0, 1), set('b', 2, 9), get('a', 3, 4), get('b', 5, 6)],
  'operations that touch in time are concurrent': [set('a', 0, 5), get(null, 5, 6)],
  'a lost write that took effect': [set('a', 0), get(null, 1, 2), get('a', 3, 4)],
  'a lost write that never took effect': [set('a', 0), get(null, 1, 2), get(null, 90, 91)],
  'a lost write that takes effect after a later write': [set('a', 0), set('b', 1, 2), get('b', 3, 4), get('a', 5, 6)],
  'a lost delete that is seen': [set('a', 0, 1), del(2), get('a', 3, 4), get(null, 5, 6)],
  'a lost swap that is seen': [set('a', 0, 1), swap('a', 'b', 2), get('a', 3, 4), get('b', 5, 6)],
  'a chain of lost writes': [swap('b', 'c', 0), set('a', 0), swap('a', 'b', 0), get(null, 1, 2), get('c', 3, 4)],
  'the same value lost twice and seen twice': [set('a', 0), set('a', 0), get('a', 1, 2), del(3, 4), get('a', 5, 6)],
  'a refused swap says what was there': [set('a', 0, 1), refused('x', 'y', 'a', 2, 3), get('a', 4, 5)],
  'one of two swaps wins': [set('a', 0, 1), swap('a', 'b', 2, 9), refused('a', 'c', 'b', 2, 9)],
  'a swap that creates and one that deletes': [swap(null, 'a', 0, 1), swap('a', null, 2, 3), exists(false, 4, 5)],
  'a lost write that nobody reads by name but somebody finds': [set('a', 0), exists(false, 1, 2), exists(true, 3, 4)],
};

const bad: Readonly<Record<string, readonly Line[]>> = {
  'stale read': [set('a', 0, 1), set('b', 2, 3), get('a', 4, 5)],
  'lost write': [set('a', 0, 1), get(null, 2, 3)],
  'read of a value that was never written': [set('a', 0, 1), get('x', 2, 3)],
  'read before the write began': [get('a', 0, 1), set('a', 2, 3)],
  'write that takes effect twice': [set('a', 0, 1), set('b', 2, 3), get('b', 4, 5), get('a', 6, 7)],
  'unanswered write that takes effect twice': [
    set('a', 0),
    get('a', 1, 2),
    set('b', 3, 4),
    get('a', 5, 6),
    get('b', 7, 8),
  ],
  'swap that succeeds twice': [set('a', 0, 1), swap('a', 'b', 2, 9), swap('a', 'c', 2, 9)],
  'swap that finds what was replaced': [set('a', 0, 1), set('b', 2, 3), swap('a', 'c', 4, 5)],
  'refused swap that took effect': [set('a', 0, 1), refused('x', 'y', 'a', 2, 3), get('y', 4, 5)],
  'swap refused although it found what it expected': [set('a', 0, 1), refused('a', 'b', 'a', 2, 3)],
  'open write seen and then unseen': [set('a', 0, 1), set('b', 2), get('b', 3, 4), get('a', 5, 6)],
  'open delete seen and then unseen': [set('a', 0, 1), del(2), get(null, 3, 4), get('a', 5, 6)],
  'open write seen before it was invoked': [get('a', 0, 1), set('a', 2)],
  'open swap that found nothing it expects': [set('a', 0, 1), swap('x', 'b', 2), get('b', 3, 4)],
  'delete that did not': [set('a', 0, 1), del(2, 3), exists(true, 4, 5)],
  'key that is there before anything was written': [exists(true, 0, 1)],
  'two readers that see two writes in different orders': [
    set('a', 0, 9),
    set('b', 0, 9),
    get('a', 1, 2),
    get('b', 3, 4),
    get('a', 5, 6),
  ],
  'deleted key that comes back': [set('a', 0, 1), del(2, 3), get(null, 4, 5), get('a', 6, 7)],
};

void t.test('hand-written histories that a register allows pass', async (t) => {
  for (const [name, lines] of Object.entries(good)) {
    const history = historyOf(lines);
    t.ok(isLinearizable(history), `${name}: by definition`);
    t.strictSame(checkHistory(history).verdict, { kind: 'ok' }, name);
  }
});

void t.test('hand-written histories that no register allows are violations', async (t) => {
  for (const [name, lines] of Object.entries(bad)) {
    const history = historyOf(lines);
    t.notOk(isLinearizable(history), `${name}: by definition`);
    const { verdict } = checkHistory(history);
    t.match(verdict, { kind: 'violation', key: 'k', detail: /#\d+ client/ }, name);
  }
});

void t.test('a violation names the key, the longest order and what cannot be next', async (t) => {
  const history = historyOf([swap(null, 'a', 0, 1), set('b', 2, 3), get('b', 4, 5), get('a', 6, 7), set('c', 6, 9)]);
  const { verdict } = checkHistory([
    ...history,
    ...historyOf([get(null, 0, 1)]).map((o) => ({ ...o, id: 99, key: 'other' })),
  ]);
  t.strictSame(verdict, {
    kind: 'violation',
    key: 'k',
    detail: [
      '1 of 5 answered operations can be put in order; the last ones of the longest such order:',
      '  #1 client 1 [0, 1] swap nothing for "a" applied',
      'then the register holds "a", and none of these can be next:',
      '  #2 client 2 [2, 3] set "b"',
      'since nothing could bring back that value, which these still need:',
      '  #4 client 4 [6, 7] get = "a"',
    ].join('\n'),
  });
});

void t.test('keys are judged apart, and the worst of them is the verdict', async (t) => {
  const one = historyOf([set('a', 0, 1), get('a', 2, 3)]);
  const other = historyOf([set('a', 0, 1), get('b', 2, 3)]).map((o) => ({ ...o, id: o.id + 10, key: 'other' }));
  const { verdict, keys, operations, keysByZones } = checkHistory([...one, ...other]);
  t.match(verdict, { kind: 'violation', key: 'other' });
  t.strictSame({ keys, operations, keysByZones }, { keys: 2, operations: 4, keysByZones: 2 });
});

void t.test('a search past its limit is unknown, not a pass, unless the zones decide', async (t) => {
  const overlapping = Array.from({ length: 8 }, (_, i) => set(`v${i}`, 0, 9));
  const hidden = historyOf([...overlapping, get('v3', 10, 11), del(12, 13)]);
  t.match(checkHistory(hidden, 3).verdict, { kind: 'unknown', key: 'k', reason: /4 states/ });
  t.match(checkHistory(hidden).verdict, { kind: 'ok' });
  const plain = historyOf([...overlapping, get('v3', 10, 11)]);
  t.match(checkHistory(plain, 3).verdict, { kind: 'ok' });
  t.match(
    checkHistory([...hidden, ...historyOf(bad['lost write'] ?? []).map((o) => ({ ...o, id: o.id + 99, key: 'z' }))], 3)
      .verdict,
    {
      kind: 'violation',
      key: 'z',
    },
  );
});

void t.test('a recorder keeps what was answered, what is open, and not what certainly failed', async (t) => {
  const recorder = new HistoryRecorder();
  const write = recorder.begin(1, 'k', { kind: 'set', value: 'a' }, 5);
  const failed = recorder.begin(2, 'k', { kind: 'delete' }, 6);
  recorder.begin(3, 'k', { kind: 'set', value: 'b' }, 7);
  recorder.end(write, { kind: 'set' }, 8);
  recorder.leaveOut(failed);
  t.strictSame(
    recorder.history().map(({ client, invokeAt, returnAt }) => ({ client, invokeAt, returnAt })),
    [
      { client: 1, invokeAt: 5, returnAt: 8 },
      { client: 3, invokeAt: 7, returnAt: null },
    ],
  );
  t.throws(() => recorder.end(write, { kind: 'set' }, 9), /answered twice/);
});

void t.test('a history that contradicts itself is refused', async (t) => {
  const [operation] = historyOf([set('a', 5, 6)]);
  if (operation === undefined) throw new Error('one operation was made');
  t.throws(() => operationsByKey([operation, operation]), /two operations have the id 1/);
  t.throws(() => operationsByKey([{ ...operation, returnAt: 4 }]), /returned before it was invoked/);
  t.throws(() => operationsByKey([{ ...operation, returnAt: null }]), /not both/);
  t.throws(() => operationsByKey([{ ...operation, answer: { kind: 'delete' } }]), /another kind/);
});
