import fc from 'fast-check';
import t from 'tap';
import { wheelSlots, wheelTickMs } from '../../src/client/limits.js';
import type { WheelEntry } from '../../src/client/timing_wheel.js';
import { TimingWheel } from '../../src/client/timing_wheel.js';

interface Entry extends WheelEntry {
  readonly dueMs: number;
}

function entry(dueMs: number): Entry {
  return { dueMs, wheelNext: null, wheelPrevious: null, dueTick: -1 };
}

t.test('entries fire at the first advance past their time, never before it, whatever the steps', async () => {
  const longest = wheelSlots * wheelTickMs * 3;
  fc.assert(
    fc.property(
      fc.array(fc.record({ due: fc.nat(longest), removed: fc.boolean() }), { maxLength: 50 }),
      fc.array(fc.integer({ min: 1, max: longest }), { minLength: 1, maxLength: 20 }),
      (wanted, steps) => {
        const startMs = 1_234.5;
        const wheel = new TimingWheel<Entry>(startMs);
        const live = new Set<Entry>();
        for (const { due, removed } of wanted) {
          const one = entry(startMs + due);
          wheel.add(one, one.dueMs);
          if (removed) wheel.remove(one);
          else live.add(one);
        }
        let nowMs = startMs;
        for (const step of [...steps, longest * 2]) {
          nowMs += step;
          const early: Entry[] = [];
          wheel.advance(nowMs, (one) => {
            if (!live.delete(one) || one.dueMs > nowMs) early.push(one);
          });
          // Within a tick of the time nothing is owed yet.
          if (early.length > 0 || [...live].some((one) => one.dueMs <= nowMs - 2 * wheelTickMs)) return false;
          if (wheel.size !== live.size) return false;
        }
        return live.size === 0;
      },
    ),
  );
});

t.test('what fires may be added again, and may remove others that are due', async (t) => {
  const wheel = new TimingWheel<Entry>(0);
  const [a, b] = [entry(50), entry(50)];
  wheel.add(a, 50);
  wheel.add(b, 50);
  const fired: Entry[] = [];
  wheel.advance(60, (one) => {
    fired.push(one);
    wheel.remove(one === a ? b : a);
    wheel.add(one, 200);
  });
  t.equal(fired.length, 1);
  t.equal(wheel.size, 1);
  wheel.advance(190, (one) => fired.push(one));
  t.equal(fired.length, 1);
  wheel.advance(210, (one) => fired.push(one));
  t.equal(fired.length, 2);
  t.same(wheel.clear(), []);
});
