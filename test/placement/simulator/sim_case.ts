import type { SimCluster, SimOptions } from './sim_cluster.js';

/** How large a case is: tests run small ones, the benchmark the goals' own. */
export interface Scale {
  readonly stores: number;
  readonly shards: number;
}

/** A case of the placement simulator: a cluster at rest, and what happens to it. */
export interface SimCase {
  readonly name: string;
  readonly about: string;
  /** The goals' own size. */
  readonly scale: Scale;
  prepare(scale: Scale, options: SimOptions): SimCluster;
  /** What happens. Time passes until the cluster is at rest again after it returns. */
  act(cluster: SimCluster): void;
}

export interface CaseReport {
  readonly stores: number;
  readonly shards: number;
  /** Replicas that were made on a store. */
  readonly moves: number;
  /** Replicas that stores have more in the end than in the beginning: no fewer moves lead there. */
  readonly leastMoves: number;
  /** Shards of which more replicas were made than one. */
  readonly movedTwice: number;
  readonly transfers: number;
  /** Virtual time until nothing more was planned; -1: it never came to rest. */
  readonly restAfterMs: number;
  /** The largest difference from a fair share, as a part of it, over stores that are up. */
  readonly replicaSpread: number;
  readonly leaderSpread: number;
  /** The same for bytes and for operations per second; NaN where there are none. */
  readonly byteSpread: number;
  readonly workSpread: number;
}

/** Virtual time that a case may take: five hours. */
const ticksMax = 70_000;
/** Ticks without an operator after which a cluster is at rest: longer than any rest of a shard or of a store that came and went. */
const quietTicks = 2_600;

export function runCase(simCase: SimCase, scale: Scale = simCase.scale, options: SimOptions = {}): CaseReport {
  const cluster = simCase.prepare(scale, options);
  const before = cluster.replicasPerStore();
  const startMs = cluster.nowMs;
  simCase.act(cluster);
  const quiet = cluster.runUntilQuiet(ticksMax, quietTicks);
  return reportOf(cluster, before, quiet === -1 ? -1 : Math.max(0, cluster.lastBusyMs - startMs));
}

function reportOf(cluster: SimCluster, before: ReadonlyMap<number, number>, restAfterMs: number): CaseReport {
  const after = cluster.replicasPerStore();
  const arrivals = [...cluster.arrivals.values()];
  let leastMoves = 0;
  for (const [storeId, count] of after) leastMoves += Math.max(0, count - (before.get(storeId) ?? 0));
  const up = [...cluster.stores.values()].filter((s) => s.alive && cluster.state.store(s.storeId)?.state === 'up');
  const spread = (valueOf: (storeId: number) => number): number =>
    spreadOf(
      up.map((s) => valueOf(s.storeId)),
      up.map((s) => s.capacityBytes),
    );
  return {
    stores: cluster.stores.size,
    shards: cluster.shards.size,
    moves: arrivals.reduce((sum, n) => sum + n, 0),
    leastMoves,
    movedTwice: arrivals.filter((n) => n > 1).length,
    transfers: cluster.transfers,
    restAfterMs,
    replicaSpread: spread((id) => after.get(id) ?? 0),
    leaderSpread: spread((id) => cluster.view.leaders.countOn(id)),
    byteSpread: spread((id) => cluster.view.useOf(id).bytes),
    workSpread: spread((id) => cluster.view.useOf(id).work),
  };
}

/** The largest difference of a value from its fair share by weight, as a part of that share. */
function spreadOf(values: readonly number[], weights: readonly number[]): number {
  const total = values.reduce((sum, v) => sum + v, 0);
  const weight = weights.reduce((sum, w) => sum + w, 0);
  let largest = 0;
  values.forEach((value, i) => {
    const fair = (total * (weights[i] ?? 0)) / weight;
    largest = Math.max(largest, Math.abs(value - fair) / fair);
  });
  return total === 0 ? NaN : largest;
}
