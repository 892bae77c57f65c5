import type { Step } from './register_steps.js';
import { needsAnything, needsSomeValue, noValue } from './register_steps.js';

/*
 * Writes and swaps whose answer never came: each may take effect at any time after its invocation, or never. Trying them all
 * everywhere would double the search for each. Three observations keep them out of it unless they explain something.
 *
 * 1. An open write needs to take effect only directly before a step that needs what it leaves and would not be satisfied
 *    without it. Proof. Take a linearization, and in it an open write w; w has no return, so nothing must come after it in real
 *    time, and it may be moved later or left out as far as time goes. If w is last, leave it out. If the step after w needs
 *    nothing (a set, a delete), it leaves the same state without w: leave w out. If the step x after w finds what it needs
 *    without w too, then either x changes the register, and w can be left out, or it does not, and x may go before w. Each
 *    such change leaves out or moves later an open write, so it ends, and every open write that is then left is
 *    directly followed by a step that could not be there without it. x may itself be an open swap: then the same holds for
 *    x, so open writes form chains that end in an answered operation. Deletes are writes of "nothing", and swaps that took
 *    effect are writes with a need; both are covered: the argument asks only what a step needs and leaves.
 * 2. A chain never passes the same state twice: what lies between could be left out.
 * 3. Open writes with the same need and the same effect differ only in when they become available. Using the earliest one
 *    is never worse. So they form a class, and what the search remembers is how many of each class were used.
 */

interface OpenClass {
  readonly needs: number;
  readonly leaves: number;
  readonly steps: Step[];
  used: number;
}

/** Classes of open writes, in the order in which they take effect. */
export type Chain = readonly number[];

export class OpenWrites {
  private readonly classes: OpenClass[] = [];
  private readonly byLeaves = new Map<number, number[]>();

  constructor(open: readonly Step[]) {
    const byEffect = new Map<string, OpenClass>();
    for (const step of open) {
      const name = `${step.needs}>${step.leaves}`;
      const known = byEffect.get(name);
      if (known !== undefined) {
        known.steps.push(step);
        continue;
      }
      const added: OpenClass = { needs: step.needs, leaves: step.leaves, steps: [step], used: 0 };
      byEffect.set(name, added);
      const sameLeaves = this.byLeaves.get(step.leaves);
      if (sameLeaves === undefined) this.byLeaves.set(step.leaves, [this.classes.length]);
      else sameLeaves.push(this.classes.length);
      this.classes.push(added);
    }
  }

  /** The chains of writes invoked by `time` that lead from `state` to one that satisfies `needs`; at most `limit` of them. */
  chainsTo(needs: number, state: number, time: number, limit: number): Chain[] {
    const found: Chain[] = [];
    const search = (target: number, later: readonly number[], passed: readonly number[]): void => {
      for (const index of this.byLeaves.get(target) ?? []) {
        if (found.length >= limit) return;
        const candidate = this.classes[index];
        const next = candidate?.steps[candidate.used];
        if (candidate === undefined || next === undefined || next.operation.invokeAt > time) continue;
        const chain = [index, ...later];
        if (candidate.needs === needsAnything || candidate.needs === state) found.push(chain);
        else if (!passed.includes(candidate.needs)) search(candidate.needs, chain, [...passed, candidate.needs]);
      }
    };
    const targets = needs === needsSomeValue ? [...this.byLeaves.keys()].filter((to) => to !== noValue) : [needs];
    for (const target of targets) search(target, [], [target]);
    return found;
  }

  /** Marks the next write of each class of a chain as used; returns them. */
  use(chain: Chain): Step[] {
    return chain.flatMap((index) => {
      const used = this.classes[index];
      const step = used?.steps[used.used];
      if (used === undefined || step === undefined) return [];
      used.used++;
      return [step];
    });
  }

  unuse(chain: Chain): void {
    for (const index of chain) {
      const used = this.classes[index];
      if (used !== undefined) used.used--;
    }
  }

  /** Appends what distinguishes the writes used so far. */
  appendTo(numbers: number[]): void {
    for (const [index, { used }] of this.classes.entries()) if (used > 0) numbers.push(index, used);
  }
}
