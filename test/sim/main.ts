import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { simCases } from '../placement/simulator/cases.js';
import { printCases } from '../placement/simulator/print_cases.js';
import { findMutant, simMutants } from './mutants.js';
import type { PlanChange } from './plan.js';
import type { Outcome } from './simulation.js';
import { simulate } from './simulation.js';
import { exitCodes } from './verdict.js';

/**
 * `npm run sim -- [--seed N | --seeds A..B] [--minutes M] [--jobs J] [--trace] [--first] [--mutant NAME]`
 * `npm run sim -- --mutants [--seeds A..B]`: plants each bug of mutants.ts and looks for it; passes if all are found.
 * `npm run sim -- placement [CASE]`: placement alone, with many stores and shards (test/placement/simulator).
 * --first ends at the first seed that fails. --steps, --stores and --shards take the place of what the seed would choose.
 * Exit codes: 0 all seeds passed, 2 wrong arguments, 10 a crash, 11 a safety violation, 12 no convergence, 13 undecided.
 */
const usage =
  'usage: npm run sim -- [--seed N | --seeds A..B] [--minutes M] [--jobs J] [--trace] [--first] [--mutant NAME]\n' +
  '                       [--steps K] [--stores S] [--shards H]\n' +
  '       npm run sim -- --mutants [--seeds A..B]\n' +
  '       npm run sim -- placement [CASE]';

function fail(problem: string): never {
  console.error(`${problem}\n${usage}`);
  process.exit(2);
}

const options = {
  seed: { type: 'string' },
  seeds: { type: 'string', default: '1..20' },
  minutes: { type: 'string' },
  steps: { type: 'string' },
  stores: { type: 'string' },
  shards: { type: 'string' },
  jobs: { type: 'string' },
  trace: { type: 'boolean', default: false },
  every: { type: 'string', default: '1' },
  first: { type: 'boolean', default: false },
  mutant: { type: 'string' },
  mutants: { type: 'boolean', default: false },
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

/** The simulator of placement ends the process. */
function runPlacement([name, ...rest]: readonly string[]): never {
  if (rest.length > 0) fail('placement takes one case');
  const names = simCases.map((simCase) => simCase.name);
  if (name !== undefined && !names.includes(name)) fail(`no case is named ${name}; there are ${names.join(', ')}`);
  printCases(name);
  process.exit(0);
}

const [, , command, ...rest] = process.argv;
if (command === 'placement') runPlacement(rest);
const values = parse();
const range = /^(\d+)\.\.(\d+)$/.exec(values.seed === undefined ? values.seeds : `${values.seed}..${values.seed}`);
if (range === null) fail('--seeds is A..B');
const first = Number(range[1]);
const minutes = values.minutes === undefined ? Infinity : numberOf(values.minutes, 'minutes', 1);
const last = values.minutes !== undefined && values.seed === undefined ? Infinity : Number(range[2]);
/** What the seed does not decide. */
const change: PlanChange = {
  ...(values.steps === undefined ? {} : { steps: numberOf(values.steps, 'steps', 1) }),
  ...(values.stores === undefined ? {} : { stores: numberOf(values.stores, 'stores', 3) }),
  ...(values.shards === undefined ? {} : { shards: numberOf(values.shards, 'shards', 1) }),
};
const changeArguments = (['steps', 'stores', 'shards'] as const).flatMap((name) => {
  const value = values[name];
  return value === undefined ? [] : [`--${name}`, value];
});
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
    const outcome = await simulate(seed, { ...change, keepTrace: values.trace });
    const realMs = performance.now() - startMs;
    if (values.trace) console.log(outcome.trace.join('\n'));
    console.log(lineOf(outcome, realMs));
    if (outcome.failure === null) continue;
    const { kind, problem } = outcome.failure;
    const again = [`--seed ${seed}`, ...changeArguments].join(' ');
    console.error(`seed ${seed} at commit ${commit()}: ${kind}\n${problem}\nagain: npm run sim -- ${again} --trace`);
    worst = Math.max(worst, exitCodes[kind]);
    if (values.first) break;
  }
  return worst;
}

