import { assert, must } from '../base/assert.js';
import type { EngineBatch } from './engine.js';
import { engineKeyBytesMax, engineValueBytesMax } from './limits.js';

export const putOp = 0;
export const deleteOp = 1;
/** The key is the start of the range, the value its end. */
export const deleteRangeOp = 2;

const none = Buffer.alloc(0);

/** Refuses keys that the engine keeps for itself (first byte zero), empty ones and those past the limit. */
export function assertKey(key: Buffer): void {
  assert(key.length > 0 && key.length <= engineKeyBytesMax && key[0] !== 0, 'an engine key is 1 to 8192 bytes, not 0…');
}

/** The batch of both engines: three parallel arrays, so that a put allocates nothing of its own. */
export class OpBatch implements EngineBatch {
  readonly kinds: number[] = [];
  readonly keys: Buffer[] = [];
  readonly values: Buffer[] = [];
  bytes = 0;
  hasRanges = false;
  private sealed = false;

  get count(): number {
    return this.kinds.length;
  }

  put(key: Buffer, value: Buffer): void {
    assertKey(key);
    assert(value.length <= engineValueBytesMax, 'an engine value is at most 64 MiB');
    this.add(putOp, key, value);
  }

  delete(key: Buffer): void {
    assertKey(key);
    this.add(deleteOp, key, none);
  }

  deleteRange(start: Buffer, end: Buffer): void {
    assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
    this.hasRanges = true;
    this.add(deleteRangeOp, start, end);
  }

  /** The operations so far from the given one on, in order. */
  visit(from: number, operation: (kind: number, key: Buffer, value: Buffer) => void): void {
    for (let i = from; i < this.kinds.length; i++) {
      operation(must(this.kinds[i], 'a kind'), must(this.keys[i], 'a key'), must(this.values[i], 'a value'));
    }
  }

  /** Called by write(): the batch belongs to the engine from now on. */
  seal(): void {
    assert(!this.sealed, 'a batch is written once');
    this.sealed = true;
  }

  private add(kind: number, key: Buffer, value: Buffer): void {
    assert(!this.sealed, 'a batch is not touched after write()');
    this.kinds.push(kind);
    this.keys.push(key);
    this.values.push(value);
    this.bytes += key.length + value.length;
  }
}
