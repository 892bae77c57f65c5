import { assert, must } from '../base/assert.js';
import type { HardState } from '../raft/message.js';
import type { GroupLog, RaftLog } from '../raftlog/raft_log.js';
import type { GroupSpec } from './host.js';

/**
 * The log of a shard lacks entries that its engine state needs: acknowledged data of this replica is
 * lost. The replica must be removed and made anew from its peers.
 */
export class ReplicaDataLostError extends Error {
  override readonly name = 'ReplicaDataLostError';
  readonly groupId: number;

  constructor(groupId: number, detail: string) {
    super(
      `shard ${String(groupId)} lost data on this store: ${detail}. Remove this replica and let placement make a new one, or restore the data directory`,
    );
    this.groupId = groupId;
  }
}

export interface PreparedLog {
  readonly log: GroupLog;
  /** Resolves when what was written for it is synced. Later writes wait for it by themselves (RaftLog.write). */
  readonly synced: Promise<void>;
}

const zero: HardState = Object.freeze({ term: 0, vote: 0, commit: 0 });

/**
 * Brings a group's log and its applied position together before its peer is made:
 *
 *     log marks it as damaged       ReplicaDataLostError
 *     log does not know the group   bootstrap or a new, empty replica: the log begins at the applied position
 *     applied beyond the log's end,
 *     or of another term there      a snapshot was installed and the crash came before the log's reset: reset now.
 *                                   Entries that go were below the snapshot, or in conflict with it and never committed.
 *     applied below the log's begin entries in between are lost: ReplicaDataLostError
 *     else                          nothing to do
 *
 * A reset keeps term and vote: they are promises to other replicas (Raft §5.2).
 */
export function prepareLog(raftLog: RaftLog, spec: GroupSpec): PreparedLog {
  const { groupId, bootstrap } = spec;
  const applied = spec.applied.index > 0 || bootstrap === undefined ? spec.applied : bootstrap;
  assert(applied.index >= (bootstrap?.index ?? 0), 'a group begins at its bootstrap position');
  // A reset would clear the mark, and with it the memory that votes and acknowledged entries were lost (Raft §5.2, §5.4).
  if (raftLog.damaged.has(groupId)) throw new ReplicaDataLostError(groupId, 'its part of the Raft log is damaged');
  const log = raftLog.group(groupId);
  if (log === undefined) {
    if (bootstrap === undefined ? applied.index > 0 : applied.index > bootstrap.index) {
      throw new ReplicaDataLostError(groupId, 'the Raft log does not know it');
    }
    return reset(raftLog, groupId, applied, zero);
  }
  if (applied.index < log.firstIndex() - 1) {
    const from = String(applied.index + 1);
    const to = String(log.firstIndex() - 1);
    throw new ReplicaDataLostError(groupId, `entries ${from} to ${to} are neither in its state nor in the Raft log`);
  }
  if (applied.index > log.lastIndex() || log.term(applied.index) !== applied.term) {
    return reset(raftLog, groupId, applied, log.hardState ?? zero);
  }
  return { log, synced: Promise.resolve() };
}

function reset(
  raftLog: RaftLog,
  groupId: number,
  applied: { readonly index: number; readonly term: number },
  before: HardState,
): PreparedLog {
  const hardState: HardState = {
    term: Math.max(before.term, applied.term),
    vote: before.term >= applied.term ? before.vote : 0,
    // The log ends here now: what was known as committed beyond it is learned again from the leader.
    commit: applied.index,
  };
  const { index, term } = applied;
  const synced = raftLog.write([{ kind: 'reset', groupId, index, term, hardState }]);
  return { log: must(raftLog.group(groupId), 'the group that was just made'), synced };
}
