import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import { runFile, scriptFiles } from './run_files.js';

/** A folder named from the root of the repository, wherever this file was compiled to. */
function findFolder(path: string): string | null {
  const starts = [process.cwd(), dirname(fileURLToPath(import.meta.url))];
  for (const start of starts) {
    for (let at = start; at !== dirname(at); at = dirname(at)) {
      const folder = resolve(at, path);
      if (existsSync(join(at, 'package.json')) && existsSync(folder)) return folder;
    }
  }
  return null;
}

function runAll(folder: string): void {
  const files = scriptFiles(folder);
  t.ok(files.length > 0, 'the folder has conformance files');
  for (const file of files) {
    const name = `${basename(dirname(file))}/${basename(file)}`;
    t.equal(runFile(file).failure, null, `the core does what ${name} says`);
  }
}

runAll(must(findFolder('test/conformance/cases'), 'the own cases'));

// Data of a peer project (DESIGN §3), beside the repository.
const folder = findFolder('../shared/raft-conformance');

if (folder === null) {
  const skipped = 'SKIPPED: there is no ../shared/raft-conformance beside this checkout; nothing was compared';
  process.stderr.write(`\n!!! ${skipped}\n\n`);
  t.pass(skipped);
} else {
  runAll(folder);
}
