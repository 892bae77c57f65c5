import type { GroupStatus } from './host.js';

/** The voter that is closest to taking a leadership over, among those that were heard lately; null: none. */
export function heirOf(status: GroupStatus, isUnfit: (replicaId: number) => boolean = () => false): number | null {
  let best: { readonly replicaId: number; readonly match: number } | null = null;
  for (const member of status.progress) {
    const { replicaId, match, learner, recentActive } = member;
    if (learner || !recentActive || replicaId === status.replicaId || isUnfit(replicaId)) continue;
    if (best === null || match > best.match) best = member;
  }
  return best?.replicaId ?? null;
}
