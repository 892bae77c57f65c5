import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { comparisonModes } from './compare.js';
import { runFile, scriptFiles } from './run_files.js';

/*
 * npm run conformance -- DIR [MODE]: runs every file below DIR. Quorum and confchange files are compared exactly, interaction
 * files with logger lines stripped and a Ready's messages ordered per recipient. Exit code: 0 all passed, 1 some failed, 2 usage.
 */

function main(args: readonly string[]): number {
  const [folder, named = 'unordered'] = args;
  const mode = comparisonModes.find((m) => m === named);
  if (folder === undefined || !existsSync(folder) || mode === undefined) {
    process.stderr.write(
      `usage: conformance DIR [${comparisonModes.join('|')}] (DIR: a folder of conformance files)\n`,
    );
    return 2;
  }
  const results = scriptFiles(folder).map((file) => runFile(file, mode));
  for (const { file, failure, directives } of results) {
    const name = relative(folder, file);
    if (failure === null) process.stdout.write(`pass ${name} (${String(directives)} directives)\n`);
    else process.stdout.write(`FAIL ${name}\n${failure}\n`);
  }
  const failed = results.filter((r) => r.failure !== null).length;
  process.stdout.write(`mode: ${mode}\n${String(results.length - failed)} passed, ${String(failed)} failed\n`);
  return failed === 0 && results.length > 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
