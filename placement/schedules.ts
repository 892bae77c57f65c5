import type { BalanceWindow } from './balance_windows.js';
import { BalanceWindows } from './balance_windows.js';
import { nextRunWallMs } from './cron.js';

/** Something that this member does by the clock while it leads. */
export interface ScheduleStatus {
  /** balance-window or scrub. */
  readonly name: string;
  readonly cron: string;
  /** How long it stays open; 0: it only begins then. */
  readonly minutes: number;
  /** Of the wall clock; null: not within four years. */
  readonly nextRunWallMs: number | null;
  /** A window that is open now. */
  readonly isOpen: boolean;
}

interface Schedule {
  readonly name: string;
  readonly cron: string;
  readonly minutes: number;
  readonly windows: BalanceWindows | null;
  /** Found once per run: looking for a rare one takes a while. */
  next: { readonly afterMs: number; readonly atMs: number | null } | null;
}

/** What is done by the clock, and when next. */
export class Schedules {
  private readonly schedules: readonly Schedule[];

  /** Expressions without a problem. scrub: empty for none. */
  constructor(balanceWindows: readonly BalanceWindow[], scrub: string) {
    const windows = balanceWindows.map((window): Schedule => {
      const { start, minutes } = window;
      return { name: 'balance-window', cron: start, minutes, windows: new BalanceWindows([window]), next: null };
    });
    const scrubs: Schedule[] =
      scrub.trim() === '' ? [] : [{ name: 'scrub', cron: scrub, minutes: 0, windows: null, next: null }];
    this.schedules = [...windows, ...scrubs];
  }

  list(wallMs: number): ScheduleStatus[] {
    return this.schedules.map((schedule) => {
      const { name, cron, minutes, windows, next } = schedule;
      const holds = next !== null && wallMs >= next.afterMs && (next.atMs === null || wallMs < next.atMs);
      if (!holds) schedule.next = { afterMs: wallMs, atMs: nextRunWallMs(cron, wallMs) };
      return {
        name,
        cron,
        minutes,
        nextRunWallMs: schedule.next?.atMs ?? null,
        isOpen: windows?.isOpen(wallMs) ?? false,
      };
    });
  }
}
