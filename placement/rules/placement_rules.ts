import type { Label } from '../../src/gen/skerry/v1/meta.js';

/** A label that a store must have, with one of these values. */
export interface LabelRule {
  readonly key: string;
  readonly values: readonly string[];
}

/** What a keyspace, or one shard, wants of its replicas. */
export interface PlacementRules {
  /** Voters of each shard. */
  readonly voters: number;
  /** Labels that a store must have, all of them, to hold a voter. */
  readonly votersOn: readonly LabelRule[];
  /** Voters are kept apart by the values of this label, as far as there are values. Hosts are always kept apart. */
  readonly spread: string;
  /** Values of it that there must be, and that are enough; 0: as many as can be had. */
  readonly spreadOver: number;
  /** Labels of the store that should lead; empty: any voter's. */
  readonly leaderOn: readonly LabelRule[];
  readonly learners: readonly LearnerRule[];
}

export interface LearnerRule {
  readonly count: number;
  /** Labels that a store must have, all of them. */
  readonly on: readonly LabelRule[];
}

export const spreadDefault = 'zone';

/** Rules that ask for a number of voters and nothing else. */
export function plainRules(voters: number): PlacementRules {
  return { voters, votersOn: [], spread: spreadDefault, spreadOver: 0, leaderOn: [], learners: [] };
}

/** The store has all of the labels. */
export function hasLabels(store: { readonly labels: readonly Label[] }, wanted: readonly LabelRule[]): boolean {
  return wanted.every((w) => store.labels.some((l) => l.key === w.key && w.values.includes(l.value)));
}

/** `zone=a|b,disk=ssd`. */
export function labelsText(labels: readonly LabelRule[]): string {
  return labels.map((l) => `${l.key}=${l.values.join('|')}`).join(',');
}

/** How many values of the label that voters are kept apart by count. */
export function spreadCounted({ spreadOver }: PlacementRules, values: number): number {
  return spreadOver === 0 ? values : Math.min(values, spreadOver);
}
