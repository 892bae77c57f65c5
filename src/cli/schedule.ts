import { Command } from 'commander';
import type { Schedule } from '../gen/skerry/v1/admin.js';
import { withAdmin } from './context.js';
import type { Column } from './output.js';
import { printRows } from './output.js';

export interface ScheduleView {
  readonly name: string;
  readonly cron: string;
  /** 0: it only begins then. */
  readonly minutes: number;
  readonly open: boolean;
  /** ISO 8601 in UTC; null: not within four years. */
  readonly nextRun: string | null;
}

export function scheduleView({ name, cron, minutes, open, nextRunUnixMs }: Schedule): ScheduleView {
  const nextRun = nextRunUnixMs === undefined ? null : new Date(nextRunUnixMs).toISOString();
  return { name, cron, minutes, open, nextRun };
}

const scheduleColumns: readonly Column<ScheduleView>[] = [
  { title: 'SCHEDULE', value: (s) => s.name },
  { title: 'CRON', value: (s) => s.cron },
  { title: 'LASTS', value: (s) => (s.minutes === 0 ? '-' : `${s.minutes} min`) },
  { title: 'OPEN', value: (s) => (s.minutes === 0 ? '-' : s.open ? 'yes' : 'no') },
  { title: 'NEXT RUN', value: (s) => s.nextRun ?? 'not within four years' },
];

/** `skerry schedule`. */
export function scheduleCommand(): Command {
  const list = new Command('list')
    .description('list balance windows and scrubs with their next runs, as the placement leader is configured')
    .action((_flags: unknown, command: Command) =>
      withAdmin(command, async (admin) => {
        await printRows(command, (await admin.listSchedules()).map(scheduleView), scheduleColumns);
      }),
    );
  return new Command('schedule').description('what placement does by the clock').addCommand(list);
}
