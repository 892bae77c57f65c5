import t from 'tap';
import { DrainWatch } from '../../placement/drain_watch.js';
import { drainMeasureMs, drainSampleMs, drainWindowMs } from '../../placement/limits.js';
import type { FixedView } from './support/fixed_view.js';
import { fixedView } from './support/fixed_view.js';

interface Drained extends FixedView {
  readonly watch: DrainWatch;
  readonly passMs: (ms: number) => void;
  /** A replica of the draining store, the first, is somewhere else. */
  readonly leave: () => void;
}

/** Ten shards of 1,000 bytes with a replica on store 1, which is to be left. */
function drained(state: 'draining' | 'maintenance' | 'up'): Drained {
  const shard = { replicas: { 1: 'v', 2: 'v' }, leader: 2, bytes: 1_000 } as const;
  const fixed = fixedView({ stores: [{ state }, {}, {}], shards: Array.from({ length: 10 }, () => shard) });
  const { view } = fixed;
  const watch = new DrainWatch(view);
  const passMs = (ms: number): void => {
    for (const endMs = view.nowMs + ms; view.nowMs < endMs;) {
      view.setTime(Math.min(endMs, view.nowMs + 500));
      watch.tick();
    }
  };
  const leave = (): void => {
    const [shardId] = view.state.shardIdsOn(1);
    const record = view.state.shard(shardId ?? 0);
    if (record === undefined) throw new Error('nothing is left');
    const replicas = record.replicas.map((r) => (r.storeId === 1 ? { ...r, storeId: 3 } : r));
    view.state.restoreShard({ ...record, replicas });
  };
  watch.tick();
  return { ...fixed, watch, passMs, leave };
}

t.test('what is left is known at once, how long it takes only when it was measured', (t) => {
  const { watch, passMs, leave } = drained('draining');
  const left = { leaders: 0, replicas: 10, bytes: 10_000 };
  t.same(watch.progress(1), { left, perSecond: null, remainingMs: null });
  passMs(drainMeasureMs - 1_000);
  leave();
  t.equal(watch.progress(1)?.remainingMs, null, 'not watched for long enough');
  passMs(1_000);
  t.same(watch.progress(1), {
    left: { leaders: 0, replicas: 9, bytes: 9_000 },
    perSecond: { leaders: 0, replicas: 0.1, bytes: 100 },
    remainingMs: 90_000,
  });
  t.end();
});

t.test('when nothing leaves, nobody knows how long it takes', (t) => {
  const { watch, passMs, leave } = drained('draining');
  leave();
  passMs(drainMeasureMs);
  t.equal(watch.progress(1)?.remainingMs, 90_000);
  passMs(drainWindowMs + drainSampleMs);
  t.match(watch.progress(1), { perSecond: { replicas: 0 }, remainingMs: null }, 'what left long ago does not count');
  t.end();
});

t.test('a store that is empty has no time left, and one that nobody leaves has no progress', (t) => {
  const { watch, leave } = drained('draining');
  for (let i = 0; i < 10; i++) leave();
  t.same(watch.progress(1), { left: { leaders: 0, replicas: 0, bytes: 0 }, perSecond: null, remainingMs: 0 });
  t.equal(watch.progress(2), null);
  t.equal(drained('up').watch.progress(1), null);
  t.end();
});

t.test('in maintenance replicas stay, so only leaders are left to go', (t) => {
  const { watch, passMs } = drained('maintenance');
  t.equal(watch.progress(1)?.remainingMs, 0, 'store 2 leads everything');
  passMs(drainMeasureMs);
  t.match(watch.progress(1), { left: { replicas: 10 }, remainingMs: 0 });
  t.end();
});
