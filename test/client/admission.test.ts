import fc from 'fast-check';
import t from 'tap';
import { DelayWindow } from '../../src/base/delay_window.js';
import { Admission } from '../../src/client/admission.js';

interface Item {
  readonly bytes: number;
  admitted: boolean;
  apart: boolean;
  done: boolean;
}

const windowOf = (ops: number): DelayWindow =>
  new DelayWindow({ targetMs: 1, intervalMs: 1, opsMin: ops, opsFirst: ops, opsMax: ops, growthOps: 1 });
const item = (bytes: number): Item => ({ bytes, admitted: false, apart: false, done: false });

t.test('what finds no room waits in order, and past the waiting limit is refused', async (t) => {
  const admission = new Admission<Item>(windowOf(2), 1_000, 2);
  const items = [item(1), item(1), item(1), item(1), item(1)];
  t.same(
    items.map((i) => admission.enter(i)),
    ['admitted', 'admitted', 'waiting', 'waiting', 'refused'],
  );
  t.equal(admission.next(), null);
  const [first] = items;
  if (first !== undefined) {
    first.done = true;
    admission.leave(first);
  }
  t.equal(admission.next(), items[2]);
  t.equal(admission.next(), null);
  t.equal(admission.waiting, 1);
});

t.test('bytes are bounded too, but one item larger than all room goes alone', async (t) => {
  const admission = new Admission<Item>(windowOf(10), 100, 10);
  const large = item(500);
  t.equal(admission.enter(large), 'admitted');
  t.equal(admission.enter(item(1)), 'waiting');
  large.done = true;
  admission.leave(large);
  t.equal(admission.next()?.bytes, 1);
  t.equal(admission.enter(item(99)), 'admitted');
  t.equal(admission.enter(item(1)), 'waiting');
});

t.test('an item that ends while it waits gives its place away', async (t) => {
  const admission = new Admission<Item>(windowOf(1), 100, 5);
  const [running, quitter, next] = [item(1), item(1), item(1)];
  for (const i of [running, quitter, next]) admission.enter(i);
  quitter.done = true;
  admission.leave(quitter);
  t.equal(admission.waiting, 1);
  running.done = true;
  admission.leave(running);
  t.equal(admission.next(), next);
});

t.test('what stands apart leaves its room to others, and is bounded by the largest window', async (t) => {
  const window = new DelayWindow({ targetMs: 1, intervalMs: 1, opsMin: 1, opsFirst: 1, opsMax: 3, growthOps: 1 });
  const admission = new Admission<Item>(window, 1_000, 10);
  const [a, b, c, d] = [item(1), item(1), item(1), item(1)];
  for (const i of [a, b, c, d]) admission.enter(i);
  t.equal(admission.next(), null);
  admission.stepAside(a);
  t.equal(admission.next(), b);
  t.equal(admission.next(), null, 'the window is full again');
  admission.stepAside(b);
  admission.stepAside(b);
  t.equal(admission.next(), c);
  admission.stepAside(c);
  t.equal(admission.inFlight, 3);
  t.equal(admission.next(), null, 'three are in flight: no more, wherever they are');
  admission.stepBack(a);
  t.equal(window.ops, 1);
  for (const i of [a, b]) {
    i.done = true;
    admission.leave(i);
  }
  t.equal(admission.inFlight, 1);
  t.equal(admission.inFlightBytes, 1);
  t.equal(admission.next(), d);
});

t.test('counts are right and bounds hold after any history', async () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(60)), { maxLength: 300 }), (steps) => {
      const admission = new Admission<Item>(windowOf(5), 100, 20);
      const known: Item[] = [];
      for (const [enters, n] of steps) {
        if (enters) {
          const one = item(n);
          if (admission.enter(one) !== 'refused') known.push(one);
        } else if (known.length > 0) {
          const [one] = known.splice(n % known.length, 1);
          if (one === undefined) return false;
          one.done = true;
          admission.leave(one);
          while (admission.next() !== null);
        }
        const running = known.filter((i) => i.admitted);
        const bytes = running.reduce((sum, i) => sum + i.bytes, 0);
        if (running.length > 5 || bytes > 100) return false;
        if (admission.inFlight !== running.length || admission.inFlightBytes !== bytes) return false;
        if (admission.waiting !== known.length - running.length) return false;
      }
      return true;
    }),
  );
});
