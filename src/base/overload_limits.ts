/**
 * The limits named by ServerIsBusy that mean "too much is asked of this store", as opposed to a state that passes by itself
 * (a merge, a transfer of leadership, a stop). Clients bound what they ask again after these; see client/overload_budget.ts.
 */
export const overloadLimits = [
  'stream_in_flight',
  'shard_in_flight',
  'store_in_flight',
  'write_delay',
  'engine_write_backlog',
  'shard_proposals',
] as const;

export type OverloadLimit = (typeof overloadLimits)[number];

const names: ReadonlySet<string> = new Set(overloadLimits);

export function isOverloadLimit(limit: string): boolean {
  return names.has(limit);
}
