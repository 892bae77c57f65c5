import t from 'tap';
import { assert, AssertionError, must } from '../../src/base/assert.js';
import { nodeRuntime } from '../../src/base/node_runtime.js';
import { Prng } from '../../src/base/prng.js';

t.test('the same seed gives the same numbers, another seed gives others', async (t) => {
  const take = (seed: number): number[] =>
    Array.from(
      { length: 100 },
      (
        (rng) => () =>
          rng.nextU32()
      )(new Prng(seed)),
    );
  t.same(take(7), take(7));
  t.not(take(7).join(), take(8).join());
});

t.test('int covers its bounds and nothing else', async (t) => {
  const rng = new Prng(1);
  const seen = new Set(Array.from({ length: 1000 }, () => rng.int(3, 5)));
  t.same([...seen].sort(), [3, 4, 5]);
});

t.test('assert and must throw AssertionError with the message given', async (t) => {
  t.throws(() => assert(false, () => 'late message'), new AssertionError('late message'));
  t.throws(() => must(null, 'thing'), AssertionError);
  t.equal(must(0, 'zero counts'), 0);
});

t.test('a cancelled timer does not run', async (t) => {
  const runtime = nodeRuntime();
  let ran = false;
  runtime.after(1, () => (ran = true)).cancel();
  await new Promise<void>((resolve) => void runtime.after(20, resolve));
  t.notOk(ran);
});
