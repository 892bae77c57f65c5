import t from 'tap';
import { cronProblem, nextRunWallMs } from '../../placement/cron.js';
import { Schedules } from '../../placement/schedules.js';

const at = (
  ...date: [year: number, month: number, day: number, hour?: number, minute?: number, second?: number]
): number => {
  const [year, month, day, ...time] = date;
  return new Date(year, month - 1, day, ...time).getTime();
};

t.test('a cron expression that can not be is refused by its field', (t) => {
  t.equal(cronProblem('*/5 0-6 1,15 * mon-fri'), null);
  t.match(cronProblem('61 * * * *'), /its minute is "61"/);
  t.match(cronProblem('0 25 * * *'), /its hour is "25"/);
  t.match(cronProblem('0 0 32 * *'), /its day of month is "32"/);
  t.match(cronProblem('0 0 1 13 *'), /its month is "13"/);
  t.match(cronProblem('0 0 * * noday'), /its day of week is "noday"/);
  t.match(cronProblem('0 2 * *'), /five fields/);
  t.match(cronProblem('0 0 30 2 *'), /not a valid cron expression/, 'each field can be, but no such day can');
  t.end();
});

t.test('the next run is the first match after now', (t) => {
  const now = at(2024, 5, 6, 3, 0, 20);
  const cases: readonly (readonly [string, number | null])[] = [
    ['* * * * *', at(2024, 5, 6, 3, 1)],
    ['0 3 * * *', at(2024, 5, 7, 3, 0)],
    ['30 3 * * *', at(2024, 5, 6, 3, 30)],
    ['0 0 * * 1', at(2024, 5, 13)],
    ['15 6 1 1 *', at(2025, 1, 1, 6, 15)],
    ['0 12 29 2 *', at(2028, 2, 29, 12)],
  ];
  for (const [expression, expected] of cases) t.equal(nextRunWallMs(expression, now), expected, expression);
  t.equal(
    nextRunWallMs('0 3 * * *', at(2024, 5, 6, 3, 0)),
    at(2024, 5, 7, 3, 0),
    'a run that begins now is no next one',
  );
  t.end();
});

t.test('schedules are listed with their next run and whether they are open', (t) => {
  const schedules = new Schedules([{ start: '0 2 * * *', minutes: 60 }], '30 3 * * *');
  const list = (wallMs: number): unknown[] => schedules.list(wallMs).map((s) => [s.name, s.isOpen, s.nextRunWallMs]);
  t.same(list(at(2024, 5, 6, 1, 0)), [
    ['balance-window', false, at(2024, 5, 6, 2, 0)],
    ['scrub', false, at(2024, 5, 6, 3, 30)],
  ]);
  t.same(list(at(2024, 5, 6, 2, 59)), [
    ['balance-window', true, at(2024, 5, 7, 2, 0)],
    ['scrub', false, at(2024, 5, 6, 3, 30)],
  ]);
  t.same(list(at(2024, 5, 6, 1, 0))[0], ['balance-window', false, at(2024, 5, 6, 2, 0)], 'clocks may be set back');
  t.same(new Schedules([], ' ').list(0), []);
  t.end();
});
