import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { compares, firstDifference, normalText } from './compare.js';
import type { ComparisonMode } from './compare.js';
import { ConfChangeFile } from './confchange_file.js';
import { InteractionFile } from './interaction_file.js';
import { runQuorumDirective } from './quorum_file.js';
import { parseScript } from './script.js';
import type { Directive } from './script.js';

export interface FileResult {
  readonly file: string;
  readonly directives: number;
  /** The first difference, broken invariant or error; null: passed. */
  readonly failure: string | null;
}

/** All .txt files below a folder, in order. */
export function scriptFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.txt'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** The name of its folder says what kind of file it is; elsewhere its first command does. */
export function runFile(path: string, mode: ComparisonMode = 'unordered'): FileResult {
  let directives: Directive[];
  try {
    directives = parseScript(readFileSync(path, 'utf8'));
  } catch (e) {
    return { file: path, directives: 0, failure: String(e) };
  }
  return { file: path, directives: directives.length, failure: runDirectives(path, directives, mode) };
}

function runDirectives(path: string, directives: readonly Directive[], wanted: ComparisonMode): string | null {
  const { run, pure } = runnerOf(path, directives);
  const mode = pure ? 'exact' : wanted;
  for (const d of directives) {
    const at = `${basename(path)}:${String(d.line)}: ${d.command}`;
    let actual: string;
    try {
      actual = run(d);
    } catch (e) {
      return `${at}\n${e instanceof Error ? (e.stack ?? e.message) : String(e)}`;
    }
    if (!compares(mode, d.command)) continue;
    const difference = firstDifference(normalText(actual, mode), normalText(d.expected, mode));
    if (difference !== null) return `${at}\n${difference}`;
  }
  return null;
}

function runnerOf(path: string, directives: readonly Directive[]): { run: (d: Directive) => string; pure: boolean } {
  const command = directives[0]?.command ?? '';
  const folder = basename(dirname(path));
  if (folder === 'quorum' || command === 'vote' || command === 'committed')
    return { run: runQuorumDirective, pure: true };
  if (folder === 'confchange' || ['simple', 'enter-joint', 'leave-joint'].includes(command)) {
    const file = new ConfChangeFile();
    return { run: (d) => file.run(d), pure: true };
  }
  const file = new InteractionFile();
  return { run: (d) => file.run(d), pure: false };
}
