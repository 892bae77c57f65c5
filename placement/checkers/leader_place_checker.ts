import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { hasLabels, labelsText } from '../rules/placement_rules.js';
import { leaderScore } from '../choose_target.js';
import type { StoreLoad } from '../store_loads.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, repair, sound } from './check_result.js';

const kind = 'place-leader';

/** Hands the leadership to a voter that is where the policy wants the leader. */
export const leaderPlaceChecker: Checker = {
  name: 'leader-place',
  check({ view, loads }, shard): CheckResult {
    const { leaderOn } = view.rulesOf(shard);
    if (leaderOn.length === 0) return sound;
    const leaderStoreId = view.leaderOf(shard.shardId)?.leaderStoreId ?? 0;
    const leaderStore = view.state.store(leaderStoreId);
    if (leaderStore === undefined || hasLabels(leaderStore, leaderOn)) return sound;
    let best: StoreLoad | null = null;
    for (const { storeId, role, replicaId } of shard.replicas) {
      const load = loads.get(storeId);
      if (load?.acceptsLeaders !== true || role !== ReplicaRole.VOTER || !hasLabels(load.store, leaderOn)) continue;
      if (!view.isCaughtUp(shard.shardId, replicaId)) continue;
      if (best === null || leaderScore(load) < leaderScore(best)) best = load;
    }
    const reason = `the leader should be on a store with ${labelsText(leaderOn)}`;
    if (best === null) return blocked(kind, reason, { kind: 'noHeir' });
    return repair(shard, kind, reason, [{ kind: 'transferLeader', storeId: best.store.storeId }]);
  },
};
