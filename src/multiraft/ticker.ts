import type { TimerHandle } from '../base/runtime.js';
import type { AwakeSet } from './awake_set.js';
import type { Beats } from './beats.js';
import type { HostContext } from './context.js';

/** Work that is due on ticks, besides the groups' own. */
export interface TickWork {
  tick(): void;
}

/**
 * The host's one timer. Each beat of it is one tick for every group that is awake, however late it comes: after a stall
 * of the event loop the groups must first see the messages that waited, not count the time as a leader's silence.
 */
export class Ticker {
  private readonly host: HostContext;
  private readonly beats: Beats;
  private readonly awake: AwakeSet;
  private readonly work: readonly TickWork[];
  private timer: TimerHandle | null = null;

  constructor(host: HostContext, beats: Beats, awake: AwakeSet, work: readonly TickWork[]) {
    this.host = host;
    this.beats = beats;
    this.awake = awake;
    this.work = work;
  }

  start(): void {
    this.timer = this.host.runtime.every(this.host.options.tickMs, () => {
      if (this.host.failed || this.host.closed) return;
      try {
        this.tick();
      } catch (error) {
        this.host.fail(error);
      }
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private tick(): void {
    this.host.tick++;
    this.host.leaseClock.tickBegins();
    this.awake.tick();
    for (const work of this.work) work.tick();
    if (this.host.tick % this.host.options.heartbeatTicks === 0) {
      this.beats.tickBeat();
      this.host.wake();
    }
  }
}
