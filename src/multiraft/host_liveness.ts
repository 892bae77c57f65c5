import type { HostContext } from './context.js';
import type { TickWork } from './ticker.js';

/**
 * Which hosts are alive: connected, and heard of in beats within the shortest election timeout. Followers that hibernate
 * trust it in place of the heartbeats of their leaders, and leaders in place of the answers of their followers.
 *
 *     connected, beat ─▶ alive ── no beat for an election timeout, connection lost, or another incarnation ─▶ lost
 *           ▲                                                                                                  │
 *           └───────────────────────── connected again, a beat ────────────────────────────────────────────────┘
 *
 * Time is counted in ticks: after a stall of this host's event loop it must first see the beats that waited.
 */
export class HostLiveness implements TickWork {
  private readonly host: HostContext;
  private readonly lost: (hostId: number) => void;
  private readonly back: (hostId: number) => void;
  /** Connected hosts, and when they were heard last. */
  private readonly heardTick = new Map<number, number>();
  /** Connected hosts that are silent. */
  private readonly silent = new Set<number>();
  private readonly incarnations = new Map<number, number>();

  /** `lost` is called once for each loss, `back` for each end of one: also for the first time that a host is seen. */
  constructor(host: HostContext, lost: (hostId: number) => void, back: (hostId: number) => void) {
    this.host = host;
    this.lost = lost;
    this.back = back;
  }

  peerUp(hostId: number, incarnation: number): void {
    const replaced = this.heardTick.has(hostId) && this.incarnations.get(hostId) !== incarnation;
    this.incarnations.set(hostId, incarnation);
    this.heardTick.set(hostId, this.host.tick);
    this.silent.delete(hostId);
    // Another process: whatever its replicas were before, they lead nothing now.
    if (replaced) this.lost(hostId);
    this.back(hostId);
  }

  peerDown(hostId: number): void {
    this.silent.delete(hostId);
    if (this.heardTick.delete(hostId)) this.lost(hostId);
  }

  /** A beat came. */
  heard(hostId: number): void {
    if (!this.heardTick.has(hostId)) return;
    this.heardTick.set(hostId, this.host.tick);
    if (!this.silent.delete(hostId)) return;
    this.host.logger.info({ hostId }, 'a host is heard of again');
    this.back(hostId);
  }

  isAlive(hostId: number): boolean {
    return this.heardTick.has(hostId) && !this.silent.has(hostId);
  }

  tick(): void {
    const { tick, options } = this.host;
    for (const [hostId, heardTick] of this.heardTick) {
      if (tick - heardTick < options.electionTicks || this.silent.has(hostId)) continue;
      this.silent.add(hostId);
      this.host.logger.warn({ hostId }, 'a connected host sends no beats');
      this.lost(hostId);
    }
  }
}
