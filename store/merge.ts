import type { CommitMergeCommand, PrepareMergeCommand } from '../src/gen/skerry/v1/kv.js';
import type { MergedShard, MergingInto, Shard } from '../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../src/gen/skerry/v1/meta.js';
import { epochOf, sameEpoch } from './descriptor.js';
import { mergedShardsMax } from './limits.js';

/**
 * A shard becomes a part of its neighbour. Rows are keyed by keyspace, so none of them moves; sessions do.
 *
 *   source:  serving ──PrepareMerge, at index P──▶ merging ──┬─ the target took it in ─▶ tombstone
 *               ▲                                            │
 *               └──────────────── RollbackMerge ─────────────┘ the target can not take it in any more
 *
 *   target:  at epoch E ──┬─ CommitMerge for E ─▶ the union, version above both
 *                         └─ anything else that changes the epoch (a split, a membership change, ForbidMerge) ─▶ not E for ever
 *
 * The target's log decides. PrepareMerge names the target's epoch E; CommitMerge takes effect at E only, and epochs do not come back, so the
 * first change of the target after E either is the merge or rules it out. What must hold, and why:
 *
 *   1  Nothing is served by the source once the target may serve its keys. From P on the source answers neither writes nor
 *      linearizable reads (each looks at the descriptor once more when its read point is there). CommitMerge is proposed by a store whose
 *      replica of the source leads and has applied P, so every later read point of the source is at or above P, and an older
 *      leader's lease ended before that one was elected (INV-15).
 *   2  A replica of the target applies CommitMerge only where its store's replica of the source has applied P. CommitMerge is proposed
 *      only once every replica of the source has P in its durable log (match); membership does not change after P, so
 *      "every" stays every. A replica that has P but has not heard that it is committed hears it from CommitMerge (learnCommit);
 *      the target waits for it and applies nothing else meanwhile (readiness 'later'). A store whose replica of the source is gone or lost
 *      its log can not apply CommitMerge: its replica of the target is quarantined, and placement replaces it ('never').
 *   3  One engine batch of each store has the target's new descriptor, its applied position, the merged sessions and the
 *      source's tombstone. The source's log is dropped only after that batch is synced. So a crash leaves both shards as they
 *      were before, to be merged again from the log, or the merged one.
 *   4  RollbackMerge is proposed only by a store that knows a state of the target beyond E in which the source is not among the merged
 *      shards (MergeState.merged, which splits and merges hand on). Together with the above, never both.
 *   5  A snapshot of the target taken after the merge names the source as merged. The store that installs it drops its replica of
 *      the source in the batch that begins the installation.
 *
 * A merge is given up in the target's log: ForbidMerge for E, which either comes before CommitMerge and makes that one refused, or after it
 * and is refused itself. The source's log could not decide: a CommitMerge for E may be in the target's log already, uncommitted at a leader
 * that nobody reaches, and knows nothing of what the source did since. So while the target has no majority the source waits. A merge
 * that was asked for and has not begun is given up with ForbidMerge in the source's own log: PrepareMerge names the source's epoch, too.
 *
 * Who drives it: the store on which the source leads (merge_driver.ts), after placement has asked for the beginning; so a merge that has
 * begun ends without placement, too. CancelMerge of placement tells it to give the merge up.
 */
export type PrepareVerdict =
  { readonly kind: 'prepared'; readonly shard: Shard } | { readonly kind: 'refused'; readonly reason: MergeRefusal };

export type MergeRefusal = 'epoch' | 'notAligned' | 'notNeighbours' | 'merging';

/** The descriptor of a source that stops to serve with the entry at this index and term. */
export function prepareMerge(
  shard: Shard,
  { epoch, target }: PrepareMergeCommand,
  index: number,
  term: number,
): PrepareVerdict {
  if (!sameEpoch(shard.epoch, epoch)) return { kind: 'refused', reason: 'epoch' };
  const refusal = target === undefined ? 'notNeighbours' : mergeRefusal(shard, target);
  if (target === undefined || refusal !== null) return { kind: 'refused', reason: refusal ?? 'notNeighbours' };
  const into: MergingInto = { shardId: target.shardId, epoch: { ...epochOf(target) }, index, term };
  return { kind: 'prepared', shard: { ...nextVersion(shard), merge: { into, merged: [...mergedOf(shard)] } } };
}

