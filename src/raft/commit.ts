import type { Core, Leadership } from './core.js';
import { broadcastAppend } from './replication.js';

/* A leader's commit index (Raft §5.3, §5.4.2). */

/** Commits what a quorum has on disk, if its last entry is of the own term. True if the commit index moved. */
export function maybeCommit(core: Core, leadership: Leadership): boolean {
  const before = core.log.commit;
  if (!core.log.maybeCommit(leadership.peers.quorumMatch(), core.term)) return false;
  leadership.ownTermCommitted = true;
  noticeCommit(core, leadership, before);
  return true;
}

/** Tells followers, or leaves it to the next append or heartbeat: see SendPolicy.commitNotice. */
function noticeCommit(core: Core, leadership: Leadership, before: number): void {
  const { pendingConfIndex } = leadership;
  const hasConfChange = pendingConfIndex > before && pendingConfIndex <= core.log.commit;
  if (core.config.sendPolicy.commitNotice === 'eager' || hasConfChange) broadcastAppend(core, leadership);
}
