import type { Runtime, TimerHandle } from '../src/base/runtime.js';

interface Waiter {
  readonly holds: () => boolean;
  readonly settle: (held: boolean) => void;
  readonly timer: TimerHandle;
}

/** Requests that wait until something holds. Looked at whenever the member's state, leaders or operators change. */
export class Waiters {
  private readonly waiting = new Set<Waiter>();
  private readonly runtime: Runtime;
  private pokePending = false;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  get size(): number {
    return this.waiting.size;
  }

  /** True once `holds()`; false when it did not within the time, or at close(). */
  wait(holds: () => boolean, timeoutMs: number): Promise<boolean> {
    if (holds()) return Promise.resolve(true);
    if (timeoutMs <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const waiter: Waiter = {
        holds,
        settle: (held) => {
          this.waiting.delete(waiter);
          waiter.timer.cancel();
          resolve(held);
        },
        timer: this.runtime.after(timeoutMs, () => waiter.settle(holds())),
      };
      this.waiting.add(waiter);
    });
  }

  /** Something changed. All pokes of a turn are one look. */
  poke(): void {
    if (this.pokePending || this.waiting.size === 0) return;
    this.pokePending = true;
    this.runtime.nextTurn(() => {
      this.pokePending = false;
      for (const waiter of [...this.waiting]) if (waiter.holds()) waiter.settle(true);
    });
  }

  close(): void {
    for (const waiter of [...this.waiting]) waiter.settle(false);
  }
}
