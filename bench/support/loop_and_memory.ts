import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { loopMs } from './loop_cpu.js';

const resolutionMs = 1;
/** Reading the resident size takes a millisecond or more of the loop that is watched. */
const sampleMs = 200;

export interface Watched {
  readonly blockedMs: number;
  readonly rssMax: number;
  /** CPU time of all threads, and of the event loop's. */
  readonly cpuMs: number;
  readonly loopMs: number;
}

/** Watches this process's event loop and memory from its making until stop(). */
export class LoopAndMemory {
  private readonly delays: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  private rssMax = process.memoryUsage.rss();
  private readonly cpu = process.cpuUsage();
  private readonly startLoopMs = loopMs();
  private readonly timer = setInterval(() => this.sample(), sampleMs);

  constructor() {
    this.delays.enable();
  }

  /**
   * The longest time that the loop did not get to its timers beyond when they were due, the highest resident size, and the
   * CPU time of all threads.
   */
  stop(): Watched {
    this.sample();
    clearInterval(this.timer);
    this.delays.disable();
    const { user, system } = process.cpuUsage(this.cpu);
    const blockedMs = Math.max(0, this.delays.max / 1e6 - resolutionMs);
    return { blockedMs, rssMax: this.rssMax, cpuMs: (user + system) / 1e3, loopMs: loopMs() - this.startLoopMs };
  }

  private sample(): void {
    this.rssMax = Math.max(this.rssMax, process.memoryUsage.rss());
  }
}
