import { entryOverheadBytes } from '../limits.js';
import type { Entry } from '../message.js';

/** What an entry counts for where bytes of entries are limited. */
export function entryBytes(entry: Entry): number {
  return entry.data.length + entryOverheadBytes;
}

export function entriesBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}

/** How many entries of [from, to) fit bytesMax; at least one if there is any. */
export function countThatFit(entries: readonly Entry[], from: number, to: number, bytesMax: number): number {
  let bytes = 0;
  for (let i = from; i < to; i++) {
    const entry = entries[i];
    if (entry === undefined) return i - from;
    bytes += entryBytes(entry);
    if (bytes > bytesMax && i > from) return i - from;
  }
  return to - from;
}
