import type { CronMatcher } from './cron.js';
import { cronMatcher, cronProblem } from './cron.js';

/** A time in which schedulers may move things: it opens at each match of a cron expression and lasts some minutes. */
export interface BalanceWindow {
  /** Five fields, in the server's time zone: minute, hour, day of month, month, day of week. */
  readonly start: string;
  readonly minutes: number;
}

const minuteMs = 60_000;
/** A day: a window that is longer is no window. */
export const windowMinutesMax = 24 * 60;

/** What is wrong with a window, for the configuration's error; null: nothing. */
export function windowProblem(window: BalanceWindow): string | null {
  const problem = cronProblem(window.start);
  if (problem !== null) return problem;
  if (!Number.isInteger(window.minutes) || window.minutes < 1 || window.minutes > windowMinutesMax) {
    return `a balance window lasts 1 to ${windowMinutesMax} minutes, not ${window.minutes}`;
  }
  return null;
}

/** Says whether a window is open. No windows: always. */
export class BalanceWindows {
  private readonly windows: readonly { readonly task: CronMatcher; readonly minutes: number }[];
  private minute = -1;
  private open = true;

  /** The windows must be without a problem. */
  constructor(windows: readonly BalanceWindow[]) {
    this.windows = windows.map(({ start, minutes }) => ({ task: cronMatcher(start), minutes }));
  }

  isOpen(wallMs: number): boolean {
    if (this.windows.length === 0) return true;
    const minute = Math.floor(wallMs / minuteMs);
    if (minute !== this.minute) {
      this.minute = minute;
      this.open = this.windows.some(({ task, minutes }) => openedWithin(task, minutes, minute));
    }
    return this.open;
  }
}

/** Looking back finds a window that opened before this process started. */
function openedWithin(task: CronMatcher, minutes: number, minute: number): boolean {
  for (let back = 0; back < minutes; back++) {
    if (task.match(new Date((minute - back) * minuteMs))) return true;
  }
  return false;
}
