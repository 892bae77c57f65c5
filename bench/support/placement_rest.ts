import type { LocalCluster } from '../../src/cli/playground/local_cluster.js';
import { pause } from './bench_cluster.js';
import { placementRestMs, rebalanceMsMax } from './limits.js';
import { scrape } from './prometheus_text.js';

/**
 * Waits until no operator has run for a while: longer than a shard rests after a transfer and a scheduler between two looks.
 * Resolves to when the last one was seen to run, as performance.now() tells the time. @throws Error when there is no end to it
 */
export async function untilPlacementRests(cluster: LocalCluster): Promise<number> {
  const startMs = performance.now();
  let busyMs = startMs;
  for (;;) {
    const nowMs = performance.now();
    // Only the leader has any.
    const pages = await Promise.all(cluster.placements.map((member) => scrape(member.ready.metrics ?? '')));
    const running = pages.reduce((sum, page) => sum + (page.get('skerry_placement_operators_running') ?? 0), 0);
    if (running > 0) busyMs = nowMs;
    if (nowMs - busyMs > placementRestMs) return busyMs;
    if (nowMs - startMs > rebalanceMsMax) throw new Error(`placement still moves things after ${rebalanceMsMax} ms`);
    await pause(100);
  }
}
