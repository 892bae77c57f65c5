import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('the package of skerry is incomplete: package.json is missing');
    directory = parent;
  }
  return directory;
}

/** The folder with package.json and bin/, for compiled code and source alike. */
export const packageRoot = findRoot();
