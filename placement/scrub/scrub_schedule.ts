import type { CronMatcher } from '../cron.js';
import { cronMatcher } from '../cron.js';

const minuteMs = 60_000;

/** Says when a scheduled comparison of all shards begins, once for each minute that matches. */
export class ScrubSchedule {
  private readonly task: CronMatcher | null;
  private minute = -1;

  /** An expression without a problem; empty: never. */
  constructor(expression: string) {
    this.task = expression.trim() === '' ? null : cronMatcher(expression);
  }

  isDue(wallMs: number): boolean {
    const minute = Math.floor(wallMs / minuteMs);
    if (this.task === null || minute === this.minute) return false;
    this.minute = minute;
    return this.task.match(new Date(minute * minuteMs));
  }
}
