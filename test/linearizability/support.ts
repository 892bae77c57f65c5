import fc from 'fast-check';
import { Prng } from '../../src/base/prng.js';
import type { Answer, Call, Operation } from './history.js';

/** Applies a call to a register: the answer, and what the register holds afterwards. */
export function applyCall(state: string | null, call: Call): { answer: Answer; state: string | null } {
  switch (call.kind) {
    case 'get':
      return { answer: { kind: 'get', value: state }, state };
    case 'exists':
      return { answer: { kind: 'exists', exists: state !== null }, state };
    case 'set':
      return { answer: { kind: 'set' }, state: call.value };
    case 'delete':
      return { answer: { kind: 'delete' }, state: null };
    case 'swap': {
      const applied = state === call.expected;
      return {
        answer: { kind: 'swap', applied, current: applied ? null : state },
        state: applied ? call.value : state,
      };
    }
  }
}

/** True if a register that holds `state` may give that answer. What an applied swap says of `current` is not looked at. */
function allows(state: string | null, { call, answer }: Operation): boolean {
  if (answer === null) return true;
  const would = applyCall(state, call).answer;
  if (answer.kind === 'swap' && would.kind === 'swap' && answer.applied && would.applied) return true;
  return JSON.stringify(answer) === JSON.stringify(would);
}

/**
 * Linearizability by its definition, for histories of one key with few operations: some order of all answered operations and some of the
 * others, which respects "precedes", is one that a register allows. No memory, no shortcut.
 */
export function isLinearizable(operations: readonly Operation[], state: string | null = null): boolean {
  if (operations.every(({ answer }) => answer === null)) return true;
  return operations.some((operation) => {
    const rest = operations.filter((other) => other !== operation);
    const mayBeNext = rest.every(({ returnAt }) => returnAt === null || returnAt >= operation.invokeAt);
    return mayBeNext && allows(state, operation) && isLinearizable(rest, applyCall(state, operation.call).state);
  });
}

export interface RegisterRun {
  readonly seed: number;
  readonly operations: number;
  readonly clients: number;
  /** Values to choose from; null: every written value is new. */
  readonly values: number | null;
  readonly kinds: readonly Call['kind'][];
  /** Chance that an answer is lost. */
  readonly lostAnswers: number;
  readonly key?: string;
}

/**
 * What clients of an atomic register see: each has one operation outstanding (or goes on as a new client after a lost answer), which takes effect at
 * a random moment between invocation and return; of the lost ones, half never do, and the others possibly long after.
 */
export function runRegister({
  seed,
  operations,
  clients,
  values,
  kinds,
  lostAnswers,
  key = 'k',
}: RegisterRun): Operation[] {
  const random = new Prng(seed);
  let written = 0;
  const newValue = (): string => (values === null ? `v${++written}` : `v${random.int(1, values)}`);
  const newCall = (): Call => {
    const kind = kinds[random.int(0, kinds.length - 1)] ?? 'get';
    if (kind === 'set') return { kind, value: newValue() };
    if (kind !== 'swap') return { kind };
    const old = values === null ? Math.max(1, written - random.int(0, 3)) : random.int(1, values);
    const expected = random.chance(0.2) ? null : `v${old}`;
    return { kind, expected, value: random.chance(0.1) ? null : newValue() };
  };
  interface Running {
    readonly id: number;
    readonly client: number;
    readonly call: Call;
    readonly invokeAt: number;
    readonly lost: boolean;
    answer: Answer | null;
  }
  const idle = Array.from({ length: clients }, (_, client) => client);
  let running: Running[] = [];
  let lateOnes: Call[] = [];
  const history: Operation[] = [];
  let state: string | null = null;
  let nextClient = clients;
  let time = 0;
  const takeEffect = (call: Call): Answer => {
    const applied = applyCall(state, call);
    state = applied.state;
    return applied.answer;
  };
  for (let started = 0; started < operations || running.length > 0;) {
    if (random.chance(0.7)) time++;
    const late = random.int(0, lateOnes.length * 8);
    if (late < lateOnes.length) {
      const call = lateOnes[late];
      lateOnes = lateOnes.filter((_, i) => i !== late);
      if (call !== undefined) takeEffect(call);
    }
    const client = started < operations && random.chance(0.5) ? idle.pop() : undefined;
    if (client !== undefined) {
      const lost = random.chance(lostAnswers);
      running.push({ id: ++started, client, call: newCall(), invokeAt: time, lost, answer: null });
      continue;
    }
    const one = running[random.int(0, running.length - 1)];
    if (one === undefined) continue;
    const { id, call, invokeAt, lost } = one;
    if (lost && random.chance(0.5)) {
      if (one.answer === null && random.chance(0.5)) lateOnes.push(call);
    } else if (one.answer === null) {
      one.answer = takeEffect(call);
      if (random.chance(0.5)) continue;
    }
    running = running.filter((other) => other !== one);
    idle.push(lost ? nextClient++ : one.client);
    const seen = lost ? { answer: null, returnAt: null } : { answer: one.answer, returnAt: time };
    history.push({ id, client: one.client, key, call, invokeAt, ...seen });
  }
  return history.sort((a, b) => a.invokeAt - b.invokeAt || a.id - b.id);
}

/** Any small history at all, linearizable or not; about as many are as are not. */
export function smallHistories(kinds: readonly Call['kind'][], unique: boolean): fc.Arbitrary<Operation[]> {
  const value = fc.constantFrom('a', 'b', 'c');
  const valueOrNothing = fc.option(value, { nil: null });
  const each: Readonly<Record<Call['kind'], fc.Arbitrary<{ call: Call; answer: Answer }>>> = {
    get: valueOrNothing.map((seen) => ({ call: { kind: 'get' }, answer: { kind: 'get', value: seen } })),
    exists: fc.boolean().map((exists) => ({ call: { kind: 'exists' }, answer: { kind: 'exists', exists } })),
    set: value.map((written) => ({ call: { kind: 'set', value: written }, answer: { kind: 'set' } })),
    delete: fc.constant({ call: { kind: 'delete' }, answer: { kind: 'delete' } }),
    swap: fc
      .record({ expected: valueOrNothing, value: valueOrNothing, applied: fc.boolean(), current: valueOrNothing })
      .map(({ expected, value: to, applied, current }) => ({
        call: { kind: 'swap', expected, value: to },
        answer: { kind: 'swap', applied, current: applied ? null : current },
      })),
  };
  const content = fc.oneof(...kinds.map((kind) => each[kind]));
  const times = fc.record({ invokeAt: fc.nat(8), tookTime: fc.nat(6), lost: fc.nat(3) });
  return fc.array(fc.tuple(content, times), { minLength: 1, maxLength: 7 }).map((drawn) => {
    const written = new Set<string>();
    return drawn
      .map(([{ call, answer }, { invokeAt, tookTime, lost }], i): Operation => {
        const common = { id: i + 1, client: i + 1, key: 'k', call, invokeAt };
        return lost === 0
          ? { ...common, answer: null, returnAt: null }
          : { ...common, answer, returnAt: invokeAt + tookTime };
      })
      .filter(({ call }) => {
        if (!unique || call.kind !== 'set') return true;
        if (written.has(call.value)) return false;
        written.add(call.value);
        return true;
      })
      .sort((a, b) => a.invokeAt - b.invokeAt || a.id - b.id);
  });
}
