import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import t from 'tap';
import { smallInteger } from '../../src/base/small_integer.js';
import { ConfChangeTransition, ConfChangeType, decodeConfChange, encodeConfChange } from '../../src/raft/index.js';
import { getU64, putU64 } from '../../src/raftlog/format.js';
import { SlotPool } from '../../src/raftlog/slot_pool.js';

setFlagsFromString('--allow-natives-syntax');
const isSmall = runInThisContext('(value) => %IsSmi(value)') as (value: number) => boolean;

t.test('a small integer is the same number, and one that V8 does not box', async (t) => {
  const boxed = new Float64Array([0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 53 - 1, 1.5]);
  for (let i = 0; i < boxed.length; i++) {
    const value = boxed[i] ?? 0;
    t.equal(smallInteger(value), value, String(value));
    t.equal(isSmall(smallInteger(value)), (value | 0) === value, `${value} is boxed only when it has to be`);
  }
});

t.test(
  'terms, lengths and ids read from bytes are small integers, so that messages keep their hidden class',
  async (t) => {
    const slots = new SlotPool();
    const slot = slots.take();
    slots.set(slot, 2 ** 40, 300, 7);
    t.ok(isSmall(slots.term(slot)), 'a term of the index');
    t.ok(isSmall(slots.length(slot)), 'a length of the index');
    const bytes = Buffer.alloc(8);
    putU64(bytes, 0, 9);
    t.ok(isSmall(getU64(bytes, 0)), 'a number of the Raft log');
    const change = encodeConfChange({
      transition: ConfChangeTransition.Auto,
      changes: [{ type: ConfChangeType.AddNode, replicaId: 42 }],
      context: Buffer.alloc(0),
    });
    t.ok(isSmall(decodeConfChange(change)?.changes[0]?.replicaId ?? NaN), 'a replica id of a change of membership');
  },
);
