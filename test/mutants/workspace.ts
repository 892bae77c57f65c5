import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';
import { applyEdit } from './mutant.js';
import type { Edit } from './mutant.js';

/** A process that takes longer hangs. On a quiet core one test file needs about 1 s, all of the core's 10 s. */
const testTimeoutMs = 180_000;
/** A test process whose mutant makes work without end runs out of this, rather than of the machine's memory. */
const heapMaxMib = 512;

/** What a workspace has: the sources, and those tests that mutants are run with. */
const folders = [
  'src',
  'store',
  'placement',
  'test/raft',
  'test/multiraft',
  'test/placement',
  'test/sim',
  'test/linearizability',
  'test/support',
];

export type TestOutcome =
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly title: string }
  /** It took too long, or more memory than it may have. */
  | { readonly kind: 'ranAway' }
  /** It ended with an error before any test of it failed: the sources do not load. */
  | { readonly kind: 'broken'; readonly output: string };

/**
 * A copy of sources and tests outside the tree, in which one mutant at a time lives. Types are stripped, not checked: a process
 * for each mutant is to start fast.
 */
export class Workspace {
  private readonly root: string;
  /** As they were when the run began: somebody may go on editing them. */
  private readonly sources: ReadonlyMap<string, string>;

  private constructor(root: string, sources: ReadonlyMap<string, string>) {
    this.root = root;
    this.sources = sources;
  }

  static fresh(): Workspace {
    const files = folders.flatMap(typescriptFiles);
    const workspace = new Workspace(newRoot(), new Map(files.map((file) => [file, readFileSync(file, 'utf8')])));
    for (const [file, text] of workspace.sources) workspace.write(file, text);
    return workspace;
  }

  copy(): Workspace {
    const root = newRoot();
    for (const folder of folders) cpSync(join(this.root, folder), join(root, folder), { recursive: true });
    return new Workspace(root, this.sources);
  }

  private write(file: string, text: string): void {
    const path = join(this.root, file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(path), { recursive: true });
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
    };
    writeFileSync(path, ts.transpileModule(text, { compilerOptions }).outputText);
  }

  /** Makes the edits; the result undoes them. Throws when a text is not there exactly once. */
  apply(edits: readonly Edit[]): () => void {
    const mutated = new Map<string, string>();
    for (const edit of edits) {
      const before = mutated.get(edit.file) ?? this.sources.get(edit.file);
      if (before === undefined) throw new Error(`there is no ${edit.file}`);
      const result = applyEdit(before, edit);
      if ('problem' in result) throw new Error(result.problem);
      mutated.set(edit.file, result.text);
    }
    for (const [file, text] of mutated) this.write(file, text);
    return () => {
      for (const file of mutated.keys()) this.write(file, this.sources.get(file) ?? '');
    };
  }

  /** Runs test files, named as in a mutant's killedBy, in one process that ends at the first failure. */
  runTests(names: readonly string[]): Promise<TestOutcome> {
    const entry = join(this.root, 'entry.js');
    writeFileSync(entry, names.map((name) => `await import('./test/${name}.test.js');\n`).join(''));
    return new Promise((settle, fail) => {
      const child = spawn(process.execPath, [`--max-old-space-size=${String(heapMaxMib)}`, entry], {
        cwd: this.root,
        env: { ...process.env, TAP_BAIL: '1', TAP_TIMEOUT: '0' },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const chunks: Buffer[] = [];
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      let timedOut = false;
      const timer = setTimeout(() => {
        timedOut = true;
        child.kill('SIGKILL');
      }, testTimeoutMs);
      child.on('error', fail);
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        settle(
          timedOut || signal === 'SIGABRT'
            ? { kind: 'ranAway' }
            : outcomeOf(code, Buffer.concat(chunks).toString('utf8')),
        );
      });
    });
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

function newRoot(): string {
  const root = mkdtempSync(join(tmpdir(), 'skerry-mutants-'));
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }\n');
  symlinkSync(resolve('node_modules'), join(root, 'node_modules'));
  return root;
}

function typescriptFiles(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file));
}

/** The tests of the core, those that take longest last. */
export function coreTests(): readonly string[] {
  const names = readdirSync('test/raft')
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `raft/${file.slice(0, -'.test.ts'.length)}`);
  const slow = (name: string): number => (name === 'raft/random_group' ? 1 : 0);
  return names.sort((a, b) => slow(a) - slow(b) || a.localeCompare(b));
}

/** Tap's output up to the first failed assertion, whose test is the last that began before it. */
function outcomeOf(code: number | null, output: string): TestOutcome {
  const failure = /^ *not ok /m.exec(output);
  if (code === 0 && failure === null) return { kind: 'passed' };
  if (failure === null) return { kind: 'broken', output: output.split('\n').slice(-20).join('\n') };
  const begun = [...output.slice(0, failure.index).matchAll(/^ *# Subtest: (.*)$/gm)];
  return { kind: 'failed', title: begun.at(-1)?.[1] ?? 'outside of any test' };
}
