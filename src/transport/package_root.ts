import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The folder that holds the package's proto/, whether this file runs from the sources or compiled below dist/.
 * @throws Error when the package is not whole.
 */
export function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'proto', 'skerry', 'v1', 'kv.proto'))) return folder;
    if (dirname(folder) === folder) {
      throw new Error(`no proto/skerry/v1 in any folder above ${start}: reinstall the package`);
    }
  }
}
