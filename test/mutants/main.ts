import { writeSync } from 'node:fs';
import type { Mutant } from './mutant.js';
import { mutants } from './table.js';
import { coreTests, Workspace } from './workspace.js';

/*
 * npm run mutants [-- --only NAME]: breaks the Raft core in one place at a time and runs its tests, first those that should
 * notice. Prints a line per mutant and `N killed, N survived`. Exit code: 0 every mutant was killed or is explained,
 * 1 one survived without an explanation, 2 usage, a table that does not fit the sources, or tests that fail without a mutant.
 */

/** Mutants at a time. */
const jobs = 2;

type Fate =
  | { readonly kind: 'killed'; readonly by: string }
  | { readonly kind: 'survived' }
  | { readonly kind: 'error'; readonly problem: string };

function print(line: string): void {
  writeSync(1, `${line}\n`);
}

/** Runs tasks on `workspaces.length` workspaces, each of which does one at a time. */
async function onEach<T>(
  workspaces: readonly Workspace[],
  tasks: readonly T[],
  work: (workspace: Workspace, task: T) => Promise<void>,
): Promise<void> {
  const queue = [...tasks];
  const worker = async (workspace: Workspace): Promise<void> => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) await work(workspace, task);
  };
  await Promise.all(workspaces.map(worker));
}

async function fateOf(workspace: Workspace, mutant: Mutant): Promise<Fate> {
  let undo;
  try {
    undo = workspace.apply(mutant.edits);
  } catch (e) {
    return { kind: 'error', problem: e instanceof Error ? e.message : String(e) };
  }
  try {
    const others = coreTests().filter((test) => !mutant.killedBy.includes(test));
    for (const tests of [mutant.killedBy, others]) {
      const outcome = await workspace.runTests(tests);
      if (outcome.kind === 'broken') return { kind: 'error', problem: `it does not load:\n${outcome.output}` };
      if (outcome.kind === 'ranAway') return { kind: 'killed', by: `TIME-OUT OR MEMORY of ${tests.join(', ')}` };
      const where = tests === others ? ', a test elsewhere' : '';
      if (outcome.kind === 'failed') return { kind: 'killed', by: `"${outcome.title}"${where}` };
    }
    return { kind: 'survived' };
  } finally {
    undo();
  }
}

/** The tests have to pass as the sources are; false if one does not. */
async function checkUnmutated(workspaces: readonly Workspace[], chosen: readonly Mutant[]): Promise<boolean> {
  const failures: string[] = [];
  const hostTests = new Set(chosen.flatMap((m) => m.killedBy).filter((test) => !coreTests().includes(test)));
  const runs = [coreTests(), [...hostTests]].filter((tests) => tests.length > 0);
  await onEach(workspaces, runs, async (workspace, tests) => {
    const outcome = await workspace.runTests(tests);
    if (outcome.kind === 'passed') return;
    failures.push(
      `without any mutant: ${outcome.kind} ${outcome.kind === 'failed' ? outcome.title : tests.join(', ')}`,
    );
    if (outcome.kind === 'broken') failures.push(outcome.output);
  });
  for (const failure of failures) print(failure);
  if (failures.length === 0) print(`${String(runs.flat().length)} test files pass on the unmutated sources`);
  return failures.length === 0;
}

function report(mutant: Mutant, fate: Fate): void {
  switch (fate.kind) {
    case 'killed':
      print(`killed    ${mutant.name} [${mutant.breaks}] by ${fate.by}`);
      break;
    case 'survived':
      print(`SURVIVED  ${mutant.name} [${mutant.breaks}]`);
      if (mutant.equivalent !== undefined) print(`          equivalent: ${mutant.equivalent}`);
      break;
    case 'error':
      print(`ERROR     ${mutant.name}: ${fate.problem}`);
      break;
  }
}

async function runMutants(workspaces: readonly Workspace[], chosen: readonly Mutant[]): Promise<number> {
  if (!(await checkUnmutated(workspaces, chosen))) return 2;
  const counts = { killed: 0, survived: 0, error: 0 };
  let unexplained = 0;
  await onEach(workspaces, chosen, async (workspace, mutant) => {
    const fate = await fateOf(workspace, mutant);
    counts[fate.kind]++;
    if (fate.kind === 'survived' && mutant.equivalent === undefined) unexplained++;
    report(mutant, fate);
  });
  if (counts.error > 0) print(`${String(counts.error)} mutants could not be made: the table does not fit the sources`);
  print(`${String(counts.killed)} killed, ${String(counts.survived)} survived`);
  return counts.error > 0 ? 2 : unexplained > 0 ? 1 : 0;
}

function abandon(workspaces: readonly Workspace[]): void {
  for (const workspace of workspaces) workspace.remove();
  process.exit(130);
}

async function main(args: readonly string[]): Promise<number> {
  const [option, name] = args;
  const usage = args.length !== 0 && !(args.length === 2 && option === '--only');
  const chosen = usage ? [] : mutants.filter((m) => name === undefined || m.name === name);
  if (chosen.length === 0) {
    print(usage ? 'usage: mutants [--only NAME]' : `no mutant is called ${String(name)}`);
    return 2;
  }
  const first = Workspace.fresh();
  const workspaces = [first];
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => abandon(workspaces));
  try {
    while (workspaces.length < Math.min(jobs, chosen.length)) workspaces.push(first.copy());
    return await runMutants(workspaces, chosen);
  } finally {
    for (const workspace of workspaces) workspace.remove();
  }
}

process.exitCode = await main(process.argv.slice(2));
