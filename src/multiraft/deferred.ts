import type { Runtime } from '../base/runtime.js';

/**
 * Callbacks that must not run from within the call that gave them, such as a refusal's `done`. They run in the next turn of
 * the event loop whatever the host's state is, so that each is called exactly once.
 */
export class Deferred {
  private readonly runtime: Runtime;
  private waiting: (() => void)[] = [];

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  add(fn: () => void): void {
    this.waiting.push(fn);
    if (this.waiting.length === 1) this.runtime.nextTurn(() => this.run());
  }

  private run(): void {
    const due = this.waiting;
    this.waiting = [];
    for (const fn of due) fn();
  }
}
