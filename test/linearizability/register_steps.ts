import { must } from '../../src/base/assert.js';
import type { Operation } from './history.js';

/*
 * Operations as steps of a register: what a step needs to find and what it leaves behind. Values become small
 * numbers. All values that no operation observes by name (no get or refused swap answered them, no swap expects them) are
 * one number, since no operation tells them apart.
 */

/** Needs: a value's number, or one of these. */
export const needsAnything = -1;
export const needsSomeValue = -2;
/** An answer that contradicts itself: a swap refused although it found what it expected. */
export const needsTheImpossible = -3;
/** Leaves: a value's number, or this. */
export const leavesAsIs = -1;

export const noValue = 0;
const unobservedValue = 1;

export interface Step {
  readonly operation: Operation;
  readonly needs: number;
  readonly leaves: number;
}

export interface RegisterSteps {
  /** Answered operations, in order of invocation. */
  readonly answered: readonly Step[];
  /** Writes and swaps without an answer, in order of invocation. */
  readonly open: readonly Step[];
  /** What a number stands for; undefined for the unobserved ones. */
  readonly valueOf: (number: number) => string | null | undefined;
}

/** The steps of one key's operations, which are in order of invocation. */
export function registerSteps(operations: readonly Operation[]): RegisterSteps {
  const numbers = new Map<string | null, number>([[null, noValue]]);
  for (const operation of operations) {
    const observed = observedValue(operation);
    if (observed !== undefined && !numbers.has(observed)) numbers.set(observed, numbers.size + 1);
  }
  const numberOf = (value: string | null): number => numbers.get(value) ?? unobservedValue;
  const answered: Step[] = [];
  const open: Step[] = [];
  for (const operation of operations) {
    if (operation.answer !== null) answered.push(answeredStep(operation, numberOf));
    else {
      const step = openStep(operation, numberOf);
      if (step !== null) open.push(step);
    }
  }
  const values = new Map([...numbers].map(([value, number]) => [number, value]));
  return { answered, open, valueOf: (number) => values.get(number) };
}

/** True if a register that holds the value `state` is what the step needs to find. */
export function isSatisfied(needs: number, state: number): boolean {
  return needs === state || needs === needsAnything || (needs === needsSomeValue && state !== noValue);
}

function observedValue({ call, answer }: Operation): string | null | undefined {
  if (answer?.kind === 'get') return answer.value;
  if (call.kind !== 'swap') return undefined;
  return answer?.kind === 'swap' && !answer.applied ? answer.current : call.expected;
}

function answeredStep(operation: Operation, numberOf: (value: string | null) => number): Step {
  const { call } = operation;
  const answer = must(operation.answer, 'answer');
  switch (answer.kind) {
    case 'get':
      return { operation, needs: numberOf(answer.value), leaves: leavesAsIs };
    case 'exists':
      return { operation, needs: answer.exists ? needsSomeValue : noValue, leaves: leavesAsIs };
    case 'swap':
      if (call.kind !== 'swap') break;
      if (answer.applied) return { operation, needs: numberOf(call.expected), leaves: numberOf(call.value) };
      return {
        operation,
        needs: answer.current === call.expected ? needsTheImpossible : numberOf(answer.current),
        leaves: leavesAsIs,
      };
    case 'set':
    case 'delete':
  }
  return { operation, needs: needsAnything, leaves: call.kind === 'set' ? numberOf(call.value) : noValue };
}

/** Null for what has no effect: reads, and swaps that change nothing. */
function openStep(operation: Operation, numberOf: (value: string | null) => number): Step | null {
  const { call } = operation;
  switch (call.kind) {
    case 'get':
    case 'exists':
      return null;
    case 'set':
      return { operation, needs: needsAnything, leaves: numberOf(call.value) };
    case 'delete':
      return { operation, needs: needsAnything, leaves: noValue };
    case 'swap':
      if (call.expected === call.value) return null;
      return { operation, needs: numberOf(call.expected), leaves: numberOf(call.value) };
  }
}
