import { ArenaReader, ArenaWriter } from './arena.js';
import { deleteRangePointsMax } from './limits.js';
import { deleteRangeOp, type OpBatch, putOp } from './op_batch.js';
import { redoKey } from './reserved_keys.js';
import type { DevDatabase, DevOperation } from './rocksdb_dev_binding.js';
import { endIterator, newIterator, rowsOf } from './rocksdb_dev_reader.js';
import { putWrite, visitOps } from './rocksdb_protocol.js';

/** The batch's own copy of its operations, in the format of rocksdb_protocol.ts. */
export function payloadOf(batch: OpBatch): Buffer {
  const out = new ArenaWriter();
  putWrite(out, 1, batch);
  const [arena] = out.take(Infinity);
  const input = new ArenaReader(arena ?? new ArrayBuffer(0));
  input.slice(6);
  return input.slice(input.u32());
}

/** Writes operations as one batch; with `sync`, all of RocksDB's log is on disk afterwards. */
export function writeBatch(db: DevDatabase, operations: readonly DevOperation[], sync: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    db.batch(operations, { sync }, (error) => (!(error instanceof Error) ? resolve() : reject(error)));
  });
}

/**
 * Writes a batch with ranges. The package knows no range tombstones, so a range is deleted key by key: in one batch
 * when there are few; otherwise the operations are kept under the redo key while slices of the ranges are deleted, and
 * done again after a crash, as in batch_applier.ts.
 */
export async function writeRanges(db: DevDatabase, payload: Buffer): Promise<void> {
  const operations = await asPoints(db, payload);
  if (operations !== null) {
    await writeBatch(db, operations, false);
    return;
  }
  await writeBatch(db, [{ type: 'put', key: redoKey, value: payload }], false);
  await redo(db, payload);
}

/** Finishes what a crash cut in two. */
export async function redoAtOpen(db: DevDatabase): Promise<void> {
  const payload = await new Promise<Buffer | undefined>((resolve, reject) => {
    db.getMany([redoKey], { asBuffer: true }, (error, values) => {
      if (!(error instanceof Error)) resolve(values?.[0]);
      else reject(error);
    });
  });
  if (payload !== undefined) await redo(db, payload);
}

async function redo(db: DevDatabase, payload: Buffer): Promise<void> {
  for (const { kind, key, value } of listOps(payload)) {
    if (kind !== deleteRangeOp) await writeBatch(db, [operationOf(kind, key, value)], false);
    else while ((await deleteSlice(db, key, value)) > 0);
  }
  await writeBatch(db, [{ type: 'del', key: redoKey }], false);
}

async function deleteSlice(db: DevDatabase, start: Buffer, end: Buffer): Promise<number> {
  const keys = await keysOf(db, start, end);
  await writeBatch(
    db,
    keys.map((key) => ({ type: 'del', key })),
    false,
  );
  return keys.length;
}

/** All operations with each range as its keys; null if there are too many. */
async function asPoints(db: DevDatabase, payload: Buffer): Promise<DevOperation[] | null> {
  const operations: DevOperation[] = [];
  for (const { kind, key, value } of listOps(payload)) {
    if (kind !== deleteRangeOp) {
      operations.push(operationOf(kind, key, value));
      continue;
    }
    const keys = await keysOf(db, key, value);
    if (keys.length > deleteRangePointsMax || operations.length > deleteRangePointsMax) return null;
    // The range also covers what this very batch wrote before it.
    const own = operations.filter(
      (earlier) =>
        Buffer.compare(earlier.key, key) >= 0 && (value.length === 0 || Buffer.compare(earlier.key, value) < 0),
    );
    for (const found of [...keys, ...own.map((earlier) => earlier.key)]) operations.push({ type: 'del', key: found });
  }
  return operations;
}

/** The first keys of [start, end), one more than deleteRangePointsMax at most. */
async function keysOf(db: DevDatabase, start: Buffer, end: Buffer): Promise<Buffer[]> {
  const iterator = newIterator(db, false, false);
  const keys: Buffer[] = [];
  try {
    for await (const { key } of rowsOf(iterator, { start, end }, false)) {
      if (keys.push(key) > deleteRangePointsMax) break;
    }
  } finally {
    await endIterator(iterator);
  }
  return keys;
}

export function listOps(payload: Buffer): { kind: number; key: Buffer; value: Buffer }[] {
  const ops: { kind: number; key: Buffer; value: Buffer }[] = [];
  visitOps(payload, (kind, key, value) => ops.push({ kind, key, value }));
  return ops;
}

export function operationOf(kind: number, key: Buffer, value: Buffer): DevOperation {
  return kind === putOp ? { type: 'put', key, value } : { type: 'del', key };
}
