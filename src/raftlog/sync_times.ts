import { syncSamplesMax } from './limits.js';

/** The durations of the last syncs, for percentiles. */
export class SyncTimes {
  private readonly samplesMs = new Float64Array(syncSamplesMax);
  private count = 0;

  add(durationMs: number): void {
    this.samplesMs[this.count % syncSamplesMax] = durationMs;
    this.count++;
  }

  /** The duration below which `fraction` of the recent syncs stayed; 0 before the first. */
  percentile(fraction: number): number {
    const n = Math.min(this.count, syncSamplesMax);
    if (n === 0) return 0;
    const sorted = this.samplesMs.slice(0, n).sort();
    return sorted[Math.min(n - 1, Math.floor(n * fraction))] ?? 0;
  }
}
