import { Histogram } from './histogram.js';

/** What a load came to. */
export interface Driven {
  readonly done: number;
  readonly seconds: number;
  /** Of the operations that succeeded, microseconds. In an open loop counted from when the operation was due. */
  readonly latency: Histogram;
  /** Failed operations by the error's code. */
  readonly errors: ReadonlyMap<string, number>;
  /** The first failure, for people. */
  readonly firstError: string | null;
  /** Operations that were due and could not be begun, because too many were outstanding. Open loops only. */
  readonly skipped: number;
}

/** Begins an operation; `worker` tells the callers of a closed loop apart. */
export type Operation = (worker: number) => Promise<unknown>;

class Tally {
  done = 0;
  skipped = 0;
  firstError: string | null = null;
  readonly latency = new Histogram();
  readonly errors = new Map<string, number>();
  private readonly startMs = performance.now();

  async run(operation: Operation, worker: number, dueMs: number): Promise<void> {
    try {
      await operation(worker);
      this.done++;
      this.latency.record((performance.now() - dueMs) * 1000);
    } catch (error) {
      this.failed(error);
    }
  }

  finish(): Driven {
    const { done, latency, errors, firstError, skipped } = this;
    return { done, latency, errors, firstError, skipped, seconds: (performance.now() - this.startMs) / 1000 };
  }

  private failed(error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    this.firstError ??= error instanceof Error ? error.message : String(error);
  }
}

/** A closed loop: keeps `outstanding` operations under way for some seconds. */
export async function keepOutstanding(outstanding: number, seconds: number, operation: Operation): Promise<Driven> {
  const tally = new Tally();
  const endMs = performance.now() + seconds * 1000;
  const worker = async (index: number): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < endMs; nowMs = performance.now())
      await tally.run(operation, index, nowMs);
  };
  await Promise.all(Array.from({ length: outstanding }, (_, index) => worker(index)));
  return tally.finish();
}

/** How often an open loop begins what is due, milliseconds. */
const paceMs = 5;

/**
 * An open loop: begins `perSecond` operations a second whether or not earlier ones have ended, as independent callers do. Latency
 * counts from the moment an operation was due, so that a stalled service is not flattered. A signal ends it early.
 */
export async function keepRate(
  perSecond: number,
  seconds: number,
  outstandingMax: number,
  operation: Operation,
  signal?: AbortSignal,
): Promise<Driven> {
  const tally = new Tally();
  const startMs = performance.now();
  const total = Math.floor(perSecond * seconds);
  const running = new Set<Promise<void>>();
  for (let begun = 0; begun < total && signal?.aborted !== true;) {
    const due = Math.min(total, Math.floor(((performance.now() - startMs) * perSecond) / 1000) + 1);
    for (; begun < due; begun++) {
      if (running.size >= outstandingMax) {
        tally.skipped++;
        continue;
      }
      const run = tally.run(operation, begun, startMs + (begun * 1000) / perSecond);
      running.add(run);
      void run.then(() => running.delete(run));
    }
    await new Promise((resolve) => setTimeout(resolve, paceMs));
  }
  await Promise.all(running);
  return tally.finish();
}

/** Figures of a load, the rate first. */
export function figuresOf(driven: Driven, what: string): Record<string, number> {
  const ms = (share: number): number => driven.latency.quantileUs(share) / 1000;
  const failed = [...driven.errors.values()].reduce((a, b) => a + b, 0);
  return {
    [`${what}/s`]: driven.done / driven.seconds,
    'p50 ms': ms(0.5),
    'p95 ms': ms(0.95),
    'p99 ms': ms(0.99),
    'p99.9 ms': ms(0.999),
    'failed operations': failed,
  };
}
