import { must } from '../base/assert.js';
import type { Entry } from '../raft/message.js';
import type { Group } from './group.js';
import { readBytesMax, readGapBytesMax } from './limits.js';
import { checkEntry, entryHeaderBytes } from './record_codec.js';
import type { SegmentTable } from './segment.js';

/** An entry that is wanted from disk. */
export interface WantedEntry {
  readonly group: Group;
  readonly index: number;
  readonly address: number;
  readonly length: number;
}

/** A wanted entry and what was found: null if its checksum does not fit. */
export type FoundEntry = WantedEntry & { readonly entry: Entry | null };

function endOf(wanted: WantedEntry): number {
  return wanted.address + entryHeaderBytes + wanted.length;
}

/** Splits wanted entries into runs that one read each serves. Moved entries may lie anywhere: a step back starts a run. */
export function planReads(wanted: readonly WantedEntry[], table: SegmentTable): WantedEntry[][] {
  const runs: WantedEntry[][] = [];
  let run: WantedEntry[] = [];
  for (const next of wanted) {
    const first = run[0];
    const last = run.at(-1);
    const joins =
      first !== undefined &&
      last !== undefined &&
      next.address >= endOf(last) &&
      next.address - endOf(last) <= readGapBytesMax &&
      endOf(next) - first.address <= readBytesMax &&
      table.find(next.address) === table.find(first.address);
    if (!joins) {
      run = [];
      runs.push(run);
    }
    run.push(next);
  }
  return runs;
}

/** Reads one run. Entry data are views of one buffer that holds little more than the entries. */
export async function readRun(run: readonly WantedEntry[], table: SegmentTable): Promise<FoundEntry[]> {
  const first = must(run[0], 'first entry of a run');
  const segment = must(table.find(first.address), 'segment of a wanted entry');
  const bytes = await segment.read(first.address, endOf(must(run.at(-1), 'last entry of a run')) - first.address);
  return run.map((w) => ({
    ...w,
    entry: checkEntry(bytes, w.address - first.address, w.group.groupId, w.index, w.length),
  }));
}
