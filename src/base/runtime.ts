/**
 * The world as a parameter. Code above the pure core takes a Runtime instead of using timers,
 * clocks and random numbers of its own, so that the simulator can run it on virtual time.
 */

/** A pending timer. */
export interface TimerHandle {
  /** Idempotent; after it the callback does not run. */
  cancel(): void;
}

export interface Runtime {
  /** Milliseconds on the monotonic clock, with fractions. Never goes back. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch; for people (logs, reports), never for decisions. */
  wallMs(): number;
  /** Runs `fn` once, after the I/O of this turn of the event loop (setImmediate). */
  nextTurn(fn: () => void): void;
  /** Runs `fn` once, not before `delayMs` from now. */
  after(delayMs: number, fn: () => void): TimerHandle;
  /** Runs `fn` every `periodMs`; a stalled loop skips beats, it does not make up for them. */
  every(periodMs: number, fn: () => void): TimerHandle;
  /** A float in [0, 1). */
  random(): number;
}

/** A random integer in [min, max]. */
export function randomInt(runtime: Pick<Runtime, 'random'>, min: number, max: number): number {
  return min + Math.floor(runtime.random() * (max - min + 1));
}

/** A promise that settles after `delayMs`. */
export function sleep(runtime: Runtime, delayMs: number): Promise<void> {
  return new Promise((resolve) => void runtime.after(delayMs, resolve));
}