function lineOf({ seed, failure, counts, hash }: Outcome, realMs: number): string {
  const { answered, open, refused, faults, shards, merged, compared, virtualMs } = counts;
  const speed = (virtualMs / realMs).toFixed(0);
  return `seed ${seed} ${failure?.kind ?? 'ok'}: ${answered} answered, ${open} open, ${refused} refused, ${faults} faults, ${shards} shards, ${merged} merged, ${compared} comparisons, ${(virtualMs / 1000).toFixed(0)} s at ${speed} x real time, trace ${hash.slice(0, 12)}`;
}

/** Shares the range among processes; with --first the others end when one has found something. */
async function runInChildren(): Promise<number> {
  const startMs = performance.now();
  const children: ChildProcess[] = [];
  const ends = Array.from({ length: jobs }, async (_, job) => {
    const share = ['--seeds', `${first + job}..${last === Infinity ? first + job : last}`, '--every', String(jobs)];
    const rest = values.minutes === undefined ? changeArguments : [...changeArguments, '--minutes', values.minutes];
    const child = startChild([...share, '--jobs', '1', ...rest, ...(values.first ? ['--first'] : [])], 'inherit');
    children.push(child);
    const code = await endOf(child);
    if (code !== 0 && values.first) for (const other of children) if (other.exitCode === null) other.kill();
    return code;
  });
  const worst = Math.max(...(await Promise.all(ends)));
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${worst === 0 ? 'all seeds passed' : 'SOME SEEDS FAILED'} in ${seconds} s, commit ${commit()}`);
  return worst;
}

function startChild(args: readonly string[], output: 'inherit' | 'pipe', mutant = values.mutant): ChildProcess {
  const plant = mutant === undefined ? [] : ['--import', new URL('./plant_mutant.js', import.meta.url).href];
  const env = mutant === undefined ? process.env : { ...process.env, SKERRY_SIM_MUTANT: mutant };
  const command = [...process.execArgv, ...plant, fileURLToPath(import.meta.url), ...args];
  return spawn(process.execPath, command, { stdio: ['ignore', output, output], env });
}

/** 0 for a child that was told to end. */
function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) =>
    child.on('exit', (code, signal) => resolve(signal === 'SIGTERM' ? 0 : (code ?? exitCodes.crash))),
  );
}

/** Plants one bug after the other. A bug that no seed of the range shows is a failure. */
async function huntMutants(): Promise<number> {
  let missed = 0;
  for (const { name, area, about } of simMutants) {
    const child = startChild(
      ['--seeds', `${first}..${last}`, '--jobs', String(jobs), '--first', '--mutant', name],
      'pipe',
      name,
    );
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const code = await endOf(child);
    const found = /^seed (\d+) at commit \S+: (crash|safety|liveness|unknown)\n(.*)$/m.exec(output);
    if (code === 0 || found === null) {
      missed++;
      console.log(`MISSED ${name} (${area}: ${about})${code === 0 ? '' : `\n${output}`}`);
    } else {
      console.log(
        `found ${name} (${area}: ${about}) with seed ${found[1] ?? ''}: ${found[2] ?? ''}: ${(found[3] ?? '').slice(0, 160)}`,
      );
    }
  }
  console.log(`${simMutants.length - missed} found, ${missed} missed`);
  return missed === 0 ? 0 : 1;
}

function run(): Promise<number> {
  if (values.mutants) return huntMutants();
  if (values.mutant !== undefined && findMutant(values.mutant) === undefined) {
    fail(`no mutant is named ${values.mutant}; there are ${simMutants.map((m) => m.name).join(', ')}`);
  }
  // A bug is planted while a process starts, so a planted run needs a process of its own.
  const planted = values.mutant === undefined || process.env['SKERRY_SIM_MUTANT'] === values.mutant;
  return planted && (jobs === 1 || values.seed !== undefined) ? runHere() : runInChildren();
}

process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection', error);
  process.exit(exitCodes.crash);
});
process.exitCode = await run();
