import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { findTarget, voterHolders } from '../choose_target.js';
import type { Rejection } from '../hindrance.js';
import { moveSteps } from '../operators/plans.js';
import type { Fit } from '../rules/fit.js';
import { fitOf, improvement } from '../rules/fit.js';
import type { PlacementRules } from '../rules/placement_rules.js';
import { labelsText } from '../rules/placement_rules.js';
import type { CheckContext } from './check_context.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, repair, sound } from './check_result.js';

const kind = 'move-misplaced-replica';

/** Moves a voter that is not where the rules want it: on a host of its own, by labels, where a leader should be, in its own zone. */
export const labelChecker: Checker = {
  name: 'labels',
  check(context, shard): CheckResult {
    const { view } = context;
    const rules = view.rulesOf(shard);
    const voters = voterHolders(view, shard, 0);
    const fit = fitOf(rules, voters);
    if (isAsGoodAsCanBe(context, rules, fit, voters.length)) return sound;
    const rejected: Rejection[] = [];
    for (const replica of shard.replicas) {
      if (replica.role !== ReplicaRole.VOTER || view.state.store(replica.storeId) === undefined) continue;
      const found = findTarget(view, shard, replica.storeId, context.loads);
      if (found.store === null) {
        for (const r of found.rejected) if (!rejected.some((known) => known.storeId === r.storeId)) rejected.push(r);
        continue;
      }
      const better = improvement(fit, fitOf(rules, [...voterHolders(view, shard, replica.storeId), found.store]));
      if (better === null) continue;
      const steps = moveSteps(view, shard, replica.storeId, found.store.storeId, context.loads);
      return repair(shard, kind, reasonOf(better, rules, replica.storeId, found.store.storeId), steps);
    }
    return unmet(rules, fit, voters.length, rejected);
  },
};

/** Spares the search: it looks at every store for every voter. */
function isAsGoodAsCanBe(context: CheckContext, rules: PlacementRules, fit: Fit, voters: number): boolean {
  if (fit.sharedHosts > 0 || fit.strays > 0 || !fit.hasLeaderPlace) return false;
  const wanted = rules.spreadOver === 0 ? context.spreadValues(rules) : rules.spreadOver;
  return fit.spread >= Math.min(voters, wanted);
}

function reasonOf(better: keyof Fit, rules: PlacementRules, fromStoreId: number, toStoreId: number): string {
  switch (better) {
    case 'sharedHosts':
      return `store ${fromStoreId} shares its host with another replica`;
    case 'strays':
      return `store ${fromStoreId} is not ${labelsText(rules.votersOn)}`;
    case 'hasLeaderPlace':
      return `no voter is where the leader should be: ${labelsText(rules.leaderOn)}`;
    case 'spread':
      return `store ${toStoreId} is in a ${rules.spread} of its own`;
  }
}

/** A rule that is broken and that no move mends. Zones are a wish, unless the policy names their number. */
function unmet(rules: PlacementRules, fit: Fit, voters: number, rejected: readonly Rejection[]): CheckResult {
  if (fit.sharedHosts > 0) {
    return blocked(kind, 'two of its replicas share a host', { kind: 'noCandidate', rejected });
  }
  if (fit.strays > 0) {
    const reason = `${fit.strays} of its voters are not on stores with ${labelsText(rules.votersOn)}`;
    return blocked(kind, reason, { kind: 'noCandidate', rejected });
  }
  if (!fit.hasLeaderPlace) {
    const reason = `no voter is where the leader should be: ${labelsText(rules.leaderOn)}`;
    return blocked(kind, reason, { kind: 'noCandidate', rejected });
  }
  const wanted = Math.min(rules.spreadOver, voters);
  if (fit.spread >= wanted) return sound;
  const reason = `its voters are in ${fit.spread} of ${wanted} values of ${rules.spread}`;
  return blocked(kind, reason, { kind: 'label', label: 'the policy', wanted: `${wanted} values of ${rules.spread}` });
}
