import t from 'tap';
import { ConfigError } from '../../src/base/config_schema.js';
import { loadConfig } from '../../src/config/load_config.js';
import { BalanceWindows, windowProblem } from '../../placement/balance_windows.js';
import { configProblems, placementConfigSchema } from '../../placement/placement_config.js';
import type { PlacementConfig } from '../../placement/placement_config.js';
import { transportClusterId } from '../../placement/placement_server.js';

function load(flags: Record<string, unknown>, environment: Record<string, string> = {}): PlacementConfig {
  return loadConfig({ schema: placementConfigSchema, environmentPrefix: 'SKERRY_PLACEMENT_', environment, flags });
}

const base = { memberId: '1', members: '1=h1:4000', dataDir: '/d' };

function problemOf(flags: Record<string, unknown>): string {
  try {
    return configProblems(load({ ...base, ...flags })).join('\n');
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.join('\n');
    throw error;
  }
}

t.test('members are given by flag, environment, list or map alike', async (t) => {
  const expected = [
    { id: 1, address: 'h1:4000' },
    { id: 2, address: 'h2:4000' },
    { id: 3, address: 'h3:4000' },
  ];
  const text = '1=h1:4000,2=h2:4000,3=h3:4000';
  t.same(load({ ...base, members: text }).members, expected);
  t.same(load({ memberId: '1', dataDir: '/d' }, { SKERRY_PLACEMENT_MEMBERS: text }).members, expected);
  const parse = (members: unknown): unknown =>
    placementConfigSchema.parse({ memberId: 1, dataDir: '/d', members }).members;
  t.same(parse(expected), expected);
  t.same(parse({ 1: 'h1:4000', 2: 'h2:4000', 3: 'h3:4000' }), expected);
});

t.test('what cannot work is refused by name', async (t) => {
  t.equal(problemOf({}), '');
  t.match(problemOf({ memberId: '2' }), /member_id: 2 is none of the members \(1\)/);
  t.match(problemOf({ members: '1=a:1,2=b:2' }), /1, 3 or 5 members, not 2/);
  t.match(problemOf({ members: '1=a:1,2=b:0,3=c:3' }), /member 2 needs a fixed port/);
  t.match(problemOf({ members: '1=a:1,1=b:2,3=c:3' }), /two members have the same id/);
  t.match(problemOf({ members: 'h1:4000' }), /id=host:port/);
  t.match(problemOf({ members: '1=h1' }), /is not host:port/);
  t.match(problemOf({ storeDownMs: '5', storeDisconnectMs: '10' }), /store_down_ms/);
  t.match(problemOf({ balanceWindows: '61 * * * * for 10' }), /its minute is "61"/);
  t.match(problemOf({ balanceWindows: 'midnight for 10' }), /five fields/);
  t.match(problemOf({ balanceWindows: '0 2 * * *' }), /five fields|lasts 1 to 1440 minutes/);
  t.match(problemOf({ scrubSchedule: 'nightly' }), /scrub\.schedule.*five fields/);
  t.match(problemOf({ scrubSchedule: '0 25 * * *' }), /its hour is "25"/);
  t.equal(problemOf({ scrubSchedule: '' }), '', 'off');
  t.match(problemOf({ scrubBytesPerSecond: '1000' }), /scrub\.bytes_per_second/);
  t.match(problemOf({ limitsMovesPerStore: '0' }), /limits\.moves_per_store/);
});

t.test('a balance window is open from each match for its minutes', async (t) => {
  const windows = new BalanceWindows([{ start: '30 2 * * *', minutes: 90 }]);
  const at = (hour: number, minute: number): boolean =>
    windows.isOpen(new Date(2024, 4, 6, hour, minute, 20).getTime());
  t.same([at(2, 29), at(2, 30), at(3, 59), at(4, 0), at(14, 30)], [false, true, true, false, false]);
});

t.test('without windows balance may always work', async (t) => {
  t.ok(new BalanceWindows([]).isOpen(0));
});

t.test('a window over midnight is open on both days', async (t) => {
  const windows = new BalanceWindows([{ start: '0 23 * * *', minutes: 120 }]);
  t.ok(windows.isOpen(new Date(2024, 4, 6, 23, 30).getTime()));
  t.ok(windows.isOpen(new Date(2024, 4, 7, 0, 59).getTime()));
  t.notOk(windows.isOpen(new Date(2024, 4, 7, 1, 0).getTime()));
});

t.test('windows are checked when they are configured', async (t) => {
  t.equal(windowProblem({ start: '0 2 * * 1-5', minutes: 60 }), null);
  t.match(windowProblem({ start: '* * * * * *', minutes: 60 }), /five fields/);
  t.match(windowProblem({ start: '0 2 * * *', minutes: 1_441 }), /1 to 1440/);
  t.match(windowProblem({ start: '0 2 * * *', minutes: NaN }), /1 to 1440/);
});

t.test('members find the same transport id whatever their order, and other members another', async (t) => {
  const one = { id: 1, address: 'a:1' };
  const two = { id: 2, address: 'b:1' };
  t.equal(transportClusterId([one, two]), transportClusterId([two, one]));
  t.not(transportClusterId([one, two]), transportClusterId([one, { ...two, address: 'b:2' }]));
  t.ok(Number.isSafeInteger(transportClusterId([one])));
});
