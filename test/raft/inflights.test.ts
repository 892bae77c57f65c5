import fc from 'fast-check';
import t from 'tap';
import { Inflights } from '../../src/raft/tracker/inflights.js';

void t.test('the window does what a plain list would do', (t) => {
  const action = fc.oneof(
    fc.record({ add: fc.nat(50) }),
    fc.record({ free: fc.integer({ min: -3, max: 60 }) }),
    fc.record({ reset: fc.constant(true) }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.nat(120),
      fc.array(action, { maxLength: 80 }),
      (msgs, bytes, actions) => {
        const window = new Inflights(msgs, bytes);
        let model: { index: number; bytes: number }[] = [];
        let next = 1;
        for (const a of actions) {
          if ('add' in a) {
            if (window.full()) continue;
            window.add(next, a.add);
            model.push({ index: next, bytes: a.add });
            next += 2;
          } else if ('free' in a) {
            window.freeTo(a.free);
            model = model.filter((m) => m.index > a.free);
          } else {
            window.reset();
            model = [];
          }
          const total = model.reduce((sum, m) => sum + m.bytes, 0);
          if (window.count !== model.length || window.bytes !== total) return false;
          if (window.full() !== (model.length >= msgs || total >= bytes)) return false;
        }
        return true;
      },
    ),
  );
  t.end();
});

void t.test('a full window takes nothing', (t) => {
  const window = new Inflights(1, Infinity);
  window.add(1, 0);
  t.throws(() => window.add(2, 0), /full window/);
  t.end();
});

void t.test('an acknowledgement frees what it covers, and not the append behind it', (t) => {
  const window = new Inflights(4, 100);
  for (const index of [10, 11, 12]) window.add(index, 10);
  window.freeTo(10);
  t.equal(window.count, 2);
  t.equal(window.bytes, 20);
  window.freeTo(10);
  t.equal(window.count, 2);
  t.end();
});
