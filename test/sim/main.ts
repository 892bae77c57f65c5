import { spawn, execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Outcome } from './simulation.js';
import { simulate } from './simulation.js';
import { exitCodes } from './verdict.js';

/**
 * `npm run sim -- [--seed N | --seeds A..B] [--minutes M] [--steps K] [--jobs J] [--trace]`
 * Exit codes: 0 all seeds passed, 2 wrong arguments, 10 a crash, 11 a safety violation, 12 no convergence, 13 undecided.
 */
const usage = 'usage: npm run sim -- [--seed N | --seeds A..B] [--minutes M] [--steps K] [--jobs J] [--trace]';

function fail(problem: string): never {
  console.error(`${problem}\n${usage}`);
  process.exit(2);
}

const options = {
  seed: { type: 'string' },
  seeds: { type: 'string', default: '1..20' },
  minutes: { type: 'string' },
  steps: { type: 'string' },
  jobs: { type: 'string' },
  trace: { type: 'boolean', default: false },
  every: { type: 'string', default: '1' },
} as const;

function parse(): ReturnType<typeof parseArgs<{ options: typeof options }>>['values'] {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return fail((error as Error).message);
  }
}

function numberOf(value: unknown, name: string, least: number): number {
  const number = Number(value);
  return Number.isSafeInteger(number) && number >= least
    ? number
    : fail(`--${name} is a whole number from ${least} on`);
}

const values = parse();
const range = /^(\d+)\.\.(\d+)$/.exec(values.seed === undefined ? values.seeds : `${values.seed}..${values.seed}`);
if (range === null) fail('--seeds is A..B');
const first = Number(range[1]);
const minutes = values.minutes === undefined ? Infinity : numberOf(values.minutes, 'minutes', 1);
const last = values.minutes !== undefined && values.seed === undefined ? Infinity : Number(range[2]);
const steps = values.steps === undefined ? {} : { steps: numberOf(values.steps, 'steps', 1) };
const every = numberOf(values.every, 'every', 1);
const jobs = values.jobs === undefined ? availableParallelism() : numberOf(values.jobs, 'jobs', 1);

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    // Not a checkout: an installed package, or no git.
    return 'unknown';
  }
}

/** Runs every `every`-th seed of the range in this process. */
async function runHere(): Promise<number> {
  const endMs = performance.now() + minutes * 60_000;
  let worst = 0;
  for (let seed = first; seed <= last && performance.now() < endMs; seed += every) {
    const startMs = performance.now();
    const outcome = await simulate(seed, { ...steps, keepTrace: values.trace });
    const realMs = performance.now() - startMs;
    if (values.trace) console.log(outcome.trace.join('\n'));
    console.log(lineOf(outcome, realMs));
    if (outcome.failure === null) continue;
    const { kind, problem } = outcome.failure;
    const again = [`--seed ${seed}`, ...(values.steps === undefined ? [] : [`--steps ${values.steps}`])].join(' ');
    console.error(`seed ${seed} at commit ${commit()}: ${kind}\n${problem}\nagain: npm run sim -- ${again} --trace`);
    worst = Math.max(worst, exitCodes[kind]);
  }
  return worst;
}

function lineOf({ seed, failure, counts, hash }: Outcome, realMs: number): string {
  const { answered, open, refused, faults, shards, compared, virtualMs } = counts;
  const speed = (virtualMs / realMs).toFixed(0);
  return `seed ${seed} ${failure?.kind ?? 'ok'}: ${answered} answered, ${open} open, ${refused} refused, ${faults} faults, ${shards} shards, ${compared} comparisons, ${(virtualMs / 1000).toFixed(0)} s at ${speed} x real time, trace ${hash.slice(0, 12)}`;
}

/** Shares the range among processes. */
async function runInChildren(): Promise<number> {
  const startMs = performance.now();
  const codes = await Promise.all(
    Array.from({ length: jobs }, (_, job) => {
      const share = [
        '--seeds',
        `${first + job}..${last === Infinity ? first + job : last}`,
        '--every',
        String(jobs),
        '--jobs',
        '1',
      ];
      const rest = (['minutes', 'steps'] as const).flatMap((name) => {
        const value = values[name];
        return typeof value === 'string' ? [`--${name}`, value] : [];
      });
      const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), ...share, ...rest], {
        stdio: 'inherit',
      });
      return new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? exitCodes.crash)));
    }),
  );
  const worst = Math.max(...codes);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${worst === 0 ? 'all seeds passed' : 'SOME SEEDS FAILED'} in ${seconds} s, commit ${commit()}`);
  return worst;
}

process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection', error);
  process.exit(exitCodes.crash);
});
process.exitCode = jobs === 1 || values.seed !== undefined ? await runHere() : await runInChildren();
