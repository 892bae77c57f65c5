import t from 'tap';
import { departureIntervalMs, serviceSamplesMin, serviceWindowMs } from '../../src/client/limits.js';
import { ServiceTime } from '../../src/client/service_time.js';
import { WaitingTime } from '../../src/client/waiting_time.js';

/** Lets one operation a millisecond depart of a queue that stays as long. */
function steady(waiting: number, untilMs: number): WaitingTime {
  const time = new WaitingTime();
  time.begin(0);
  for (let nowMs = 1; nowMs <= untilMs; nowMs++) time.departed(waiting, nowMs);
  return time;
}

t.test('a wait is what waits over the rate at which it goes', async (t) => {
  t.equal(steady(700, 2_000).expectedMs(700, 2_000), 700);
});

t.test('nothing is known of a burst until an interval has passed', async (t) => {
  const time = steady(700, departureIntervalMs - 1);
  t.equal(time.expectedMs(60_000, departureIntervalMs - 1), 0);
  t.ok(time.expectedMs(60_000, departureIntervalMs) > 0);
});

t.test('a queue that stands still is noticed without a departure', async (t) => {
  const time = steady(700, 2_000);
  t.ok(time.expectedMs(700, 3_000) > 2_000);
  t.ok(time.expectedMs(700, 5_000) > 10_000);
});

t.test('time without anybody waiting does not count', async (t) => {
  const time = steady(700, 2_000);
  time.departed(0, 2_001);
  time.begin(60_000);
  t.ok(time.expectedMs(700, 60_000) < 750);
});

/** What is known after so many answers in every millisecond's place of one window. */
function serviceOf(samples: number, tookMs: number): ServiceTime {
  const time = new ServiceTime();
  time.observe(tookMs, 0);
  for (let i = 1; i < samples; i++) time.observe(tookMs, i);
  return time;
}

t.test('the least time is known after a window with enough answers', async (t) => {
  t.equal(serviceOf(serviceSamplesMin, 300).fastestMs(serviceWindowMs - 1), 0, 'not before its end');
  t.equal(serviceOf(serviceSamplesMin, 300).fastestMs(serviceWindowMs), 300);
  t.equal(serviceOf(serviceSamplesMin - 1, 300).fastestMs(serviceWindowMs), 0, 'nor from a few');
});

t.test('a faster answer counts at once, and what is old is forgotten', async (t) => {
  const time = serviceOf(serviceSamplesMin, 300);
  t.equal(time.fastestMs(serviceWindowMs), 300);
  time.observe(20, serviceWindowMs + 1);
  t.equal(time.fastestMs(serviceWindowMs + 1), 20);
  t.equal(serviceOf(serviceSamplesMin, 300).fastestMs(2 * serviceWindowMs), 0);
});
