/** A replacement in one source file. The text must occur in it exactly once. */
export interface Edit {
  /** Relative to the repository, e.g. `src/raft/election.ts`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A deliberate fault, made by hand, that some test has to find. */
export interface Mutant {
  /** Unique, kebab-case: what the broken code does. */
  readonly name: string;
  /** What it breaks: an invariant of docs/invariants.md, a section of the paper or thesis, or a known fault of peers. */
  readonly breaks: string;
  readonly edits: readonly Edit[];
  /** Tests that are run first, as `raft/election` for test/raft/election.test.ts. */
  readonly killedBy: readonly string[];
  /** Only for a mutant that no test can tell from the original: the proof of it. */
  readonly equivalent?: string;
}

/** One line of a table: most mutants are one edit in src/raft and have one test file. */
export function mutant(
  name: string,
  breaks: string,
  killedBy: string,
  file: string,
  find: string,
  replace: string,
): Mutant {
  return { name, breaks, edits: [inCore(file, find, replace)], killedBy: [`raft/${killedBy}`] };
}

/** An edit of a file of the Raft core. */
export function inCore(file: string, find: string, replace: string): Edit {
  return { file: `src/raft/${file}.ts`, find, replace };
}

/** The text with the edit made, or why it cannot be made. */
export function applyEdit(text: string, edit: Edit): { text: string } | { problem: string } {
  const pieces = text.split(edit.find);
  if (pieces.length !== 2) {
    const times = String(pieces.length - 1);
    return { problem: `its text occurs ${times} times in ${edit.file}, not once:\n${indented(edit.find)}` };
  }
  return { text: pieces.join(edit.replace) };
}

function indented(text: string): string {
  return text
    .split('\n')
    .map((line) => `      | ${line}`)
    .join('\n');
}
