import { assert } from '../base/assert.js';
import type { Database, RawBatch, RocksdbBinding } from './rocksdb_binding.js';
import { deleteRangePointsMax, mergedBatchBytesMax } from './limits.js';
import { deleteRangeOp, putOp } from './op_batch.js';
import { firstKey, pastEveryKey, redoKey } from './reserved_keys.js';
import { visitOps } from './rocksdb_protocol.js';
import type { SizeMap } from './size_map.js';

/**
 * Writes batches with one raw RocksDB batch that is used again and again.
 *
 * Batches without ranges are merged until flush(). A batch with deleteRange goes alone, because the
 * binding cannot put a range tombstone into a batch:
 *
 *   every range holds at most deleteRangePointsMax keys
 *       its keys are read and deleted one by one in the same raw batch: one atomic write
 *   a range holds more
 *       1. the whole batch is written as the value of the redo key          (one atomic write)
 *       2. its operations run in order, each range as one range tombstone    (several writes)
 *       3. the last write deletes the redo key
 *       After a crash between 1 and 3, redo() at open runs 2 and 3 again. The operations are blind, so running
 *       a prefix of them twice ends in the same state. Nobody sees the states in between: reads and views are
 *       served by the thread that runs this, before 1 or after 3. A crash before 1 is on disk leaves the state before.
 *
 * RocksDB recovers a prefix of its log, so what the three steps rely on is their order, not a sync between them.
 */
export class BatchApplier {
  private readonly binding: RocksdbBinding;
  private readonly db: Database;
  private readonly sizes: SizeMap;
  private readonly raw: RawBatch;
  private rawCount = 0;
  private rawBytes = 0;

  constructor(binding: RocksdbBinding, db: Database, sizes: SizeMap) {
    this.binding = binding;
    this.db = db;
    this.sizes = sizes;
    this.raw = binding.batch_init();
  }

  /** Operations wait for flush(). */
  get dirty(): boolean {
    return this.rawCount > 0;
  }

  /** True once enough has been merged that flush() should not wait any longer. */
  get full(): boolean {
    return this.rawBytes >= mergedBatchBytesMax;
  }

  /** Adds a batch without ranges to what the next flush() writes. */
  merge(payload: Buffer): void {
    visitOps(payload, this.mergePoint);
  }

  /** Adds one row to what the next flush() writes. */
  readonly put = (key: Buffer, value: Buffer): void => {
    this.add(key, value);
    this.sizes.notePut(key, value);
  };

  /** Writes what was merged, as one atomic batch; with `sync`, all of RocksDB's log is on disk afterwards. */
  flush(sync: boolean): void {
    this.binding.batch_write(this.db, this.raw, sync ? { sync: true } : null);
    this.binding.batch_clear(this.raw);
    this.rawCount = 0;
    this.rawBytes = 0;
  }

  /** Writes one batch that has ranges. Nothing may be merged at this point. */
  writeWithRanges(payload: Buffer): void {
    assert(!this.dirty, 'a batch with ranges goes alone');
    if (this.addAsPoints(payload)) {
      this.flush(false);
    } else {
      this.binding.batch_clear(this.raw);
      this.rawCount = 0;
      this.add(redoKey, payload);
      this.flush(false);
      this.runRanges(payload);
    }
    visitOps(payload, this.note);
  }

  /** Finishes a batch with ranges that a crash cut in two. To be called once, before anything else. */
  redo(): void {
    const [payload] = this.binding.db_get_many_sync(this.db, [redoKey], null);
    if (payload === undefined) return;
    assert(payload !== null, 'one value is always read');
    this.runRanges(payload);
  }

  private runRanges(payload: Buffer): void {
    visitOps(payload, (kind, key, value) => {
      if (kind !== deleteRangeOp) {
        this.visitPoint(kind, key, value);
        return;
      }
      if (this.dirty) this.flush(false);
      const { start, end } = rangeOf(key, value);
      if (Buffer.compare(start, end) < 0) this.binding.db_clear(this.db, { gte: start, lt: end });
    });
    this.delete(redoKey);
    this.flush(false);
  }

  /** Adds the batch with each range as its keys; false (with the raw batch half filled) if there are too many. */
  private addAsPoints(payload: Buffer): boolean {
    const earlier: Buffer[] = [];
    let fits = true;
    visitOps(payload, (kind, key, value) => {
      if (!fits) return;
      if (kind !== deleteRangeOp) {
        this.visitPoint(kind, key, value);
        earlier.push(key);
        return;
      }
      const { start, end } = rangeOf(key, value);
      const keys = this.keysOf(start, end);
      fits = keys !== null && earlier.length <= deleteRangePointsMax;
      if (keys === null || !fits) return;
      for (const found of keys) this.delete(found);
      // The range also covers what this very batch wrote before it.
      for (const own of earlier) {
        if (Buffer.compare(own, start) >= 0 && Buffer.compare(own, end) < 0) this.delete(own);
      }
    });
    return fits;
  }

  /** The keys in [start, end), or null if there are more than deleteRangePointsMax. */
  private keysOf(start: Buffer, end: Buffer): Buffer[] | null {
    if (Buffer.compare(start, end) >= 0) return [];
    const iterator = this.binding.iterator_init(this.db, {
      gte: start,
      lt: end,
      reverse: false,
      values: false,
      highWaterMarkBytes: 0x7fffffff,
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
    });
    try {
      const { rows } = this.binding.iterator_nextv_sync(iterator, deleteRangePointsMax + 1);
      const keys = rows.filter((row) => row !== undefined);
      return keys.length > deleteRangePointsMax ? null : keys;
    } finally {
      this.binding.iterator_close(iterator);
    }
  }

  private readonly mergePoint = (kind: number, key: Buffer, value: Buffer): void => {
    this.visitPoint(kind, key, value);
    this.note(kind, key, value);
  };

  private readonly note = (kind: number, key: Buffer, value: Buffer): void => {
    if (kind === putOp) this.sizes.notePut(key, value);
    else if (kind === deleteRangeOp) this.sizes.noteRange(key, value);
    else this.sizes.noteDelete(key);
  };

  private readonly visitPoint = (kind: number, key: Buffer, value: Buffer): void => {
    if (kind === putOp) this.add(key, value);
    else this.delete(key);
  };

  private add(key: Buffer, value: Buffer): void {
    this.binding.batch_put(this.raw, key, value, null);
    this.rawCount++;
    this.rawBytes += key.length + value.length;
  }

  private delete(key: Buffer): void {
    this.binding.batch_del(this.raw, key, null);
    this.rawCount++;
    this.rawBytes += key.length;
  }
}

function rangeOf(start: Buffer, end: Buffer): { start: Buffer; end: Buffer } {
  return {
    start: Buffer.compare(start, firstKey) < 0 ? firstKey : start,
    end: end.length === 0 ? pastEveryKey : end,
  };
}
