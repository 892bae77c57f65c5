import type { GroupProgress, GroupStatus } from './host.js';
import type { Peer } from './peer.js';

/** A group's state for people and for placement. Walks the members: not for every turn. */
export function statusOf(peer: Peer): GroupStatus {
  const status = peer.core.status();
  const progress: GroupProgress[] = [];
  for (const member of status.progress.values()) {
    progress.push({
      replicaId: member.id,
      match: member.match,
      state: member.state,
      recentActive: member.recentActive,
      learner: member.learner,
    });
  }
  return {
    groupId: peer.groupId,
    replicaId: peer.replicaId,
    role: status.role,
    term: status.term,
    leaderId: status.leaderId,
    hibernates: peer.hibernation.asleep,
    commit: status.commit,
    applied: peer.appliedIndex,
    firstIndex: status.firstIndex,
    lastIndex: status.lastIndex,
    confState: peer.confState,
    progress,
  };
}
