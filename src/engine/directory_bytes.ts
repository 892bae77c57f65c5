import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Bytes of all files in the directory of a database. */
export function directoryBytes(directory: string): number {
  let bytes = 0;
  for (const name of readdirSync(directory)) {
    // A file may be deleted by a compaction between the listing and this.
    bytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}
