import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { chooseTarget, holders } from '../choose_target.js';
import { distinctZones, isApart } from '../isolation.js';
import { moveSteps } from '../operators/plans.js';
import type { CheckResult, Checker } from './check_result.js';
import { blocked, repair, sound } from './check_result.js';

/** Moves a replica that shares its host with another, or its zone while another zone could take it. */
export const checkLabels: Checker = (view, shard, loads): CheckResult => {
  for (const replica of shard.replicas) {
    const store = view.state.store(replica.storeId);
    if (replica.role !== ReplicaRole.VOTER || store === undefined) continue;
    const others = holders(view, shard, replica.storeId);
    const apart = isApart(store, others);
    const target = chooseTarget(view, shard, replica.storeId, loads);
    if (target === null) {
      if (!apart)
        return blocked(`store ${store.storeId} shares its host with another replica; no other host may take it`);
      continue;
    }
    const gainsZone = distinctZones([...others, target]) > distinctZones([...others, store]);
    if (apart && !gainsZone) continue;
    const reason = apart
      ? `store ${target.storeId} is in a zone of its own`
      : `store ${store.storeId} shares its host with another replica`;
    const steps = moveSteps(view, shard, store.storeId, target.storeId, loads);
    return repair(shard, 'move-misplaced-replica', reason, steps);
  }
  return sound;
};
