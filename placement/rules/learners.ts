import type { Replica } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { ClusterView } from '../cluster_view.js';
import type { ShardRecord } from '../state/records.js';
import type { LearnerRule } from './placement_rules.js';
import { hasLabels } from './placement_rules.js';

export interface LearnersWanted {
  /** Learners that someone, or the policy, asked for. */
  readonly wanted: readonly Replica[];
  /** Learners that nobody asked for. */
  readonly stray: readonly Replica[];
  /** One entry per learner that is not there. */
  readonly missing: readonly LearnerRule[];
}

/**
 * Sorts a shard's learners: those on stores that a person named, those that each rule takes, and the rest. A learner on a store
 * that is down, draining or without the rule's labels fills no rule, so that another takes its place.
 */
export function learnersWanted(view: ClusterView, shard: ShardRecord): LearnersWanted {
  const named = view.state.target(shard.shardId)?.learnerStoreIds ?? [];
  const learners = shard.replicas.filter((r) => r.role === ReplicaRole.LEARNER);
  const wanted = learners.filter((r) => named.includes(r.storeId));
  const free = learners.filter((r) => !named.includes(r.storeId));
  const missing: LearnerRule[] = [];
  for (const rule of view.rulesOf(shard).learners) {
    for (let i = 0; i < rule.count; i++) {
      const at = free.findIndex((r) => suits(view, r, rule));
      if (at === -1) missing.push(rule);
      else wanted.push(...free.splice(at, 1));
    }
  }
  return { wanted, stray: free, missing };
}

function suits(view: ClusterView, { storeId, replicaId }: Replica, rule: LearnerRule): boolean {
  const store = view.state.store(storeId);
  if (store === undefined || store.state === 'draining' || !hasLabels(store, rule.on)) return false;
  return !view.isDown(storeId) && !view.isQuarantined(replicaId);
}
