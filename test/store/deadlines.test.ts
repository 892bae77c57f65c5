import t from 'tap';
import { DeadlineWheel, Due } from '../../store/deadlines.js';
import { VirtualClock, VirtualRuntime } from '../support/virtual_runtime.js';

class Probe extends Due {
  expiredAtMs = -1;
  private readonly clock: VirtualClock;

  constructor(clock: VirtualClock) {
    super();
    this.clock = clock;
  }

  override expire(): void {
    this.expiredAtMs = this.clock.nowMs;
  }
}

function makeWheel(): { clock: VirtualClock; wheel: DeadlineWheel; probe: (delayMs: number) => Probe } {
  const clock = new VirtualClock();
  const wheel = new DeadlineWheel(new VirtualRuntime(clock, 1));
  const probe = (delayMs: number): Probe => {
    const made = new Probe(clock);
    wheel.add(made, delayMs);
    return made;
  };
  return { clock, wheel, probe };
}

t.test('a deadline passes not before its time and soon after it', async (t) => {
  const { clock, probe } = makeWheel();
  await clock.advance(1_234);
  const probes = [0, 5, 10, 999, 30_000].map((delayMs) => ({ delayMs, startMs: clock.nowMs, due: probe(delayMs) }));
  await clock.advance(40_000);
  for (const { delayMs, startMs, due } of probes) {
    const tookMs = due.expiredAtMs - startMs;
    t.ok(tookMs >= delayMs && tookMs <= delayMs + 40, `${delayMs} ms took ${tookMs} ms`);
  }
});

t.test('what was removed does not expire, and an empty wheel has no timer', async (t) => {
  const { clock, wheel, probe } = makeWheel();
  const [a, b, c] = [probe(100), probe(100), probe(100)];
  wheel.remove(b);
  wheel.remove(b);
  t.equal(wheel.size, 2);
  await clock.advance(200);
  t.ok(a.expiredAtMs > 0 && c.expiredAtMs > 0);
  t.equal(b.expiredAtMs, -1);
  t.equal(wheel.size, 0);
});

t.test('a deadline longer than one round of the wheel waits its rounds', async (t) => {
  const { clock, probe } = makeWheel();
  const due = probe(60_000);
  await clock.advance(59_000);
  t.equal(due.expiredAtMs, -1);
  await clock.advance(2_000);
  t.ok(due.expiredAtMs >= 60_000);
});

t.test('a wheel that was empty for long takes new deadlines from now', async (t) => {
  const { clock, probe } = makeWheel();
  probe(10);
  await clock.advance(100_000);
  const due = probe(50);
  await clock.advance(40);
  t.equal(due.expiredAtMs, -1);
  await clock.advance(60);
  t.ok(due.expiredAtMs > 0);
});
