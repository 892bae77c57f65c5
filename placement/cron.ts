import { createTask, validate } from 'node-cron';
import type { ScheduledTask } from 'node-cron';

/** What is wrong with a cron expression, for the configuration's error; null: nothing. */
export function cronProblem(expression: string): string | null {
  if (expression.trim().split(/\s+/).length !== 5) {
    return `"${expression}" is no cron expression of five fields (minute hour day month weekday), such as "0 2 * * *"`;
  }
  return validate(expression) ? null : `"${expression}" is not a valid cron expression`;
}

/** A task that is only asked for matches and never started. */
export type CronMatcher = Pick<ScheduledTask, 'match'>;

/** The expression must be without a problem. */
export function cronMatcher(expression: string): CronMatcher {
  return createTask(expression, () => undefined);
}
