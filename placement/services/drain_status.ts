import { failedPrecondition, storeNotFound } from '../../src/base/wire_errors.js';
import type { GetDrainResponse } from '../../src/gen/skerry/v1/admin.js';
import { WireFault } from '../wire_fault.js';
import { storeToWire } from './convert.js';
import type { LeaderContext } from './unary.js';

/** How far the drain of a store is, or its maintenance. */
export function drainStatus({ member, work }: LeaderContext, storeId: number): Omit<GetDrainResponse, 'error'> {
  const store = member.state.store(storeId);
  if (store === undefined) throw new WireFault(storeNotFound(storeId));
  const progress = work.drains.progress(storeId);
  if (progress === null) {
    const message = `store ${storeId} is ${store.state}: it is neither being drained nor in maintenance`;
    throw new WireFault(failedPrecondition('NOT_DRAINING', message));
  }
  const { left, perSecond, remainingMs } = progress;
  return {
    store: storeToWire(store, member.state, work.view),
    ...left,
    measured: perSecond !== null,
    leadersPerS: perSecond?.leaders ?? 0,
    replicasPerS: perSecond?.replicas ?? 0,
    bytesPerS: perSecond?.bytes ?? 0,
    remainingMs: remainingMs ?? undefined,
  };
}
