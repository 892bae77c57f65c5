import { consistencyFollower, consistencyStale } from './consistency.js';
import { suspectFirstMs, suspectMaxMs } from './limits.js';
import type { CachedShard } from './shard_cache.js';

/** What the choice needs to know of an operation. */
export interface Choosing {
  /** A number of kv.proto's Consistency. */
  readonly consistency: number;
  /** Attempts so far; each goes one replica further. */
  readonly attempts: number;
  /** The store that was asked last; 0: none. */
  readonly storeId: number;
}

/**
 * Which replica's store to ask. Writes and linearizable reads go to the leader, or, while none is known, to one
 * voter after the other. Stores that were lost are avoided for a growing while, so that a dead store costs its
 * clients one round of errors and not one for each shard.
 */
export class StoreChoice {
  readonly #suspects = new Map<number, { untilMs: number; delayMs: number }>();
  #turn = 0;

  lost(storeId: number, nowMs: number): void {
    const known = this.#suspects.get(storeId);
    const delayMs = known === undefined ? suspectFirstMs : Math.min(suspectMaxMs, known.delayMs * 2);
    this.#suspects.set(storeId, { untilMs: nowMs + delayMs, delayMs });
  }

  reached(storeId: number): void {
    this.#suspects.delete(storeId);
  }

  isSuspect(storeId: number, nowMs: number): boolean {
    return this.#suspects.size > 0 && nowMs < (this.#suspects.get(storeId)?.untilMs ?? 0);
  }

  /** The store to ask; 0: the shard has no replica that may serve this. */
  choose(shard: CachedShard, operation: Choosing, nowMs: number): number {
    const { consistency } = operation;
    const wantsLeader = consistency !== consistencyFollower && consistency !== consistencyStale;
    const leader = shard.leaderStoreId;
    if (wantsLeader && leader !== 0 && !this.isSuspect(leader, nowMs)) return leader;
    // Reads that any replica may serve are spread; a search for the leader goes on from the last one asked.
    const start = wantsLeader ? operation.attempts : this.#turn++;
    let fallback = leader;
    const replicas = shard.replicas;
    for (let i = 0; i < replicas.length; i++) {
      const replica = replicas[(start + i) % replicas.length];
      if (replica === undefined || (!replica.voter && consistency !== consistencyStale)) continue;
      if (this.isSuspect(replica.storeId, nowMs)) {
        if (fallback === 0) fallback = replica.storeId;
        continue;
      }
      if (replica.storeId !== operation.storeId) return replica.storeId;
      fallback = replica.storeId;
    }
    return fallback;
  }

  /** True when another voter than the one asked last may be asked at once. */
  hasOther(shard: CachedShard, operation: Choosing, nowMs: number): boolean {
    return shard.replicas.some((r) => r.voter && r.storeId !== operation.storeId && !this.isSuspect(r.storeId, nowMs));
  }
}
