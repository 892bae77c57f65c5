import { randomInt } from '../base/runtime.js';
import type { HostContext } from './context.js';
import { heirOf } from './heir.js';
import { handoversPerTickMax } from './limits.js';
import type { LogWriter } from './log_writer.js';
import type { Peer } from './peer.js';
import type { SuspectHosts } from './suspect_hosts.js';
import type { TickWork } from './ticker.js';

/** An election timeout that does not come: decades of ticks, in a small integer. */
const neverTicks = 2 ** 30 - 1;

/**
 * A disk that does not sync, or a log without room for what waits, costs its host the leaderships (DESIGN section 4):
 *
 *     age of the oldest unsynced write ≥ diskStallMs ─▶ stalled: every leadership is handed to the best voter, again
 *         and again until it is gone, and nothing here campaigns
 *     below it for an election timeout ─▶ over
 *
 * A leadership that cannot be handed over (its heir does not catch up, say, because what it lacks is on this disk) is taken: hosts
 * that read in the beats how long this one has not synced stop listening to its leaders (suspect_hosts.ts), and a
 * leader that no quorum answers steps down (thesis §6.2).
 */
export class DiskStall implements TickWork {
  private readonly host: HostContext;
  private readonly writer: LogWriter;
  private readonly peers: ReadonlyMap<number, Peer>;
  private readonly suspects: SuspectHosts;
  /** Since when the write that is the oldest now waits, and the tick in which that was seen first. */
  private pendingSinceMs: number | null = null;
  private seenTick = 0;
  private lastStalledTick = 0;
  /** When a group's leadership was last offered to a voter, in ticks. */
  private readonly offeredTick = new Map<number, number>();

  constructor(host: HostContext, writer: LogWriter, peers: ReadonlyMap<number, Peer>, suspects: SuspectHosts) {
    this.host = host;
    this.writer = writer;
    this.peers = peers;
    this.suspects = suspects;
  }

  tick(): void {
    const { host } = this;
    const { diskStallMs, electionTicks } = host.options;
    host.syncAgeMs = this.ageMs();
    if (host.syncAgeMs >= diskStallMs) {
      this.lastStalledTick = host.tick;
      if (!host.diskStalled) this.begin();
    } else if (host.diskStalled && host.tick - this.lastStalledTick >= electionTicks) {
      this.end();
    }
    if (!host.diskStalled) return;
    // No candidacies of their own for now.
    for (const peer of this.peers.values()) if (!peer.isLeader()) peer.core.overrideElectionTimeout(neverTicks);
    this.handOver();
  }

  /** A write ages by a tick per tick at most: what an event loop slept through is no fault of the disk. */
  private ageMs(): number {
    const { runtime, tick, options } = this.host;
    const { pendingSinceMs } = this.writer;
    if (pendingSinceMs === null) {
      this.pendingSinceMs = null;
      return 0;
    }
    if (pendingSinceMs !== this.pendingSinceMs) {
      this.pendingSinceMs = pendingSinceMs;
      this.seenTick = tick;
    }
    return Math.min(runtime.nowMs() - pendingSinceMs, (tick - this.seenTick + 1) * options.tickMs);
  }

  private begin(): void {
    const { host } = this;
    host.diskStalled = true;
    host.counters.diskStalls++;
    host.logger.warn({ syncAgeMs: host.syncAgeMs }, 'the disk does not sync; leaderships are handed over');
  }

  private end(): void {
    const { host } = this;
    const { electionTicks } = host.options;
    host.diskStalled = false;
    this.offeredTick.clear();
    host.logger.info({ syncAgeMs: host.syncAgeMs }, 'the disk syncs again');
    for (const peer of this.peers.values()) {
      if (peer.isLeader()) continue;
      peer.core.overrideElectionTimeout(electionTicks + randomInt(host.runtime, 0, electionTicks - 1));
    }
  }

  private handOver(): void {
    const { tick, options, counters } = this.host;
    let offered = 0;
    for (const peer of this.peers.values()) {
      if (!peer.isLeader()) continue;
      const before = this.offeredTick.get(peer.groupId);
      // The core gives a transfer up after an election timeout.
      if (before !== undefined && tick - before < options.electionTicks) continue;
      if (offered++ >= handoversPerTickMax) return;
      const heir = heirOf(peer.status(), (replicaId) => this.suspects.isBehind(peer.hostOf(replicaId)));
      if (heir === null) continue;
      this.offeredTick.set(peer.groupId, tick);
      counters.handovers++;
      peer.transferLeader(heir);
    }
  }
}
