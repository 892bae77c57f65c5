import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { Group } from '../../src/raftlog/group.js';
import { blockSlots, SlotPool } from '../../src/raftlog/slot_pool.js';

interface Place {
  address: number;
  length: number;
  term: number;
}

function groupOver(slots: SlotPool): { group: Group; liveBytes: () => number } {
  let live = 0;
  const group = new Group(1, {
    slots,
    cachedEntry: () => null,
    loadEntries: () => Promise.resolve(),
    addLive: (_address, bytes) => void (live += bytes),
    removeLive: (_address, bytes) => void (live -= bytes),
    moveAnchor: () => undefined,
  });
  return { group, liveBytes: () => live };
}

t.test('the index of a group is an array of places, whatever is appended, cut, compacted, moved or reset', (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const slots = new SlotPool();
    // Two groups over one pool: a block that one gives back is taken by the other.
    const sides = [groupOver(slots), groupOver(slots)].map((side) => ({ ...side, base: 0, model: [] as Place[] }));
    for (let step = 0; step < 400; step++) {
      const side = must(sides[step % 2], 'a side');
      const { group, model } = side;
      const place = { address: 1 + prng.int(0, 2 ** 40), length: prng.int(0, 300), term: prng.int(1, 2 ** 50) };
      const action = prng.int(0, 9);
      if (action <= 4) {
        for (let n = prng.int(1, 3 * blockSlots); n > 0; n--) {
          group.push(place.address, place.length, place.term);
          model.push(place);
        }
      } else if (action === 5) {
        const kept = prng.int(0, model.length);
        group.truncate(side.base + kept);
        model.length = kept;
      } else if (action <= 7) {
        const count = prng.int(0, model.length + 2);
        group.compact(side.base + count, 1);
        model.splice(0, count);
        side.base += count;
      } else if (action === 8 && model.length > 0) {
        const at = prng.int(0, model.length - 1);
        group.place(side.base + at + 1, place.address, place.length, place.term);
        model[at] = place;
      } else if (prng.chance(0.2)) {
        side.base = prng.int(0, 1000);
        group.reset(side.base, 1);
        model.length = 0;
      }
      const last = group.lastIndex();
      if (last !== side.base + model.length) t.fail(`seed ${seed}: last index ${last}`);
    }
    for (const { group, model, base, liveBytes } of sides) {
      const found = model.map((_, i) => ({
        address: group.addressOf(base + i + 1),
        length: group.dataLengthOf(base + i + 1),
        term: group.term(base + i + 1),
      }));
      t.same(found, model, `seed ${seed}`);
      t.equal(group.addressOf(base), undefined);
      t.equal(group.addressOf(group.lastIndex() + 1), undefined);
      t.equal(group.term(group.lastIndex() + 1), 'unavailable');
      t.equal(
        liveBytes(),
        model.reduce((sum, p) => sum + p.length + 17, 0),
      );
    }
    const needed = sides.map(({ model }) => Math.ceil(model.length / blockSlots));
    const spare = slots.heldBlocks - needed.reduce((a, b) => a + b);
    t.ok(spare >= 0 && spare <= sides.length, `seed ${seed}: at most one block of a group is not full of its entries`);
    for (const { group } of sides) group.reset(0, 0);
    t.equal(slots.heldBlocks, 0, 'all blocks are given back');
  }
  t.end();
});
