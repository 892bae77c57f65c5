import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { packageRoot } from '../../../src/cli/playground/package_root.js';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts bin/skerry.js, compiled, or from source when this test runs from source. */
export function startSkerry(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const fromSource = import.meta.url.endsWith('.ts');
  const child = spawn(
    process.execPath,
    [...(fromSource ? ['--import', 'tsx'] : []), `${packageRoot}/bin/skerry.js`, ...args],
    {
      env: {
        ...process.env,
        SKERRY_PLACEMENT: undefined,
        SKERRY_KEYSPACE: undefined,
        ...(fromSource ? { SKERRY_FROM_SOURCE: '1' } : {}),
        ...options.env,
      },
      stdio: 'pipe',
    },
  );
  child.stdin.end(options.input);
  return child;
}

/** Runs bin/skerry.js to its end. */
export function runSkerry(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return ended(startSkerry(args, options));
}

export function ended(child: ChildProcess): Promise<Ended> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) =>
      resolve({ code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
  });
}

/** `skerry` as a shell can run it. */
export function skerryInShell(): string {
  const loader = import.meta.url.endsWith('.ts') ? ' --import tsx' : '';
  return `"${process.execPath}"${loader} "${packageRoot}/bin/skerry.js"`;
}
