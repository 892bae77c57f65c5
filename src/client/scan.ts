import { assert } from '../base/assert.js';
import { encodeKey, partitioningHash } from '../base/encoded_key.js';
import type { Row } from '../wire/kv_codec.js';
import type { ClientCore } from './client_core.js';
import { invalidArgument } from './errors.js';
import type { ScanBounds, ScanPage } from './operation.js';
import { ScanOperation } from './operation.js';

const noKey: Buffer = Buffer.alloc(0);

export interface ScanRequest {
  /** User keys; empty: open. */
  readonly start: Buffer;
  readonly end: Buffer;
  readonly prefix: Buffer;
  /** Infinity: all. */
  readonly limit: number;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  readonly pageSize: number;
  readonly consistency: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

interface Range {
  readonly startKey: Buffer;
  /** Empty: the end of the keyspace. */
  readonly endKey: Buffer;
}

/**
 * Walks the shards of a keyspace in the order of their encoded keys, a page at a time; the next page is fetched while
 * the caller looks at this one. Each page is consistent in itself; the walk as a whole is not one point in time.
 */
export async function* scanRows(core: ClientCore, request: ScanRequest): AsyncGenerator<Row, void, undefined> {
  let range: Range | null = encodedRange(core.keyspace.partitioning, request);
  let remaining = request.limit;
  let pending: Promise<ScanPage> | null = range === null ? null : fetchPage(core, request, range, remaining);
  try {
    while (pending !== null && range !== null) {
      const page: ScanPage = await pending;
      remaining -= page.rows.length;
      range = remaining > 0 ? rangeAfter(page, range, request.reverse) : null;
      pending = range === null ? null : fetchPage(core, request, range, remaining);
      // Copies: a view would pin the whole page for as long as one row is kept.
      for (const row of page.rows) yield { key: Buffer.from(row.key), value: Buffer.from(row.value) };
    }
  } finally {
    // The caller may stop early; then nobody awaits the page that is on its way.
    pending?.catch(() => undefined);
  }
}

/** What of the keyspace a scan walks; null: nothing. */
export function encodedRange(
  partitioning: number,
  request: Pick<ScanRequest, 'start' | 'end' | 'prefix'>,
): Range | null {
  const { start, end, prefix } = request;
  if (partitioning === partitioningHash) {
    if (start.length > 0 || end.length > 0) {
      throw invalidArgument(
        start.length > 0 ? 'start' : 'end',
        'NEEDS_RANGE_KEYSPACE',
        'a hash keyspace has no order of keys to bound; scan by prefix, or use a range keyspace',
      );
    }
    // A prefix with a whole hash tag names the token of all of its keys.
    if (!hasHashTag(prefix)) return { startKey: noKey, endKey: noKey };
    const startKey = encodeKey(partitioning, prefix);
    return { startKey, endKey: endOfPrefix(startKey) };
  }
  const prefixEnd = endOfPrefix(prefix);
  const startKey = start.compare(prefix) > 0 ? start : prefix;
  const endKey = end.length === 0 || (prefixEnd.length > 0 && prefixEnd.compare(end) < 0) ? prefixEnd : end;
  return endKey.length > 0 && startKey.compare(endKey) >= 0 ? null : { startKey, endKey };
}

function hasHashTag(prefix: Buffer): boolean {
  const open = prefix.indexOf('{');
  return open !== -1 && prefix.indexOf('}', open + 1) > open + 1;
}

/** The first key past all keys with a prefix; empty: there is none. */
export function endOfPrefix(prefix: Buffer): Buffer {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return noKey;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

function fetchPage(core: ClientCore, request: ScanRequest, range: Range, remaining: number): Promise<ScanPage> {
  const bounds: ScanBounds = {
    ...range,
    limit: Math.min(request.pageSize, remaining),
    reverse: request.reverse,
    keysOnly: request.keysOnly,
    prefix: request.prefix,
  };
  return new Promise((resolve, reject) => {
    const init = {
      key: request.reverse ? noKey : range.startKey,
      consistency: request.consistency,
      deadlineMs: core.runtime.nowMs() + request.timeoutMs,
      bytes: range.startKey.length + range.endKey.length,
      reject,
    };
    core.submit(new ScanOperation(init, bounds, resolve), request.signal);
  });
}

/** What is left of a range after a page of it; null: nothing. */
function rangeAfter(page: ScanPage, range: Range, reverse: boolean): Range | null {
  const { startKey, endKey } = range;
  if (reverse) {
    const next = page.more ? page.nextKey : page.shard.startKey;
    assert(endKey.length === 0 || next.compare(endKey) < 0, 'a page of a reverse scan moves down');
    return next.length === 0 || next.compare(startKey) <= 0 ? null : { startKey, endKey: Buffer.from(next) };
  }
  const next = page.more ? page.nextKey : page.shard.endKey;
  assert(next.length === 0 || next.compare(startKey) > 0, 'a page of a scan moves up');
  const over = next.length === 0 || (endKey.length > 0 && next.compare(endKey) >= 0);
  return over ? null : { startKey: Buffer.from(next), endKey };
}