/** Why two shards can not become one; null: nothing. */
export function mergeRefusal(source: Shard, target: Shard): MergeRefusal | null {
  if (source.merge?.into !== undefined || target.merge?.into !== undefined) return 'merging';
  if (!areNeighbours(source, target)) return 'notNeighbours';
  return areAligned(source, target) ? null : 'notAligned';
}

export type CommitVerdict =
  | { readonly kind: 'merged'; readonly shard: Shard; readonly source: Shard; readonly into: MergingInto }
  | { readonly kind: 'refused'; readonly reason: MergeRefusal };

/** The descriptor of a target that takes a prepared source in. */
export function commitMerge(target: Shard, { source }: CommitMergeCommand): CommitVerdict {
  const into = source?.merge?.into;
  if (source === undefined || into?.shardId !== target.shardId || !sameEpoch(into.epoch, target.epoch)) {
    return { kind: 'refused', reason: 'epoch' };
  }
  const refusal = mergeRefusal({ ...source, merge: undefined }, target);
  if (refusal !== null) return { kind: 'refused', reason: refusal };
  const { confVer, version: own } = epochOf(target);
  const version = Math.max(own, epochOf(source).version) + 1;
  const below = isBelow(source, target);
  const merged = [...mergedOf(source), ...mergedOf(target), { shardId: source.shardId, version }];
  const shard: Shard = {
    ...target,
    startKey: Buffer.from(below ? source.startKey : target.startKey),
    endKey: Buffer.from(below ? target.endKey : source.endKey),
    epoch: { confVer, version },
    merge: { into: undefined, merged: merged.sort((a, b) => a.version - b.version).slice(-mergedShardsMax) },
  };
  return { kind: 'merged', shard, source, into };
}

/** The source serves again. null: it waits for no merge at this epoch. */
export function rollbackMerge(shard: Shard, epoch: Shard['epoch']): Shard | null {
  if (shard.merge?.into === undefined || !sameEpoch(shard.epoch, epoch)) return null;
  return { ...nextVersion(shard), merge: { into: undefined, merged: [...mergedOf(shard)] } };
}

/** The target rules out what was prepared for its epoch. null: that epoch is over already. */
export function forbidMerge(shard: Shard, epoch: Shard['epoch']): Shard | null {
  return sameEpoch(shard.epoch, epoch) ? nextVersion(shard) : null;
}

/** What a state of the target says about a merge that was prepared for it. */
export type MergeFate = 'open' | 'merged' | 'ruledOut' | 'forgotten';

export function fateOf(sourceId: number, into: MergingInto, target: Shard): MergeFate {
  const merged = mergedOf(target);
  if (merged.some(({ shardId }) => shardId === sourceId)) return 'merged';
  const { confVer, version } = epochOf(target);
  const asked = epochOf({ ...target, epoch: into.epoch });
  if (version < asked.version || confVer < asked.confVer || sameEpoch(target.epoch, into.epoch)) return 'open';
  const [oldest] = merged;
  const mayHaveForgotten = merged.length >= mergedShardsMax && oldest !== undefined && oldest.version > asked.version;
  return mayHaveForgotten ? 'forgotten' : 'ruledOut';
}

export function mergedOf(shard: Shard): readonly MergedShard[] {
  return shard.merge?.merged ?? [];
}

export function hasMerged(shard: Shard, sourceId: number): boolean {
  return mergedOf(shard).some(({ shardId }) => shardId === sourceId);
}

/** The source ends where the target begins. */
export function isBelow(source: Shard, target: Shard): boolean {
  return source.endKey.length > 0 && Buffer.compare(source.endKey, target.startKey) === 0;
}

function areNeighbours(a: Shard, b: Shard): boolean {
  if (a.keyspaceId !== b.keyspaceId || a.shardId === b.shardId) return false;
  return isBelow(a, b) || isBelow(b, a);
}

/** Replicas on the same stores, all of them voters. */
function areAligned(a: Shard, b: Shard): boolean {
  if (a.replicas.length !== b.replicas.length) return false;
  const stores = new Set(b.replicas.map((r) => r.storeId));
  const isVoter = ({ role }: Shard['replicas'][number]): boolean => role === ReplicaRole.VOTER;
  return a.replicas.every((r) => isVoter(r) && stores.has(r.storeId)) && b.replicas.every(isVoter);
}

function nextVersion(shard: Shard): Shard {
  const { confVer, version } = epochOf(shard);
  return { ...shard, epoch: { confVer, version: version + 1 } };
}
