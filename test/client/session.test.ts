import fc from 'fast-check';
import t from 'tap';
import { Session } from '../../src/client/session.js';
import type { SequencedWrite } from '../../src/client/session.js';

function write(session: Session): SequencedWrite {
  const made: SequencedWrite = { sequence: 0, place: null, morePlaces: null };
  session.number(made);
  return made;
}

t.test('sequences grow by one and are given once', async (t) => {
  const session = new Session();
  const first = write(session);
  t.equal(first.sequence, 1);
  t.equal(write(session).sequence, 2);
  t.throws(() => session.number(first), { name: 'AssertionError' });
});

t.test(
  'the floor of a shard is its smallest outstanding sequence, and the next sequence when it has none',
  async (t) => {
    const session = new Session();
    const [a, b, c] = [write(session), write(session), write(session)];
    session.placeIn(a, 10);
    session.placeIn(b, 20);
    session.placeIn(c, 10);
    t.equal(session.ackedBelow(10), 1);
    t.equal(session.ackedBelow(20), 2);
    t.equal(session.ackedBelow(30), 4);
    session.remove(a);
    session.remove(a);
    t.equal(session.ackedBelow(10), 3, 'a write of another shard does not hold it back');
  },
);

t.test('a write that waits for a retry holds its floor down', async (t) => {
  const session = new Session();
  const waiting = write(session);
  session.placeIn(waiting, 10);
  for (let i = 0; i < 100; i++) {
    const quick = write(session);
    session.placeIn(quick, 10);
    session.remove(quick);
  }
  t.equal(session.ackedBelow(10), waiting.sequence);
});

t.test('after a split the floors follow the keys', async (t) => {
  const session = new Session();
  const [left, right] = [write(session), write(session)];
  session.placeIn(left, 10);
  session.placeIn(right, 10);
  const displaced = session.displace([10]);
  t.same(
    displaced.map((w) => w.sequence),
    [1, 2],
  );
  session.placeIn(right, 11);
  session.placeIn(left, 10);
  t.equal(session.ackedBelow(10), 1);
  t.equal(session.ackedBelow(11), 2);
});

t.test('a write whose shard is not known comes up at every change of ranges', async (t) => {
  const session = new Session();
  const homeless = write(session);
  session.placeAmong(homeless, [null]);
  t.equal(session.ackedBelow(10), 2, 'it holds no known shard back');
  t.same(session.displace([]), [homeless]);
  session.placeIn(homeless, 10);
  t.same(session.displace([]), []);
  t.equal(session.ackedBelow(10), 1);
});

t.test('a write with keys in several shards holds each of them back', async (t) => {
  const session = new Session();
  const wide = write(session);
  session.placeAmong(wide, [10, 20, 10, null]);
  write(session);
  t.same([session.ackedBelow(10), session.ackedBelow(20), session.ackedBelow(30)], [1, 1, 3]);
  session.remove(wide);
  t.same([session.ackedBelow(10), session.ackedBelow(20)], [3, 3]);
  t.same(session.displace([]), []);
});

type Step = { kind: 'begin' | 'move' | 'end'; pick: number; shard: number };

t.test('floors are those of a plain model, whatever is begun, moved and ended', async () => {
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('begin', 'begin', 'move', 'end'),
    pick: fc.nat(),
    shard: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const session = new Session();
      const model = new Map<SequencedWrite, number>();
      let next = 1;
      for (const { kind, pick, shard } of steps) {
        const outstanding = [...model.keys()];
        const one = outstanding[pick % Math.max(1, outstanding.length)];
        if (kind === 'begin') {
          const begun = write(session);
          next++;
          session.placeIn(begun, shard);
          model.set(begun, shard);
        } else if (one !== undefined && kind === 'move') {
          session.placeIn(one, shard);
          model.set(one, shard);
        } else if (one !== undefined) {
          session.remove(one);
          model.delete(one);
        }
        for (let s = 1; s <= 4; s++) {
          const inShard = [...model].filter(([, where]) => where === s).map(([w]) => w.sequence);
          if (session.ackedBelow(s) !== Math.min(next, ...inShard)) return false;
        }
      }
      return true;
    }),
  );
});
