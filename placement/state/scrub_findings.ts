import { scrubFindingsMax } from '../limits.js';
import type { Verdict } from '../scrub/verdict.js';

/** Shards whose replicas were found to differ, with what was found; bounded: past it further ones are known to their leader only. */
export class ScrubFindings {
  private readonly byShard = new Map<number, Verdict>();

  get size(): number {
    return this.byShard.size;
  }

  get(shardId: number): Verdict | undefined {
    return this.byShard.get(shardId);
  }

  all(): IterableIterator<Verdict> {
    return this.byShard.values();
  }

  /** False: there is no room for one more. */
  put(verdict: Verdict): boolean {
    if (!this.byShard.has(verdict.shardId) && this.byShard.size >= scrubFindingsMax) return false;
    this.byShard.set(verdict.shardId, verdict);
    return true;
  }

  /** False: there was none. */
  delete(shardId: number): boolean {
    return this.byShard.delete(shardId);
  }
}
