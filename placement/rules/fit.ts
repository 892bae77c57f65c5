import { distinctHosts, distinctValues } from '../isolation.js';
import type { StoreRecord } from '../state/records.js';
import type { PlacementRules } from './placement_rules.js';
import { hasLabels, spreadCounted } from './placement_rules.js';

/** How well a set of stores suits the rules for the voters of one shard. */
export interface Fit {
  /** Voters that share their host with another one. */
  readonly sharedHosts: number;
  /** Voters on stores without the labels asked for. */
  readonly strays: number;
  /** A voter is where the leader should be. */
  readonly hasLeaderPlace: boolean;
  /** Values of the label that voters are kept apart by, as far as they count. */
  readonly spread: number;
}

export function fitOf(rules: PlacementRules, stores: readonly StoreRecord[]): Fit {
  return {
    sharedHosts: stores.length - distinctHosts(stores),
    strays: rules.votersOn.length === 0 ? 0 : stores.filter((s) => !hasLabels(s, rules.votersOn)).length,
    hasLeaderPlace: rules.leaderOn.length === 0 || stores.some((s) => hasLabels(s, rules.leaderOn)),
    spread: spreadCounted(rules, distinctValues(stores, rules.spread)),
  };
}

/** What a change from one fit to another makes better, the most important first; null: nothing, or it makes something worse. */
export function improvement(before: Fit, after: Fit): keyof Fit | null {
  if (after.sharedHosts !== before.sharedHosts) return after.sharedHosts < before.sharedHosts ? 'sharedHosts' : null;
  if (after.strays !== before.strays) return after.strays < before.strays ? 'strays' : null;
  if (after.hasLeaderPlace !== before.hasLeaderPlace) return after.hasLeaderPlace ? 'hasLeaderPlace' : null;
  return after.spread > before.spread ? 'spread' : null;
}

/** What a change makes worse; null: nothing. */
export function setback(before: Fit, after: Fit): keyof Fit | null {
  if (after.sharedHosts > before.sharedHosts) return 'sharedHosts';
  if (after.strays > before.strays) return 'strays';
  if (before.hasLeaderPlace && !after.hasLeaderPlace) return 'hasLeaderPlace';
  return after.spread < before.spread ? 'spread' : null;
}
