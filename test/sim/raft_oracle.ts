import type { MultiRaft, Group } from '../../src/multiraft/host.js';
import type { GroupLog, RaftLog } from '../../src/raftlog/raft_log.js';
import { SafetyError } from './verdict.js';

/** A process that runs Raft groups. */
export interface RaftHost {
  readonly name: string;
  readonly multi: MultiRaft;
  readonly raftLog: RaftLog;
}

/** What was looked at of one replica's log already. */
interface Seen {
  /** Entries up to here were compared as committed ones. */
  committed: number;
  /** Entries up to here, as of this term of the last one, were compared with other logs. */
  matched: number;
  matchedTerm: number;
}

/**
 * Raft's own promises (Raft figure 3), over every replica of every group, whatever processes come and go:
 *
 *   election safety         one leader per term
 *   log matching            one entry per index and term has one predecessor, in all logs
 *   leader completeness     what was committed is in the log of every later leader
 *   state machine safety    what one replica committed at an index, all commit there
 */
export class RaftOracle {
  private readonly leaders = new Map<string, number>();
  /** Term of the entry committed at an index, by group. */
  private readonly committed = new Map<number, Map<number, number>>();
  /** Term of the entry before (index, term), by group. */
  private readonly predecessors = new Map<number, Map<string, number>>();
  private readonly seen = new Map<string, Seen>();
  private readonly reigns = new Set<string>();

  observe(host: RaftHost): void {
    for (const group of host.multi.groups()) {
      const log = host.raftLog.group(group.groupId);
      if (log !== undefined) this.observeGroup(host.name, group, log);
    }
  }

  private observeGroup(name: string, group: Group, log: GroupLog): void {
    const { groupId, role, term, leaderId, commit, replicaId } = group.status();
    if (leaderId !== 0) this.noteLeader(groupId, term, leaderId);
    const key = `${name}/${groupId}/${replicaId}`;
    const seen = this.seen.get(key) ?? { committed: 0, matched: 0, matchedTerm: 0 };
    this.seen.set(key, seen);
    this.checkCommitted(name, groupId, log, commit, seen);
    this.checkMatching(name, groupId, log, seen);
    const reign = `${groupId}/${term}`;
    if (role === 'leader' && !this.reigns.has(reign)) {
      this.reigns.add(reign);
      this.checkCompleteness(name, groupId, log, term);
    }
  }

  private noteLeader(groupId: number, term: number, leaderId: number): void {
    const key = `${groupId}/${term}`;
    const known = this.leaders.get(key);
    if (known === undefined) this.leaders.set(key, leaderId);
    else if (known !== leaderId) {
      throw new SafetyError(`election safety: group ${groupId} has leaders ${known} and ${leaderId} in term ${term}`);
    }
  }

  private checkCommitted(name: string, groupId: number, log: GroupLog, commit: number, seen: Seen): void {
    const committed = this.mapOf(this.committed, groupId);
    const upTo = Math.min(commit, log.lastIndex());
    for (let index = Math.max(seen.committed + 1, log.firstIndex()); index <= upTo; index++) {
      const term = log.term(index);
      if (typeof term !== 'number') continue;
      const known = committed.get(index);
      if (known === undefined) committed.set(index, term);
      else if (known !== term) {
        throw new SafetyError(
          `state machine safety: ${name} committed term ${term} at index ${index} of group ${groupId}, another replica term ${known}`,
        );
      }
    }
    seen.committed = Math.max(seen.committed, upTo);
  }

  private checkMatching(name: string, groupId: number, log: GroupLog, seen: Seen): void {
    const predecessors = this.mapOf(this.predecessors, groupId);
    const last = log.lastIndex();
    // A log that was cut back is looked at again from its beginning.
    const unchanged = seen.matched <= last && log.term(seen.matched) === seen.matchedTerm;
    for (let index = Math.max(unchanged ? seen.matched + 1 : 0, log.firstIndex()); index <= last; index++) {
      const [term, before] = [log.term(index), log.term(index - 1)];
      if (typeof term !== 'number' || typeof before !== 'number') continue;
      const key = `${index}/${term}`;
      const known = predecessors.get(key);
      if (known === undefined) predecessors.set(key, before);
      else if (known !== before) {
        throw new SafetyError(
          `log matching: before index ${index}, term ${term} of group ${groupId}, ${name} has term ${before}, another log ${known}`,
        );
      }
    }
    const lastTerm = log.term(last);
    seen.matched = last;
    seen.matchedTerm = typeof lastTerm === 'number' ? lastTerm : 0;
  }

  private checkCompleteness(name: string, groupId: number, log: GroupLog, leaderTerm: number): void {
    for (const [index, term] of this.mapOf(this.committed, groupId)) {
      // Entries of later terms are later leaders'; compacted ones were committed.
      if (term >= leaderTerm || index < log.firstIndex()) continue;
      const own = index > log.lastIndex() ? 'nothing' : log.term(index);
      if (own !== term) {
        throw new SafetyError(
          `leader completeness: ${name} leads group ${groupId} in term ${leaderTerm} with ${own} at index ${index}, where term ${term} was committed`,
        );
      }
    }
  }

  private mapOf<K, V>(maps: Map<number, Map<K, V>>, groupId: number): Map<K, V> {
    let map = maps.get(groupId);
    if (map === undefined) {
      map = new Map();
      maps.set(groupId, map);
    }
    return map;
  }
}
