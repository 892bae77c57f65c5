import type { Runtime } from '../src/base/runtime.js';

/** The age, in milliseconds, at which an operation counts for a third of a new one. */
const loadMemoryMs = 10_000;
/** The shortest time between two looks that count, milliseconds. */
const loadLookMs = 500;
/** How much the load must change to be worth a report: so many operations per second, and this share of it. */
const loadChangeMin = 20;
const loadChangeRatio = 0.25;
/** Operations per second below which a shard is told to be idle. */
const idlePerS = 0.5;

/** What counts a shard's operations, since the start. */
export interface Counted {
  readonly shardId: number;
  readonly readsTaken: number;
  readonly writesTaken: number;
}

/** Operations per second. */
export interface ShardLoad {
  readonly readsPerS: number;
  readonly writesPerS: number;
}

interface Seen {
  reads: number;
  writes: number;
  atMs: number;
  readsPerS: number;
  writesPerS: number;
  /** Of both, as told last. */
  toldPerS: number;
}

const none: ShardLoad = Object.freeze({ readsPerS: 0, writesPerS: 0 });
/**
 * Operations per second of shards, averages that forget exponentially. Counting costs an operation one addition; this looks at
 * the counters now and then, for shards that are led here.
 */
export class ShardLoads {
  private readonly runtime: Pick<Runtime, 'nowMs'>;
  private readonly seen = new Map<number, Seen>();

  constructor(runtime: Pick<Runtime, 'nowMs'>) {
    this.runtime = runtime;
  }

  /** Looks at one shard's counters. */
  look({ shardId, readsTaken, writesTaken }: Counted): void {
    const nowMs = this.runtime.nowMs();
    const seen = this.seen.get(shardId);
    if (seen === undefined) {
      // What came before this look came in a time that is not known.
      const fresh = { reads: readsTaken, writes: writesTaken, atMs: nowMs, readsPerS: 0, writesPerS: 0, toldPerS: 0 };
      if (readsTaken + writesTaken > 0) this.seen.set(shardId, fresh);
      return;
    }
    const elapsedMs = nowMs - seen.atMs;
    if (elapsedMs < loadLookMs) return;
    const weight = 1 - Math.exp(-elapsedMs / loadMemoryMs);
    seen.readsPerS += weight * (((readsTaken - seen.reads) * 1000) / elapsedMs - seen.readsPerS);
    seen.writesPerS += weight * (((writesTaken - seen.writes) * 1000) / elapsedMs - seen.writesPerS);
    seen.reads = readsTaken;
    seen.writes = writesTaken;
    seen.atMs = nowMs;
  }

  /** True when the load is by now so different from what was told that it is worth telling. */
  isNews(shardId: number): boolean {
    const seen = this.seen.get(shardId);
    if (seen === undefined) return false;
    const perS = seen.readsPerS + seen.writesPerS;
    return Math.abs(perS - seen.toldPerS) > Math.max(loadChangeMin, loadChangeRatio * Math.max(perS, seen.toldPerS));
  }

  /** The load as it is told now. */
  tell(shardId: number): ShardLoad {
    const seen = this.seen.get(shardId);
    if (seen === undefined) return none;
    const { readsPerS, writesPerS } = seen;
    seen.toldPerS = readsPerS + writesPerS;
    return seen.toldPerS < idlePerS ? none : { readsPerS, writesPerS };
  }

  /** The shard is not led here any more. */
  forget(shardId: number): void {
    this.seen.delete(shardId);
  }

  /** Shards that are remembered: those led here that had any operation. */
  get size(): number {
    return this.seen.size;
  }
}
