import t from 'tap';
import { answerRateIntervalMs, serviceSamplesMin, serviceWindowMs } from '../../src/client/limits.js';
import { ServiceTime } from '../../src/client/service_time.js';
import { WaitingTime } from '../../src/client/waiting_time.js';

/** One answer a millisecond, from the first to that one, while some wait. */
function steady(untilMs: number): WaitingTime {
  const time = new WaitingTime();
  time.begin(0);
  for (let nowMs = 0; nowMs <= untilMs; nowMs++) time.answered(nowMs);
  return time;
}

t.test('a wait is what must be answered before over the rate of answers', async (t) => {
  t.equal(steady(2_000).expectedMs(700, 2_000), 700);
});

t.test('nothing is known of a burst until an interval has passed', async (t) => {
  const time = steady(answerRateIntervalMs - 1);
  t.equal(time.expectedMs(60_000, answerRateIntervalMs - 1), 0);
  t.ok(time.expectedMs(60_000, answerRateIntervalMs) > 0);
});

t.test('a queue that stands still is noticed without an answer', async (t) => {
  const time = steady(2_000);
  t.ok(time.expectedMs(700, 3_000) > 2_000);
  t.ok(time.expectedMs(700, 5_000) > 10_000);
});

t.test('answers while nobody waits do not count: they tell what was asked, not what could be', async (t) => {
  const time = steady(2_000);
  time.end(2_001);
  time.answered(2_300);
  time.begin(2_400);
  t.ok(time.expectedMs(700, 2_400) < 750);
});

t.test(
  'a first rate is taken from the first answer on: a caller whose own loop is busy is not refused for it',
  async (t) => {
    const time = new WaitingTime();
    time.begin(0);
    t.equal(time.expectedMs(10_000, 60_000), 0, 'no answer could be read yet');
    time.answered(60_000);
    t.equal(time.expectedMs(10_000, 60_000 + answerRateIntervalMs), 0, 'nor does the first one say how fast');
    for (let n = 0; n < 50; n++) time.answered(60_000 + answerRateIntervalMs - 1);
    t.equal(time.expectedMs(10_000, 60_000 + answerRateIntervalMs), (10_000 / 50) * answerRateIntervalMs);
  },
);

t.test('the rate of a load that is over is forgotten', async (t) => {
  const time = steady(2_000);
  time.end(2_001);
  time.begin(60_000);
  t.equal(time.expectedMs(60_000, 60_000), 0);
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
