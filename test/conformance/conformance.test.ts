import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { runFile, scriptFiles } from './run_files.js';

/** ../shared/raft-conformance beside the repository, wherever this file was compiled to. */
function findData(): string | null {
  const starts = [process.cwd(), dirname(fileURLToPath(import.meta.url))];
  for (const start of starts) {
    for (let at = start; at !== dirname(at); at = dirname(at)) {
      const folder = resolve(at, '..', 'shared', 'raft-conformance');
      if (existsSync(join(at, 'package.json')) && existsSync(folder)) return folder;
    }
  }
  return null;
}

const folder = findData();

if (folder === null) {
  const skipped = 'SKIPPED: there is no ../shared/raft-conformance beside this checkout; nothing was compared';
  process.stderr.write(`\n!!! ${skipped}\n\n`);
  t.pass(skipped);
} else {
  const files = scriptFiles(folder);
  t.ok(files.length > 0, 'the folder has conformance files');
  for (const file of files) {
    const name = `${basename(dirname(file))}/${basename(file)}`;
    t.equal(runFile(file).failure, null, `the core does what ${name} says`);
  }
}
