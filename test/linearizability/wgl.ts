import { assert, must } from '../../src/base/assert.js';
import type { Operation, Verdict } from './history.js';
import { describeOperation, describeValue } from './history.js';
import { shownBlockedOperations, shownPrefixOperations, shownWaitingOperations, statesPerKeyMax } from './limits.js';
import type { Chain } from './open_writes.js';
import { OpenWrites } from './open_writes.js';
import type { RegisterSteps, Step } from './register_steps.js';
import { isSatisfied, leavesAsIs, needsAnything, noValue, registerSteps } from './register_steps.js';

/*
 * Is the history of one key linearizable? The search of Wing and Gong (1993): choose an operation that no other remaining one
 * precedes, let it take effect, go on; go back when nothing fits. As Lowe (2017) has it, a configuration (which operations took effect,
 * what the register holds) that was visited once is not visited again. Keys are independent (locality; Herlihy and Wing 1990,
 * section 3.1), so each is checked alone.
 *
 * A configuration is written down as the last operation that took effect, in order of invocation, and the earlier ones that did
 * not: as much as there were operations at once, however long the history.
 *
 * An operation that changes nothing and finds what it needs is taken without a choice: a linearization that has it later stays one
 * with it moved here. A value is not overwritten while an answered operation that needs it remains and nothing that remains could
 * bring it back: that operation could never be placed. For open writes see open_writes.ts.
 */

export interface KeyCheck {
  readonly verdict: Verdict;
  /** Configurations visited. */
  readonly states: number;
}

/** Checks the operations of one key, given in order of invocation. */
export function checkKey(key: string, operations: readonly Operation[], statesMax = statesPerKeyMax): KeyCheck {
  const search = new Search(registerSteps(operations), statesMax);
  const outcome = search.run();
  const { states } = search;
  switch (outcome) {
    case 'linearizable':
      return { verdict: { kind: 'ok' }, states };
    case 'not linearizable':
      return { verdict: { kind: 'violation', key, detail: search.describeDeepest() }, states };
    case 'gave up':
      return { verdict: { kind: 'unknown', key, reason: `not decided after ${states} states` }, states };
  }
}

interface Move {
  readonly index: number;
  readonly chain: Chain;
}

interface Frame {
  /** What the register holds before the moves. */
  readonly state: number;
  readonly highest: number;
  readonly moves: readonly Move[];
  cursor: number;
}

interface Deepest {
  readonly placed: number;
  readonly path: readonly Step[];
  readonly state: number;
  readonly blocked: readonly Step[];
  /** Remaining ones that need the state, when nothing could bring it back. */
  readonly waiting: readonly Step[];
}

class Search {
  states = 0;
  private readonly steps: readonly Step[];
  private readonly open: OpenWrites;
  private readonly valueOf: RegisterSteps['valueOf'];
  private readonly statesMax: number;
  private readonly returnAt: readonly number[];
  /** Remaining steps as a doubly linked list; slot `steps.length` is its head and its end. */
  private readonly next: number[];
  private readonly previous: number[];
  private readonly visited = new Set<string>();
  private readonly frames: Frame[] = [];
  private readonly path: (readonly Step[])[] = [];
  /** By value: remaining answered steps that need it, and remaining steps, open ones too, that would leave it. */
  private readonly needed: number[] = [];
  private readonly supplied: number[] = [];
  private deepest: Deepest = { placed: -1, path: [], state: noValue, blocked: [], waiting: [] };

  constructor({ answered, open, valueOf }: RegisterSteps, statesMax: number) {
    this.steps = answered;
    this.open = new OpenWrites(open);
    this.valueOf = valueOf;
    this.statesMax = statesMax;
    const end = answered.length;
    for (const step of answered) this.count(step, 1);
    for (const step of open) this.countSupply(step, 1);
    this.returnAt = answered.map(({ operation }) => must(operation.returnAt, 'returnAt'));
    this.next = Array.from({ length: end + 1 }, (_, i) => (i === end ? 0 : i + 1));
    this.previous = Array.from({ length: end + 1 }, (_, i) => (i === 0 ? end : i - 1));
  }

  run(): 'linearizable' | 'not linearizable' | 'gave up' {
    if (this.steps.length === 0) return 'linearizable';
    this.enter(noValue, -1);
    for (let frame = this.frames.at(-1); frame !== undefined; frame = this.frames.at(-1)) {
      if (this.states > this.statesMax) return 'gave up';
      const before = frame.moves[frame.cursor - 1];
      if (before !== undefined) this.undo(before);
      const move = frame.moves[frame.cursor];
      if (move === undefined) {
        this.frames.pop();
        continue;
      }
      frame.cursor++;
      const step = this.take(move);
      if (this.path.length === this.steps.length) return 'linearizable';
      const state = step.leaves === leavesAsIs ? this.stateFor(step, move, frame.state) : step.leaves;
      this.enter(state, Math.max(frame.highest, move.index));
    }
    return 'not linearizable';
  }

  /** What a step that changes nothing found: what the chain before it left. */
  private stateFor(step: Step, move: Move, state: number): number {
    if (move.chain.length === 0) return state;
    return must(this.path.at(-1)?.at(-2), `the open write before ${describeOperation(step.operation)}`).leaves;
  }

