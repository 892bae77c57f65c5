import { createTask, validate } from 'node-cron';
import type { ScheduledTask } from 'node-cron';

const fieldNames = ['minute', 'hour', 'day of month', 'month', 'day of week'] as const;

/** What is wrong with a cron expression, for the configuration's error; null: nothing. */
export function cronProblem(expression: string): string | null {
  const fields = expression.trim().split(/\s+/);
  if (fields.length !== fieldNames.length) {
    return `"${expression}" is no cron expression of five fields (minute hour day month weekday), such as "0 2 * * *"`;
  }
  // Each by itself, with all others open, so that the error can name it.
  for (const [at, name] of fieldNames.entries()) {
    const alone = fields.map((field, i) => (i === at ? field : '*'));
    if (!validate(alone.join(' ')))
      return `"${expression}" is no cron expression: its ${name} is "${fields[at] ?? ''}"`;
  }
  return validate(expression) ? null : `"${expression}" is not a valid cron expression`;
}

/** A task that is only asked for matches and never started. */
export type CronMatcher = Pick<ScheduledTask, 'match'>;

/** The expression must be without a problem. */
export function cronMatcher(expression: string): CronMatcher {
  return createTask(expression, () => undefined);
}

const minuteMs = 60_000;
/** Leap years included, a day of the year comes again within these. */
const daysAheadMax = 4 * 366;

/**
 * The start of the first minute after a time that an expression without a problem matches, in milliseconds of the wall clock; null:
 * none within four years. First the day, then its minute: what node-cron offers took half a minute for "0 2 * jan *".
 */
export function nextRunWallMs(expression: string, afterWallMs: number): number | null {
  const [, , dayOfMonth, month, dayOfWeek] = expression.trim().split(/\s+/);
  const days = cronMatcher(`* * ${dayOfMonth} ${month} ${dayOfWeek}`);
  const minutes = cronMatcher(expression);
  const first = (Math.floor(afterWallMs / minuteMs) + 1) * minuteMs;
  const day = new Date(first);
  for (let ahead = 0; ahead < daysAheadMax; ahead++) {
    const next = new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1);
    // Any minute of the day will do, and noon is one wherever clocks are changed.
    const noon = new Date(day.getFullYear(), day.getMonth(), day.getDate(), 12);
    if (days.match(noon)) {
      for (let at = Math.max(first, day.getTime()); at < next.getTime(); at += minuteMs) {
        if (minutes.match(new Date(at))) return at;
      }
    }
    day.setTime(next.getTime());
  }
  return null;
}
