import { parseArgs } from 'node:util';
import { simulate } from './store_simulation.js';

/**
 * `npm run sim -- [--seed N | --seeds A..B] [--steps K]`
 * Exit codes: 0 all seeds passed, 2 wrong arguments, 10 a crash, 11 a safety violation, 12 no convergence.
 */
const exitCodes = { crash: 10, safety: 11, liveness: 12 } as const;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1..20' },
    steps: { type: 'string', default: '100' },
  },
});
const range = /^(\d+)\.\.(\d+)$/.exec(values.seed === undefined ? values.seeds : `${values.seed}..${values.seed}`);
const steps = Number(values.steps);
if (range === null || !Number.isSafeInteger(steps) || steps < 1) {
  console.error('usage: npm run sim -- [--seed N | --seeds A..B] [--steps K]');
  process.exit(2);
}

const started = performance.now();
for (let seed = Number(range[1]); seed <= Number(range[2]); seed++) {
  const verdict = await simulate(seed, steps);
  if (verdict.kind !== 'ok') {
    console.error(
      `seed ${seed}: ${verdict.kind}\n${verdict.problem}\nagain: npm run sim -- --seed ${seed} --steps ${steps}`,
    );
    process.exit(exitCodes[verdict.kind]);
  }
  const { writes, reads, swaps, undetermined, faults, shards } = verdict.counts;
  console.log(
    `seed ${seed} ok: ${writes} writes, ${reads} reads, ${swaps} swaps, ${undetermined} open, ${faults} faults, ${shards} shards, trace ${verdict.hash.slice(0, 12)}`,
  );
}
console.log(`all seeds passed in ${((performance.now() - started) / 1000).toFixed(1)} s`);
