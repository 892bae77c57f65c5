import t from 'tap';
import { simulate } from './store_simulation.js';

t.setTimeout(300_000);

t.test('a fixed set of seeds passes: no lost, doubled or stale value, and the cluster converges', async (t) => {
  for (let seed = 1; seed <= 6; seed++) {
    const verdict = await simulate(seed, 60);
    if (verdict.kind !== 'ok') t.fail(`seed ${seed}: ${verdict.kind}: ${verdict.problem}`);
    else t.ok(verdict.counts.writes > 20 && verdict.counts.reads > 20, `seed ${seed} did real work`);
  }
});

t.test('the same seed gives the same trace, another seed another one', async (t) => {
  const hashOf = async (seed: number): Promise<string> => {
    const verdict = await simulate(seed, 40);
    return verdict.kind === 'ok' ? verdict.hash : verdict.problem;
  };
  const first = await hashOf(7);
  t.equal(await hashOf(7), first);
  t.not(await hashOf(8), first);
});
