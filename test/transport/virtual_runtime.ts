import { Prng } from '../../src/base/prng.js';
import type { Runtime, TimerHandle } from '../../src/base/runtime.js';

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Time that passes only when told to. Events of the same time run in the order they were made. */
export class VirtualRuntime implements Runtime {
  private readonly prng: Prng;
  private readonly events = new Set<Event>();
  private clockMs = 0;
  private order = 0;

  constructor(seed: number) {
    this.prng = new Prng(seed);
  }

  nowMs(): number {
    return this.clockMs;
  }

  wallMs(): number {
    return this.clockMs;
  }

  nextTurn(fn: () => void): void {
    this.after(0, fn);
  }

  after(delayMs: number, fn: () => void): TimerHandle {
    const event: Event = { atMs: this.clockMs + delayMs, order: this.order++, run: fn };
    this.events.add(event);
    return { cancel: () => void this.events.delete(event) };
  }

  every(periodMs: number, fn: () => void): TimerHandle {
    let timer = this.after(periodMs, () => tick());
    const tick = (): void => {
      timer = this.after(periodMs, tick);
      fn();
    };
    return { cancel: () => timer.cancel() };
  }

  random(): number {
    return this.prng.random();
  }

  /** Runs everything that falls due within the next `ms`, with the promises that it settles. */
  async run(ms: number): Promise<void> {
    const endMs = this.clockMs + ms;
    for (;;) {
      await settled();
      const event = this.first();
      if (event === null || event.atMs > endMs) break;
      this.events.delete(event);
      this.clockMs = event.atMs;
      event.run();
    }
    this.clockMs = endMs;
  }

  private first(): Event | null {
    let first: Event | null = null;
    for (const event of this.events) {
      if (first === null || event.atMs < first.atMs || (event.atMs === first.atMs && event.order < first.order)) {
        first = event;
      }
    }
    return first;
  }
}

/** Waits until no promise is left to settle: a turn of the real event loop comes after all of them. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
