import fc from 'fast-check';
import t from 'tap';
import type { DelayWindowLimits } from '../../src/base/delay_window.js';
import { DelayWindow } from '../../src/base/delay_window.js';

const limits: DelayWindowLimits = {
  targetMs: 500,
  intervalMs: 100,
  opsMin: 8,
  opsFirst: 1_024,
  opsMax: 1_024,
  growthOps: 16,
};

/** A window with so many operations under way. */
function windowOf(ops: number): DelayWindow {
  const window = new DelayWindow(limits);
  for (let i = 0; i < ops; i++) window.enter();
  return window;
}

t.test('the window halves from what was under way when everything takes longer than the target', async (t) => {
  const window = windowOf(200);
  t.equal(window.opsMax, 1_024);
  window.observe(0, 501);
  t.equal(window.opsMax, 100);
  t.equal(window.hasRoom, false);
  for (let i = 0; i < 101; i++) window.leave();
  t.equal(window.hasRoom, true);
});

t.test('one slow operation among fast ones changes nothing', async (t) => {
  const window = windowOf(200);
  window.observe(0, 20);
  window.observe(0, 9_000);
  t.equal(window.opsMax, 1_024);
});

t.test('after a decrease only operations that began later count, so that one queue is not counted twice', async (t) => {
  const window = windowOf(200);
  window.observe(0, 600);
  for (let nowMs = 700; nowMs < 2_000; nowMs += 50) window.observe(599, nowMs);
  t.equal(window.opsMax, 100);
  window.observe(600, 1_101);
  t.equal(window.opsMax, 50);
});

t.test('it grows in steps while the target is kept, and doubles far below it, up to its bound', async (t) => {
  const window = windowOf(200);
  window.observe(0, 600);
  window.observe(700, 1_000);
  t.equal(window.opsMax, 116);
  window.observe(1_100, 1_110);
  t.equal(window.opsMax, 232);
  for (let nowMs = 2_000; nowMs < 4_000; nowMs += 100) window.observe(nowMs - 1, nowMs);
  t.equal(window.opsMax, 1_024);
});

t.test('it begins with little, and doubles each interval while that takes little time', async (t) => {
  const window = new DelayWindow({ ...limits, opsFirst: 16 });
  t.equal(window.opsMax, 16);
  for (let nowMs = 100; nowMs <= 300; nowMs += 100) window.observe(nowMs - 1, nowMs);
  t.equal(window.opsMax, 64);
});

t.test('it never gets smaller than its least', async (t) => {
  const window = windowOf(200);
  for (let nowMs = 0; nowMs < 60_000; nowMs += 600) window.observe(nowMs, nowMs + 600);
  t.equal(window.opsMax, 8);
});

t.test('a few slow operations are no queue', async (t) => {
  const window = windowOf(limits.opsMin);
  window.observe(0, 5_000);
  t.equal(window.opsMax, 1_024);
  window.enter();
  window.observe(0, 6_000);
  t.equal(window.opsMax, limits.opsMin);
});

t.test('a server at three times its rate settles at a delay about the target, and stays busy', async (t) => {
  // A queue served at 2 operations a millisecond; 6 come, and are taken while there is room.
  const window = new DelayWindow({ ...limits, opsFirst: 100_000, opsMax: 100_000 });
  const queue: number[] = [];
  let served = 0;
  let slowestMs = 0;
  for (let nowMs = 0; nowMs < 60_000; nowMs++) {
    for (let i = 0; i < 6; i++) {
      if (!window.hasRoom) continue;
      window.enter();
      queue.push(nowMs);
    }
    for (const beganMs of queue.splice(0, 2)) {
      window.leave();
      window.observe(beganMs, nowMs);
      if (nowMs < 10_000) continue;
      served++;
      slowestMs = Math.max(slowestMs, nowMs - beganMs);
    }
  }
  t.equal(served, 100_000, 'it never runs dry');
  t.ok(slowestMs <= 2 * limits.targetMs, `the slowest took ${slowestMs} ms`);
});

t.test('the window stays between its bounds after any history', async () => {
  const step = fc.record({ passMs: fc.nat(400), tookMs: fc.nat(3_000), enters: fc.nat(40) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const window = new DelayWindow(limits);
      let nowMs = 0;
      for (const { passMs, tookMs, enters } of steps) {
        nowMs += passMs;
        for (let i = 0; i < enters; i++) window.enter();
        window.observe(nowMs - tookMs, nowMs);
        if (window.ops > 0) window.leave();
        if (window.opsMax < limits.opsMin || window.opsMax > limits.opsMax) return false;
      }
      return true;
    }),
  );
});
