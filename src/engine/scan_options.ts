import { assert } from '../base/assert.js';
import type { ScanOptions } from './engine.js';
import { engineKeyBytesMax } from './limits.js';

/** Checks the options of a scan; both engines call it first. */
export function assertScan(options: ScanOptions): void {
  const { start, end, limit, maxBytes } = options;
  assert(Number.isSafeInteger(limit) && limit > 0, 'a scan asks for at least one row');
  assert(Number.isSafeInteger(maxBytes) && maxBytes > 0, 'a scan asks for at least one byte');
  assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
}
