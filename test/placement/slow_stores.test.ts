import t from 'tap';
import { slowAfterMs, slowSyncUs, soundAfterMs } from '../../placement/limits.js';
import { SlowStores } from '../../placement/slow_stores.js';

/** Each store says for a while how long its syncs take: as long as a slow one's, or hardly. */
function hear(slow: SlowStores, slowIds: readonly number[], stores: number, fromMs: number): number {
  const untilMs = fromMs + Math.max(slowAfterMs, soundAfterMs);
  for (const nowMs of [fromMs, untilMs]) {
    for (let storeId = 1; storeId <= stores; storeId++)
      slow.heard(storeId, slowIds.includes(storeId) ? slowSyncUs : 0, nowMs);
  }
  return untilMs;
}

const found = (slow: SlowStores, stores: number): number[] =>
  Array.from({ length: stores }, (_, i) => i + 1).filter((storeId) => slow.has(storeId));

t.test('a store is slow when it said so for a while, and sound when it said that for longer', (t) => {
  const slow = new SlowStores();
  const nowMs = hear(slow, [2], 3, 0);
  t.same(found(slow, 3), [2]);
  hear(slow, [], 3, nowMs);
  t.same(found(slow, 3), []);
  t.end();
});

t.test('when many are slow, none counts as such: leaders would only crowd on the others', (t) => {
  const slow = new SlowStores();
  let nowMs = hear(slow, [1, 2, 3], 4, 0);
  t.same(found(slow, 4), [], 'three of four');
  nowMs = hear(slow, [1, 2], 4, nowMs);
  t.same(found(slow, 4), [], 'two of four');
  hear(slow, [1], 4, nowMs);
  t.same(found(slow, 4), [1], 'one is worth leaving');
  const six = new SlowStores();
  hear(six, [1, 2], 6, 0);
  t.same(found(six, 6), [1, 2], 'and so are two of six');
  t.end();
});

t.test('with one or two stores, one may be slow', (t) => {
  const slow = new SlowStores();
  hear(slow, [1], 2, 0);
  t.same(found(slow, 2), [1]);
  t.end();
});
