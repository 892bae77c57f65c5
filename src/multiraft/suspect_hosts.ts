import type { HostContext } from './context.js';

/**
 * Hosts that say in their beats that their disk does not sync. One that had an election timeout to hand its
 * leaderships over and still does not sync is suspect: what its leaders say is not listened to, so that others are
 * elected. That has an end: where nobody else can lead, a slow leader is better than none.
 */
export class SuspectHosts {
  private readonly host: HostContext;
  /** What hosts whose disk is behind said last. */
  private readonly syncAgesMs = new Map<number, number>();
  /** Since when hosts have been suspect, in ticks. */
  private readonly sinceTick = new Map<number, number>();

  constructor(host: HostContext) {
    this.host = host;
  }

  /** A beat came. True when its host becomes suspect with it. */
  heard(hostId: number, syncAgeMs: number): boolean {
    const { diskStallMs, electionTicks, tickMs } = this.host.options;
    if (syncAgeMs < diskStallMs) {
      this.forget(hostId);
      return false;
    }
    this.syncAgesMs.set(hostId, syncAgeMs);
    if (syncAgeMs < diskStallMs + electionTicks * tickMs || this.sinceTick.has(hostId)) return false;
    this.sinceTick.set(hostId, this.host.tick);
    this.host.logger.warn({ hostId, syncAgeMs }, 'the disk of a host does not sync; its leaders are not listened to');
    return true;
  }

  forget(hostId: number): void {
    this.syncAgesMs.delete(hostId);
    this.sinceTick.delete(hostId);
  }

  /** Its disk does not sync: no host to hand a leadership to. */
  isBehind(hostId: number): boolean {
    return this.syncAgesMs.has(hostId);
  }

  /** Its leaders are not to be listened to. Not by a host that could not elect another one either. */
  isSuspect(hostId: number): boolean {
    if (this.sinceTick.size === 0 || this.host.diskStalled) return false;
    const sinceTick = this.sinceTick.get(hostId);
    return sinceTick !== undefined && this.host.tick - sinceTick < suspicionElections * this.host.options.electionTicks;
  }
}

/** Election timeouts for which a host's leaders are not listened to: enough for a few split votes. */
const suspicionElections = 6;