  private take({ index, chain }: Move): Step {
    const { next, previous } = this;
    const step = must(this.steps[index], 'step');
    const [before, after] = [must(previous[index], 'previous'), must(next[index], 'next')];
    next[before] = after;
    previous[after] = before;
    this.count(step, -1);
    const used = this.open.use(chain);
    for (const open of used) this.countSupply(open, -1);
    this.path.push([...used, step]);
    return step;
  }

  private undo({ index, chain }: Move): void {
    const { next, previous } = this;
    next[must(previous[index], 'previous')] = index;
    previous[must(next[index], 'next')] = index;
    this.open.unuse(chain);
    const undone = must(this.path.pop(), 'path');
    for (const step of undone) {
      if (step.operation.answer === null) this.countSupply(step, 1);
      else this.count(step, 1);
    }
  }

  private count(step: Step, change: number): void {
    if (step.needs >= noValue) this.needed[step.needs] = (this.needed[step.needs] ?? 0) + change;
    this.countSupply(step, change);
  }

  private countSupply({ leaves }: Step, change: number): void {
    if (leaves !== leavesAsIs) this.supplied[leaves] = (this.supplied[leaves] ?? 0) + change;
  }

  /** Opens the configuration that the path has led to; with no moves if it was visited before. */
  private enter(state: number, highest: number): void {
    const name = this.configuration(state, highest);
    if (this.visited.has(name)) {
      this.frames.push({ state, highest, moves: [], cursor: 0 });
      return;
    }
    this.visited.add(name);
    this.states++;
    const candidates = this.candidates();
    if (this.path.length > this.deepest.placed) this.noteDeepest(candidates, state);
    this.frames.push({ state, highest, moves: this.moves(candidates, state), cursor: 0 });
  }

  private noteDeepest(candidates: readonly number[], state: number): void {
    const blocked = candidates.map((index) => must(this.steps[index], 'step'));
    const waiting: Step[] = [];
    if ((this.needed[state] ?? 0) > 0 && (this.supplied[state] ?? 0) === 0) {
      for (let i = this.first(); i !== this.steps.length && waiting.length < shownWaitingOperations;) {
        const step = must(this.steps[i], 'step');
        if (step.needs === state) waiting.push(step);
        i = must(this.next[i], 'next');
      }
    }
    const path = this.path.slice(-shownPrefixOperations).flat();
    this.deepest = { placed: this.path.length, path, state, blocked, waiting };
  }

  private configuration(state: number, highest: number): string {
    const numbers = [state, highest];
    for (let i = this.first(); i < highest; i = must(this.next[i], 'next')) numbers.push(i);
    numbers.push(-1);
    this.open.appendTo(numbers);
    return numbers.join();
  }

  private first(): number {
    return must(this.next[this.steps.length], 'first');
  }

  /** The remaining steps that no other remaining one precedes. */
  private candidates(): number[] {
    const found: number[] = [];
    let earliestReturn = Infinity;
    for (let i = this.first(); i !== this.steps.length; i = must(this.next[i], 'next')) {
      if (must(this.steps[i], 'step').operation.invokeAt > earliestReturn) break;
      earliestReturn = Math.min(earliestReturn, must(this.returnAt[i], 'returnAt'));
      found.push(i);
    }
    const byReturn = (a: number, b: number): number => must(this.returnAt[a], 'a') - must(this.returnAt[b], 'b');
    return found.sort((a, b) => byReturn(a, b) || a - b);
  }

  /** Candidates are in order of return, so the first one's return bounds what may take effect now. */
  private moves(candidates: readonly number[], state: number): Move[] {
    const now = must(this.returnAt[must(candidates[0], 'candidate')], 'returnAt');
    const needing: Move[] = [];
    const blind: Move[] = [];
    const chained: Move[] = [];
    const needed = (this.supplied[state] ?? 0) > 0 ? 0 : (this.needed[state] ?? 0);
    for (const index of candidates) {
      const { needs, leaves } = must(this.steps[index], 'step');
      if (!isSatisfied(needs, state)) {
        if (needed > 0) continue;
        for (const chain of this.open.chainsTo(needs, state, now, this.statesMax)) chained.push({ index, chain });
      } else if (leaves === leavesAsIs) {
        return [{ index, chain: [] }];
      } else if (leaves === state || needed <= (needs === state ? 1 : 0)) {
        (needs === needsAnything ? blind : needing).push({ index, chain: [] });
      }
    }
    this.states += chained.length;
    return [...needing, ...blind, ...chained];
  }

  describeDeepest(): string {
    const { placed, path, state, blocked, waiting } = this.deepest;
    assert(placed >= 0, 'describes a search that ran');
    const value = this.valueOf(state);
    const open = path.filter(({ operation }) => operation.answer === null).length;
    const line = ({ operation }: Step): string => `  ${describeOperation(operation)}`;
    const more = blocked.length - shownBlockedOperations;
    return [
      `${placed} of ${this.steps.length} answered operations can be put in order; the last ones of the longest such order` +
        (open === 0 ? ':' : ` (${open} of them unanswered writes):`),
      ...path.map(line),
      `then the register holds ${value === undefined ? 'a value that nothing reads' : describeValue(value)}, and none of these can be next:`,
      ...blocked.slice(0, shownBlockedOperations).map(line),
      ...(more > 0 ? [`  and ${more} more`] : []),
      ...(waiting.length > 0
        ? ['since nothing could bring back that value, which these still need:', ...waiting.map(line)]
        : []),
    ].join('\n');
  }
}
