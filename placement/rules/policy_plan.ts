import type { CheckContext } from '../checkers/check_context.js';
import { checkShard } from '../checkers/check_shard.js';
import { describeHindrance } from '../hindrance.js';
import { effectOf } from '../operators/operator.js';
import { addInFlight } from '../store_loads.js';
import type { PlacementRules } from './placement_rules.js';

/**
 * What a policy would set in motion: the checkers look at each shard of the keyspace as if it were in force. Each shard's first
 * change is named; what follows it (a second voter, after the first) shows when that is done. Nothing is changed.
 */
export function planPolicy(context: CheckContext, keyspaceId: number, rules: PlacementRules): string[] {
  const { view, loads } = context;
  const kinds = new Map<string, number>();
  const blocked = new Map<string, number>();
  const arrivals = new Map<number, number>();
  view.withRules(keyspaceId, rules, () => {
    for (const shard of view.state.shardsIn(keyspaceId, open, open)) {
      const result = checkShard(context, shard);
      if (result.kind === 'blocked') {
        count(blocked, `${result.wants.reason}; ${describeHindrance(result.hindrance, view.nowMs)}`);
      } else if (result.kind === 'plan') {
        count(kinds, result.plan.kind);
        const effect = effectOf(result.plan.steps);
        for (const storeId of effect.adds) count(arrivals, storeId);
        // The next shard's choice knows of this one.
        addInFlight(loads, view, shard.shardId, effect);
      }
    }
  });
  return [
    ...[...kinds].map(([kind, n]) => `${n} shards: ${kind}`),
    ...[...arrivals].map(([storeId, n]) => `store ${storeId} gets ${n} replicas`),
    ...[...blocked].map(([reason, n]) => `${n} shards cannot: ${reason}`),
  ];
}

const open = Buffer.alloc(0);

function count<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
