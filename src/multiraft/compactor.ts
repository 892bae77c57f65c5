import type { LogRecord } from '../raftlog/raft_log.js';
import type { Beats } from './beats.js';
import { isRunning, type HostContext } from './context.js';
import { compactionSliceGroupsMax } from './limits.js';
import type { Peer } from './peer.js';
import type { TickWork } from './ticker.js';

interface Candidate {
  readonly peer: Peer;
  readonly index: number;
}

/** How much the log of all groups holds. */
interface Pressure {
  /** So much that nobody's need is a reason to keep entries. */
  readonly full: boolean;
  /** It will refuse entries before long: nothing that is applied is kept. */
  readonly urgent: boolean;
}

/**
 * Lets the log forget entries that the engine has on disk.
 *
 *     note applied positions ─▶ ONE engine.sync() for all groups ─▶ compact records in one log write
 *
 * INV: a compact index is at most the position that was applied before the barrier was asked for.
 * What followers may still need is kept within bounds: a tail for those a little behind, what an active follower lacks, and what
 * follows a snapshot on its way.
 */
export class Compactor implements TickWork {
  private readonly host: HostContext;
  private readonly beats: Beats;
  private readonly peers: ReadonlyMap<number, Peer>;
  private readonly checkTicks: number;
  private running: Promise<void> | null = null;

  constructor(host: HostContext, beats: Beats, peers: ReadonlyMap<number, Peer>) {
    this.host = host;
    this.beats = beats;
    this.peers = peers;
    this.checkTicks = Math.max(1, Math.round(host.options.compaction.checkMs / host.options.tickMs));
  }

  tick(): void {
    if (this.running !== null || this.host.tick % this.checkTicks !== 0) return;
    this.running = this.run()
      .catch((error: unknown) => this.host.fail(error))
      .finally(() => (this.running = null));
  }

  /** Resolves once a running round has ended. */
  async close(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    const candidates = await this.candidates();
    if (candidates.length === 0 || !isRunning(this.host)) return;
    await this.host.engine.sync();
    if (!isRunning(this.host)) return;
    const records: LogRecord[] = [];
    for (const { peer, index } of candidates) {
      // A snapshot or the group's removal may have come in between.
      if (peer.stopped || peer.hasSnapshot || index < peer.log.firstIndex()) continue;
      const term = peer.log.term(index);
      if (typeof term !== 'number') continue;
      records.push({ kind: 'compact', groupId: peer.groupId, index, term });
    }
    if (records.length === 0) return;
    this.host.counters.compactions += records.length;
    await this.host.log.write(records);
  }

  /** Groups worth compacting with how far, a slice of groups per turn of the event loop. */
  private async candidates(): Promise<Candidate[]> {
    const found: Candidate[] = [];
    const nowMs = this.host.runtime.nowMs();
    const log = this.host.log.stats();
    const pressure: Pressure = {
      full: log.underPressure || log.liveBytes >= this.host.options.compaction.logBytesMax,
      urgent: log.underPressure,
    };
    let seen = 0;
    for (const peer of [...this.peers.values()]) {
      if (++seen % compactionSliceGroupsMax === 0) {
        await new Promise<void>((resolve) => this.host.runtime.nextTurn(resolve));
        if (!isRunning(this.host)) return [];
      }
      if (peer.stopped || peer.hasSnapshot) continue;
      const index = this.compactIndex(peer, nowMs, pressure);
      if (index >= peer.log.firstIndex()) found.push({ peer, index });
    }
    return found;
  }

  /** How far the group's log may go; below its first index: not worth it now. */
  private compactIndex(peer: Peer, nowMs: number, pressure: Pressure): number {
    const options = this.host.options.compaction;
    // What others have committed may be applied before a log that is full has it.
    const applied = Math.min(peer.appliedIndex, peer.log.lastIndex());
    if (pressure.urgent) return applied;
    const first = peer.log.firstIndex();
    const idleForMs = peer.activity.idleForMs(applied, nowMs);
    const kept = applied - first + 1;
    if (kept <= options.idleTailEntries) return 0;
    const bytes = peer.log.bytes();
    const isBig = kept >= options.tailEntries + options.entriesMin || bytes >= options.bytesMin;
    if (!isBig && !pressure.full && idleForMs < options.idleMs) return 0;
    const bytesPerEntry = Math.max(1, bytes / (peer.log.lastIndex() - first + 1));
    const tailOfBytes = Math.floor(options.bytesMin / 2 / bytesPerEntry);
    const tail = isBig ? Math.min(options.tailEntries, tailOfBytes) : options.idleTailEntries;
    const index = applied - tail;
    // Past these sizes nobody's need counts: a follower that far behind gets a snapshot.
    if (pressure.full || bytes >= options.groupBytesMax) return index;
    return Math.min(index, this.neededByFollowers(peer, nowMs));
  }

  /** The highest index that no follower is known to need. */
  private neededByFollowers(peer: Peer, nowMs: number): number {
    if (!peer.isLeader()) return peer.pins.lowest(nowMs, () => true);
    const { followerEntriesMax, followerGraceMs } = this.host.options.compaction;
    const { progress } = peer.core.status();
    let needed = peer.pins.lowest(nowMs, (replicaId, index) => (progress.get(replicaId)?.match ?? Infinity) >= index);
    for (const member of progress.values()) {
      if (member.id === peer.replicaId || member.match === 0) continue;
      if (peer.appliedIndex - member.match > followerEntriesMax) continue;
      if (!this.beats.wasUpWithin(peer.hostOf(member.id), followerGraceMs)) continue;
      needed = Math.min(needed, member.match);
    }
    return needed;
  }
}
