import type { ClusterView } from './cluster_view.js';
import type { MemberRecord } from './state/member_table.js';

type View = Pick<ClusterView, 'state' | 'report' | 'isConnected' | 'isDown'>;

/**
 * The stores that know none of these placement members, as far as this leader has heard. A store that is cut off meanwhile, and knows
 * only members that were removed, could find placement by its configuration alone.
 *
 * - A store says in its heartbeats which list of the members it has. What it said last counts until it says something else, also while it is
 *   silent: one that is cut off knows what it knew, and one whose process has ended starts from its configuration, whatever it knew.
 * - A store that this leader has not heard yet knows nothing.
 * - A store of a version that does not say so knows the members while it is connected: every session begins with them, and hears of changes.
 * - Tombstones, and stores that are silent for `store_down_ms`, are waited for no longer: their replicas are rebuilt elsewhere.
 *
 * Clients are not asked. Pure.
 */
export function untoldStores(view: View, members: readonly MemberRecord[]): number[] {
  const { state } = view;
  const listedFrom = Math.min(...members.map((member) => member.listedFrom ?? state.metaRecord.membersVersion));
  const isTold = (storeId: number): boolean => {
    const report = view.report(storeId);
    if (report === undefined) return false;
    const { membersVersion } = report;
    return membersVersion === undefined ? view.isConnected(storeId) : membersVersion >= listedFrom;
  };
  const waitedFor = [...state.stores()].filter(({ storeId }) => !view.isDown(storeId));
  return waitedFor.flatMap(({ storeId }) => (isTold(storeId) ? [] : [storeId]));
}
