import type { ClusterView } from '../cluster_view.js';
import { voterHolders } from '../choose_target.js';
import type { NeighbourRejection, NeighbourRejectionKind } from '../hindrance.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { isMerge } from '../operators/operator.js';
import { alignment, mergeSteps } from '../operators/merge_steps.js';
import { fitOf, setback } from '../rules/fit.js';
import { mergedShareMax } from '../shard_sizes.js';
import type { ShardRecord } from '../state/records.js';
import type { CheckContext } from './check_context.js';
import type { CheckResult, Checker } from './check_result.js';
import { repair, sound } from './check_result.js';

const kind = 'merge-shards';

/**
 * Merges a shard that has become small with a neighbour, in keyspaces that have more shards than they began with: what someone
 * asked for at the start stays. What keeps it from undoing a split: both shards together are at most half of what is split, by every
 * measure; shards that were just split or merged rest; and a placement leader that does not know what was just split waits as
 * long before it merges anything.
 */
export const mergeChecker: Checker = {
  name: 'merge',
  check(context, shard): CheckResult {
    const { view, sizes } = context;
    if (!isSmall(context, shard) || !hasSpareShards(context, shard)) return sound;
    const reason = `less than ${sizes.mergeBytes} bytes and ${sizes.mergeKeys} keys`;
    const wants = { kind, reason };
    if (view.ageMs < sizes.restMs) {
      const untilMs = view.nowMs - view.ageMs + sizes.restMs;
      return { kind: 'resting', wants, hindrance: { kind: 'resting', untilMs } };
    }
    const rest = context.operators.reshapeHindrance(shard.shardId, view.nowMs);
    if (rest !== null) return { kind: 'resting', wants, hindrance: rest };
    if (!isAtRest(view, shard)) return { kind: 'resting', wants, hindrance: { kind: 'unhealthy' } };
    const rejected: NeighbourRejection[] = [];
    for (const neighbour of neighboursOf(view, shard)) {
      const { shardId } = neighbour;
      const rejection = rejectionOf(context, shard, neighbour);
      if (rejection === null) {
        return repair(shard, kind, `${reason}, beside shard ${shardId}`, mergeSteps(view, shard, neighbour));
      }
      rejected.push({ shardId, kind: rejection });
    }
    return { kind: 'resting', wants, hindrance: { kind: 'noNeighbour', rejected } };
  },
};

/** A size that no leader has told yet is not small. */
function isSmall({ view, sizes }: CheckContext, shard: ShardRecord): boolean {
  const status = view.status(shard.shardId);
  if (status?.sizeKnown !== true || sizes.mergeBytes === 0) return false;
  return (
    status.approximateBytes < sizes.mergeBytes &&
    status.approximateKeys < sizes.mergeKeys &&
    fits(view.workOf(shard.shardId), sizes.splitWork)
  );
}

/** Merges under way count as done. */
function hasSpareShards({ view, operators }: CheckContext, { keyspaceId }: ShardRecord): boolean {
  const { state } = view;
  const initial = state.keyspace(keyspaceId)?.initialShards ?? Infinity;
  const count = state.shardCountOf(keyspaceId);
  if (count <= initial) return false;
  let merging = 0;
  for (const { plan } of operators.running()) {
    if (isMerge(plan) && state.shard(plan.shardId)?.keyspaceId === keyspaceId) merging++;
  }
  return count - merging > initial;
}

/** As its policy wants it, without exceptions made for it by hand, and followed by all of its replicas, which are voters. */
function isAtRest(view: ClusterView, shard: ShardRecord): boolean {
  return (
    view.isHealthy(shard) &&
    view.state.target(shard.shardId) === undefined &&
    shard.merge?.into === undefined &&
    shard.replicas.every((r) => r.role === ReplicaRole.VOTER)
  );
}

/** A part of a limit that splits; 0: there is none. */
function fits(together: number, limit: number): boolean {
  return limit === 0 || together <= limit * mergedShareMax;
}

/** Why the neighbour can not take the shard in; null: it can. */
function rejectionOf(context: CheckContext, shard: ShardRecord, neighbour: ShardRecord): NeighbourRejectionKind | null {
  const { view, sizes, operators } = context;
  const [ours, theirs] = [view.status(shard.shardId), view.status(neighbour.shardId)];
  if (ours === undefined || theirs?.sizeKnown !== true || !isAtRest(view, neighbour)) return 'unsound';
  const rest = operators.reshapeHindrance(neighbour.shardId, view.nowMs);
  if (rest !== null) return rest.kind === 'resting' ? 'resting' : 'busy';
  const staysWhole =
    fits(ours.approximateBytes + theirs.approximateBytes, sizes.splitBytes) &&
    fits(ours.approximateKeys + theirs.approximateKeys, sizes.splitKeys) &&
    fits(view.workOf(shard.shardId) + view.workOf(neighbour.shardId), sizes.splitWork);
  return staysWhole ? placeRejection(context, shard, neighbour) : 'tooLarge';
}

/** Why the shard's replicas can not be where the neighbour's are. */
function placeRejection(
  { view, loads }: CheckContext,
  shard: ShardRecord,
  neighbour: ShardRecord,
): NeighbourRejectionKind | null {
  if (neighbour.replicas.length !== shard.replicas.length) return 'replicas';
  const { coming } = alignment(shard, neighbour);
  if (coming.length === 0) return null;
  if (coming.some((storeId) => loads.get(storeId)?.acceptsReplicas !== true)) return 'noRoom';
  const rules = view.rulesOf(shard);
  const fit = (of: ShardRecord): ReturnType<typeof fitOf> => fitOf(rules, voterHolders(view, of, 0));
  return setback(fit(shard), fit(neighbour)) === null ? null : 'misplaced';
}

/** Right and left, as far as there are. */
function neighboursOf(view: ClusterView, shard: ShardRecord): ShardRecord[] {
  const { state } = view;
  const neighbours: ShardRecord[] = [];
  const right = shard.endKey.length === 0 ? undefined : state.shardAt(shard.keyspaceId, shard.endKey);
  if (right !== undefined) neighbours.push(right);
  const left = state.shardBefore(shard.keyspaceId, shard.startKey);
  if (left !== undefined && left.endKey.equals(shard.startKey)) neighbours.push(left);
  return neighbours;
}
