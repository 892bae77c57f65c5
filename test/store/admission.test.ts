import t from 'tap';
import { Admission, Load } from '../../store/admission.js';
import { opOverheadBytes } from '../../store/limits.js';

const roomy = { streamOps: 100, streamBytes: 1e9, shardOps: 100, shardBytes: 1e9, storeOps: 100, storeBytes: 1e9 };

t.test(
  'past each bound the operation is refused by the name of the limit, and room that is given back is used',
  async (t) => {
    for (const [change, limit] of [
      [{ streamOps: 2 }, 'stream_in_flight'],
      [{ streamBytes: 2 * (10 + opOverheadBytes) }, 'stream_in_flight'],
      [{ shardOps: 2 }, 'shard_in_flight'],
      [{ shardBytes: 2 * (10 + opOverheadBytes) }, 'shard_in_flight'],
      [{ storeOps: 2 }, 'store_in_flight'],
      [{ storeBytes: 2 * (10 + opOverheadBytes) }, 'store_in_flight'],
    ] as const) {
      const admission = new Admission({ ...roomy, ...change });
      const stream = new Load();
      t.equal(admission.admit(stream, 1, 10), null);
      t.equal(admission.admit(stream, 1, 10), null);
      t.equal(admission.admit(stream, 1, 10), limit);
      t.equal(admission.refusals[limit], 1, 'counted for its limit');
      admission.release(stream, 1, 10);
      t.equal(admission.admit(stream, 1, 10), null, 'after a release');
    }
  },
);

t.test('one shard at its bound does not stop another, nor one stream another', async (t) => {
  const admission = new Admission({ ...roomy, shardOps: 1, streamOps: 2 });
  const stream = new Load();
  t.equal(admission.admit(stream, 1, 10), null);
  t.equal(admission.admit(stream, 1, 10), 'shard_in_flight');
  t.equal(admission.admit(stream, 2, 10), null);
  t.equal(admission.admit(stream, 3, 10), 'stream_in_flight');
  t.equal(admission.admit(new Load(), 3, 10), null);
  t.equal(admission.admit(null, 4, 10), null, 'a unary call has no stream');
});

t.test('a refused operation takes nothing', async (t) => {
  const admission = new Admission({ ...roomy, shardOps: 0 });
  const stream = new Load();
  t.equal(admission.admit(stream, 1, 10), null, 'the first of a shard is always taken');
  t.equal(admission.admit(stream, 1, 10), 'shard_in_flight');
  t.same([stream.ops, admission.store.ops], [1, 1]);
});
