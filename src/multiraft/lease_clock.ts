import type { Runtime } from '../base/runtime.js';
import type { LeaseClock } from '../raft/config.js';
import type { MultiRaftOptions } from './options.js';

/**
 * How far the rates of two hosts' clocks may differ, in percent of the promise that a lease rests on. Crystals differ by 0.01
 * percent; a clock that is being slewed into place, by 0.05.
 */
export const leaseMarginPercent = 10;

/**
 * The clock of all leases of a host (DESIGN section 4):
 *
 *     leader   ├─ round stamped, sent ──────────── lease ──────────────────┤← margin →
 *     voter             ├─ heard, stamped ────────────── promise ────────────────────┤ may vote
 *
 * The promise is as long as the shortest election timeout, less the tick that may be as good as over when the leader
 * is heard; so no election timer finds it in its way. It is kept on the voter's clock, whatever the voter does meanwhile.
 *
 * What a leader says about its lease is looked up on the clock, never counted in ticks: an event loop that stood still finds it
 * expired. Moreover none from before such a stall is believed once that was longer than the margin. A promise of an earlier life
 * of this process lasts from the start of this one.
 *
 * All hosts of a cluster need the same tick settings: a voter with shorter ones would promise less than leaders count on.
 */
export class HostLeaseClock implements LeaseClock {
  readonly promiseMs: number;
  readonly leaseMs: number;
  /** When this host was made: whatever an earlier life of it promised began before. */
  readonly startedMs: number;
  stampMs: number;
  /** Stalls of the event loop that cost the leases. */
  stalls = 0;
  private readonly runtime: Runtime;
  private readonly tickGapMaxMs: number;
  private lastTickMs: number;
  private voidBeforeMs = 0;

  constructor(runtime: Runtime, options: Pick<MultiRaftOptions, 'tickMs' | 'electionTicks'>) {
    const { tickMs, electionTicks } = options;
    this.runtime = runtime;
    this.promiseMs = (electionTicks - 1) * tickMs;
    const marginMs = (this.promiseMs * leaseMarginPercent) / 100;
    this.leaseMs = this.promiseMs - marginMs;
    this.tickGapMaxMs = tickMs + marginMs;
    this.startedMs = this.stampMs = this.lastTickMs = runtime.nowMs();
  }

  /** A turn or a beat begins: what is sent and heard from now on is stamped with this moment. A stamp from before would promise less than leaders count on. */
  stampNow(): void {
    this.stampMs = this.runtime.nowMs();
  }

  /** A tick begins. */
  tickBegins(): void {
    const nowMs = this.runtime.nowMs();
    this.noticeStall(nowMs);
    this.lastTickMs = this.stampMs = nowMs;
  }

  covers(sentMs: number): boolean {
    const nowMs = this.runtime.nowMs();
    this.noticeStall(nowMs);
    return sentMs >= this.voidBeforeMs && nowMs - sentMs < this.leaseMs;
  }

  private noticeStall(nowMs: number): void {
    if (nowMs - this.lastTickMs <= this.tickGapMaxMs) return;
    if (this.voidBeforeMs <= this.lastTickMs) this.stalls++;
    this.voidBeforeMs = nowMs;
  }
}
