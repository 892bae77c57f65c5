import type { ClusterView } from '../cluster_view.js';
import { reshapedShardRestMs } from '../limits.js';
import type { Step } from '../operators/step.js';
import { mergedShareMax } from '../shard_sizes.js';
import type { ShardRecord } from '../state/records.js';
import type { StoreLoads } from '../store_loads.js';
import type { CheckContext } from './check_context.js';
import type { CheckResult, Checker } from './check_result.js';
import { repair, sound } from './check_result.js';

const kind = 'merge-shards';

/** The steps that bring a shard's replicas beside those of its right-hand neighbour and make one shard of the two. Null: cannot be done now. */
export type MergePlan = (view: ClusterView, from: ShardRecord, into: ShardRecord, loads: StoreLoads) => Step[] | null;

/**
 * Merges a shard that has become small with a neighbour, in keyspaces that have more shards than they began with: what someone
 * asked for at the start stays. Shards that were just split are left alone, and a placement leader that does not know what
 * was just split merges nothing.
 */
export function mergeChecker(plan: MergePlan): Checker {
  return {
    name: 'merge',
    check(context, shard): CheckResult {
      const { view, sizes } = context;
      const keyspace = view.state.keyspace(shard.keyspaceId);
      if (keyspace === undefined || view.state.shardCountOf(shard.keyspaceId) <= keyspace.initialShards) return sound;
      if (!isSmall(context, shard)) return sound;
      const reason = `less than ${sizes.mergeBytes} bytes and ${sizes.mergeKeys} keys`;
      const wants = { kind, reason };
      if (view.ageMs < reshapedShardRestMs) {
        return {
          kind: 'resting',
          wants,
          hindrance: { kind: 'resting', untilMs: view.nowMs - view.ageMs + reshapedShardRestMs },
        };
      }
      const rest = context.operators.reshapeHindrance(shard.shardId, view.nowMs);
      if (rest !== null) return { kind: 'resting', wants, hindrance: rest };
      if (!isAtRest(view, shard)) return { kind: 'resting', wants, hindrance: { kind: 'unhealthy' } };
      for (const neighbour of neighboursOf(view, shard)) {
        if (!mayTake(context, shard, neighbour)) continue;
        const steps = plan(view, shard, neighbour, context.loads);
        if (steps !== null) return repair(shard, kind, `${reason}, beside shard ${neighbour.shardId}`, steps);
      }
      return { kind: 'resting', wants, hindrance: { kind: 'noNeighbour' } };
    },
  };
}

/** Sizes that were never reported are zero: a leader tells them soon after it began, and every shard has some bytes then. */
function isSmall({ view, sizes }: CheckContext, shard: ShardRecord): boolean {
  const status = view.status(shard.shardId);
  if (status === undefined || sizes.mergeBytes === 0) return false;
  return (
    status.approximateBytes < sizes.mergeBytes &&
    status.approximateKeys < sizes.mergeKeys &&
    view.workOf(shard.shardId) <= sizes.splitWork * mergedShareMax
  );
}

function isAtRest(view: ClusterView, shard: ShardRecord): boolean {
  return view.isHealthy(shard) && view.state.target(shard.shardId) === undefined;
}

/** The neighbour fits, too: together they stay well below what is split. */
function mayTake({ view, sizes, operators }: CheckContext, shard: ShardRecord, neighbour: ShardRecord): boolean {
  const [ours, theirs] = [view.status(shard.shardId), view.status(neighbour.shardId)];
  if (ours === undefined || theirs === undefined || !isAtRest(view, neighbour)) return false;
  if (operators.reshapeHindrance(neighbour.shardId, view.nowMs) !== null) return false;
  const fits = (together: number, limit: number): boolean => limit === 0 || together <= limit * mergedShareMax;
  return (
    fits(ours.approximateBytes + theirs.approximateBytes, sizes.splitBytes) &&
    fits(ours.approximateKeys + theirs.approximateKeys, sizes.splitKeys) &&
    fits(view.workOf(shard.shardId) + view.workOf(neighbour.shardId), sizes.splitWork)
  );
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
