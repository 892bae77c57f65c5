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
  private readonly timers = new TimerHeap();
  private turns: (() => void)[] = [];

  get nowMs(): number {
    return this.now;
  }

  addTimer(delayMs: number, fn: () => void): Timer {
    const timer = { atMs: this.now + Math.max(0, delayMs), sequence: this.sequence++, fn, cancelled: false };
    this.timers.push(timer);
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
    for (let timer = this.timers.peek(); timer !== undefined && timer.atMs <= end; timer = this.timers.peek()) {
      this.timers.pop();
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

/** Timers by their time, then by age. */
class TimerHeap {
  private readonly heap: Timer[] = [];

  peek(): Timer | undefined {
    return this.heap[0];
  }

  push(timer: Timer): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !isBefore(timer, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = timer;
  }

  pop(): void {
    const { heap } = this;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      const right = heap[child + 1];
      if (left === undefined) break;
      let next = left;
      if (right !== undefined && isBefore(right, left)) {
        next = right;
        child++;
      }
      if (!isBefore(next, last)) break;
      heap[at] = next;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.sequence < b.sequence;
}

export interface VirtualClockSkew {
  /** How fast this process's clock runs: 1.01 gains ten milliseconds in each second. */
  readonly rate: number;
  /** Where its monotonic clock begins. */
  readonly offsetMs: number;
}

/** One process's view of a virtual clock. After kill() nothing that it scheduled runs any more. */
export class VirtualRuntime implements Runtime {
  private readonly clock: VirtualClock;
  private readonly prng: Prng;
  private readonly rate: number;
  private readonly offsetMs: number;
  private alive = true;
  private paused = false;
  /** What would have run while the process was paused. */
  private backlog: (() => void)[] = [];

  constructor(clock: VirtualClock, seed: number, skew: VirtualClockSkew = { rate: 1, offsetMs: 0 }) {
    this.clock = clock;
    this.prng = new Prng(seed);
    this.rate = skew.rate;
    this.offsetMs = skew.offsetMs;
  }

  get isAlive(): boolean {
    return this.alive;
  }

  get isPaused(): boolean {
    return this.paused;
  }

  kill(): void {
    this.alive = false;
    this.backlog = [];
  }

  /** Stops the event loop: what comes due waits until resume(). Time goes on. */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    const { backlog } = this;
    this.backlog = [];
    for (const fn of backlog) this.clock.addTurn(() => this.run(fn));
  }

  nowMs(): number {
    return this.offsetMs + this.clock.nowMs * this.rate;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.clock.nowMs;
  }

  nextTurn(fn: () => void): void {
    this.clock.addTurn(() => this.run(fn));
  }

  after(delayMs: number, fn: () => void): TimerHandle {
    const timer = this.clock.addTimer(delayMs / this.rate, () =>
      this.run(() => {
        // It may have been cancelled while it waited for a stalled event loop.
        if (!timer.cancelled) fn();
      }),
    );
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

  /** Runs something that reaches the process from outside: now, when its event loop goes on, or never. */
  run(fn: () => void): void {
    if (!this.alive) return;
    if (this.paused) this.backlog.push(fn);
    else fn();
  }
}

/** Promise callbacks run before the next macrotask, however long their chain is. */
function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
