import type { Shard } from '../src/gen/skerry/v1/meta.js';
import type { MergeRefusal } from './merge.js';

/** What applying one command came to: the `result` of an applied ProposalOutcome. Nothing took effect unless it says so. */
export type WriteOutcome =
  /** Took effect now, or did so at an earlier attempt. */
  | { readonly kind: 'written' }
  /** A compare-and-swap found something else. null: no value. */
  | { readonly kind: 'swapFailed'; readonly current: Buffer | null }
  /** The shard's range no longer holds the key (a split came first). */
  | { readonly kind: 'keyNotInShard'; readonly key: Buffer }
  | { readonly kind: 'sessionExpired'; readonly sessionId: number }
  /** Bytes that are no command; every replica passes over them alike. */
  | { readonly kind: 'malformed' }
  /** The split took effect. */
  | { readonly kind: 'split'; readonly left: Shard; readonly right: Shard }
  /** The checksum of the state as of this entry is being computed. */
  | { readonly kind: 'checksum' }
  /** An administrative command came for another epoch, or does not fit the shard. */
  | { readonly kind: 'refused'; readonly reason: 'epoch' | 'joint' | 'splitKey' | 'replicas' | MergeRefusal }
  /** The membership changed, or the shard's part in a merge. */
  | { readonly kind: 'changed'; readonly shard: Shard }
  /** This replica was removed by an earlier entry. */
  | { readonly kind: 'removed' };

export const written: WriteOutcome = Object.freeze({ kind: 'written' });
