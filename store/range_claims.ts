import { rangesOverlap } from '../src/base/encoded_key.js';
import type { Runtime } from '../src/base/runtime.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { snapshotClaimMs } from './limits.js';

/**
 * Ranges that snapshots on their way will take. A claim holds from the offer until the installation begins
 * (the range index has the range from then on), and lapses by itself when the transfer never ends.
 */
export class RangeClaims {
  private readonly runtime: Pick<Runtime, 'nowMs'>;
  private readonly claims = new Map<number, { readonly shard: Shard; readonly untilMs: number }>();

  constructor(runtime: Pick<Runtime, 'nowMs'>) {
    this.runtime = runtime;
  }

  /** False: another shard has claimed a part of the range. */
  claim(shardId: number, shard: Shard): boolean {
    const nowMs = this.runtime.nowMs();
    for (const [other, claim] of this.claims) {
      if (claim.untilMs <= nowMs) this.claims.delete(other);
      else if (other !== shardId && overlaps(claim.shard, shard)) return false;
    }
    this.claims.set(shardId, { shard, untilMs: nowMs + snapshotClaimMs });
    return true;
  }

  release(shardId: number): void {
    this.claims.delete(shardId);
  }
}

function overlaps(a: Shard, b: Shard): boolean {
  return a.keyspaceId === b.keyspaceId && rangesOverlap(a.startKey, a.endKey, b.startKey, b.endKey);
}
