import { must } from '../../src/base/assert.js';
import type { TypedError } from '../../src/base/wire_errors.js';
import { failedPrecondition } from '../../src/base/wire_errors.js';
import { metadataBytesMax, metadataEntriesMax } from '../limits.js';
import type { CommandOutcome } from './commands.js';

export interface MetadataEntry {
  readonly key: string;
  readonly value: Buffer;
  /** Of the change that wrote it; changes of the table are counted from 1. */
  readonly version: number;
}

/**
 * Small entries for configuration and service discovery (Metadata in metadata.proto), in memory on every member. Keys are
 * ordered by their UTF-16 code units. Every change gets the next version, so that a version never comes twice, not even
 * for a key that was deleted and made again.
 */
export class MetadataTable {
  private readonly byKey = new Map<string, MetadataEntry>();
  private readonly sortedKeys: string[] = [];
  private sumBytes = 0;

  get size(): number {
    return this.byKey.size;
  }

  /** Of all keys and values. */
  get bytes(): number {
    return this.sumBytes;
  }

  get(key: string): MetadataEntry | undefined {
    return this.byKey.get(key);
  }

  /** Entries whose keys begin with the prefix and come after `after`, in order. */
  *list(prefix: string, after: string): IterableIterator<MetadataEntry> {
    let at = after < prefix ? this.firstAt(prefix) : this.firstAt(after);
    if (this.sortedKeys[at] === after && after !== '') at++;
    for (; at < this.sortedKeys.length; at++) {
      const key = must(this.sortedKeys[at], 'a key of the table');
      if (!key.startsWith(prefix)) return;
      yield must(this.byKey.get(key), 'an entry of a key');
    }
  }

  /** Null: the entry may be set. ifVersion undefined: whatever is there. */
  refusalOfSet(key: string, value: Buffer, ifVersion: number | undefined): TypedError | null {
    const before = this.byKey.get(key);
    const stale = this.versionRefusal(key, ifVersion);
    if (stale !== null) return stale;
    if (before === undefined && this.byKey.size >= metadataEntriesMax) {
      return failedPrecondition('METADATA_FULL', `the metadata table has its ${metadataEntriesMax} entries`);
    }
    const bytes = this.sumBytes + bytesOf(key, value) - (before === undefined ? 0 : bytesOf(key, before.value));
    if (bytes > metadataBytesMax) {
      return failedPrecondition('METADATA_FULL', `the metadata table would have more than ${metadataBytesMax} bytes`);
    }
    return null;
  }

  set(entry: MetadataEntry): void {
    const { key, value } = entry;
    const before = this.byKey.get(key);
    if (before === undefined) this.sortedKeys.splice(this.firstAt(key), 0, key);
    else this.sumBytes -= bytesOf(key, before.value);
    this.sumBytes += bytesOf(key, value);
    this.byKey.set(key, entry);
  }

  /** Value 1: there was an entry. */
  delete(key: string, ifVersion: number | undefined): CommandOutcome {
    const stale = this.versionRefusal(key, ifVersion);
    if (stale !== null) return { ok: false, error: stale };
    const before = this.byKey.get(key);
    if (before === undefined) return { ok: true, value: 0 };
    this.byKey.delete(key);
    this.sortedKeys.splice(this.firstAt(key), 1);
    this.sumBytes -= bytesOf(key, before.value);
    return { ok: true, value: 1 };
  }

  private versionRefusal(key: string, ifVersion: number | undefined): TypedError | null {
    const version = this.byKey.get(key)?.version ?? 0;
    if (ifVersion === undefined || ifVersion === version) return null;
    const message = version === 0 ? `there is no entry ${key}` : `entry ${key} has version ${version}`;
    return failedPrecondition('VERSION_NOT_MATCH', `${message}, and version ${ifVersion} was expected`);
  }

  /** Index of the first key that is not before this one. */
  private firstAt(key: string): number {
    let low = 0;
    let high = this.sortedKeys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (must(this.sortedKeys[middle], 'a key of the table') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function bytesOf(key: string, value: Buffer): number {
  return Buffer.byteLength(key, 'utf8') + value.length;
}
