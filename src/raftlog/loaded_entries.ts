import { must } from '../base/assert.js';
import type { Entry } from '../raft/message.js';

interface LoadedRange {
  readonly groupId: number;
  readonly first: number;
  readonly addresses: readonly number[];
  readonly entries: readonly Entry[];
  readonly bytes: number;
}

/**
 * Entries that were read back from disk, until they are asked for. Bounded in bytes, the oldest range
 * goes first; the newest always stays, so that what was just loaded can be had. An entry is given out only
 * while its address is still the group's: a replaced entry is never found here.
 */
export class LoadedEntries {
  private readonly bytesMax: number;
  private readonly ranges: LoadedRange[] = [];
  private readonly byGroup = new Map<number, LoadedRange[]>();
  private heldBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.heldBytes;
  }

  find(groupId: number, index: number, address: number): Entry | null {
    const ranges = this.byGroup.get(groupId);
    if (ranges === undefined) return null;
    for (const range of ranges) {
      const at = index - range.first;
      if (range.addresses[at] === address) return range.entries[at] ?? null;
    }
    return null;
  }

  /** Takes entries of consecutive indexes with the addresses that they were read from. */
  add(groupId: number, entries: readonly Entry[], addresses: readonly number[]): void {
    const first = entries[0]?.index;
    if (first === undefined) return;
    let bytes = 0;
    for (const entry of entries) bytes += entry.data.length;
    const range: LoadedRange = { groupId, first, addresses, entries, bytes };
    this.ranges.push(range);
    const ofGroup = this.byGroup.get(groupId);
    if (ofGroup === undefined) this.byGroup.set(groupId, [range]);
    else ofGroup.unshift(range);
    this.heldBytes += bytes;
    while (this.heldBytes > this.bytesMax && this.ranges.length > 1) this.forgetOldest();
  }

  private forgetOldest(): void {
    const range = must(this.ranges.shift(), 'oldest range');
    this.heldBytes -= range.bytes;
    const ofGroup = must(this.byGroup.get(range.groupId), 'ranges of a group');
    if (ofGroup.length === 1) this.byGroup.delete(range.groupId);
    else ofGroup.splice(ofGroup.indexOf(range), 1);
  }
}
