import { Prng } from '../../src/base/prng.js';
import type { Runtime, TimerHandle } from '../../src/base/runtime.js';

interface Timer {
  readonly atMs: number;
  readonly sequence: number;
  readonly fn: () => void;
  cancelled: boolean;
}

/**
 * Virtual time. Nothing happens but within advance() and settle(): timers fire in the order of their times, and after
 * each one all turns of the event loop and all promise callbacks that follow from it run before time goes on.
 */
export class VirtualClock {
  private now = 0;
  private sequence = 0;
  private timers: Timer[] = [];
  private turns: (() => void)[] = [];

  get nowMs(): number {
    return this.now;
  }

  addTimer(delayMs: number, fn: () => void): Timer {
    const timer = { atMs: this.now + Math.max(0, delayMs), sequence: this.sequence++, fn, cancelled: false };
    let at = this.timers.length;
    while (at > 0 && (this.timers[at - 1]?.atMs ?? 0) > timer.atMs) at--;
    this.timers.splice(at, 0, timer);
    return timer;
  }

  addTurn(fn: () => void): void {
    this.turns.push(fn);
  }

  /** Runs turns and promise callbacks until there are none. */
  async settle(): Promise<void> {
    for (;;) {
      await drainMicrotasks();
      if (this.turns.length === 0) return;
      const due = this.turns;
      this.turns = [];
      for (const fn of due) {
        fn();
        await drainMicrotasks();
      }
    }
  }

  /** Lets this much time pass. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    await this.settle();
    for (let timer = this.timers[0]; timer !== undefined && timer.atMs <= end; timer = this.timers[0]) {
      this.timers.shift();
      if (timer.cancelled) continue;
      this.now = timer.atMs;
      timer.fn();
      await this.settle();
    }
    this.now = end;
  }

  /** Lets time pass in small steps until the condition holds; throws when it does not within maxMs of virtual time. */
  async until(condition: () => boolean, what: string, maxMs = 60_000): Promise<void> {
    const end = this.now + maxMs;
    await this.settle();
    while (!condition()) {
      if (this.now >= end) throw new Error(`not within ${String(maxMs)} ms of virtual time: ${what}`);
      await this.advance(10);
    }
  }

  /** What a promise resolves to, letting time pass for it. */
  async resolve<T>(promise: Promise<T>, maxMs = 60_000): Promise<T> {
    let settled = false;
    const mark = (): void => void (settled = true);
    promise.then(mark, mark);
    await this.until(() => settled, 'a promise settles', maxMs);
    return promise;
  }
}

/** One process's view of a virtual clock. After kill() nothing that it scheduled runs any more. */
export class VirtualRuntime implements Runtime {
  private readonly clock: VirtualClock;
  private readonly prng: Prng;
  private alive = true;

  constructor(clock: VirtualClock, seed: number) {
    this.clock = clock;
    this.prng = new Prng(seed);
  }

  kill(): void {
    this.alive = false;
  }

  nowMs(): number {
    return this.clock.nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.clock.nowMs;
  }

  nextTurn(fn: () => void): void {
    this.clock.addTurn(() => this.run(fn));
  }

  after(delayMs: number, fn: () => void): TimerHandle {
    const timer = this.clock.addTimer(delayMs, () => this.run(fn));
    return { cancel: () => void (timer.cancelled = true) };
  }

  every(periodMs: number, fn: () => void): TimerHandle {
    let cancelled = false;
    let timer: TimerHandle;
    const arm = (): void => {
      timer = this.after(periodMs, () => {
        if (cancelled) return;
        arm();
        fn();
      });
    };
    arm();
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  random(): number {
    return this.prng.random();
  }

  private run(fn: () => void): void {
    if (this.alive) fn();
  }
}

/** Promise callbacks run before the next macrotask, however long their chain is. */
function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
