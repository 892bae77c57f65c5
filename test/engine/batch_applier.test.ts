import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ArenaReader, ArenaWriter } from '../../src/engine/arena.js';
import { BatchApplier } from '../../src/engine/batch_applier.js';
import { loadBinding } from '../../src/engine/binding_loader.js';
import { deleteRangePointsMax } from '../../src/engine/limits.js';
import { OpBatch } from '../../src/engine/op_batch.js';
import type { Database, RocksdbBinding } from '../../src/engine/rocksdb_binding.js';
import { putWrite } from '../../src/engine/rocksdb_protocol.js';
import { countSlice, scanNow } from '../../src/engine/rocksdb_reader.js';
import { SizeMap } from '../../src/engine/size_map.js';
import { openDatabase } from '../../src/engine/storage.js';

/** Batches as the storage thread gets them, and a database that can be closed between any two of its writes. */
const real = await loadBinding();
const none = Buffer.alloc(0);
const key = (i: number): Buffer => Buffer.from(`key${String(i).padStart(6, '0')}`);
const count = 3 * deleteRangePointsMax;

async function withDirectory(body: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'skerry-applier-'));
  try {
    await body(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

function open(path: string): Promise<Database> {
  const settings = { path, cacheBytes: 1 << 20, writeBufferBytes: 1 << 24, compression: false, backgroundJobs: 1 };
  return openDatabase(real, settings);
}

function close(db: Database): Promise<void> {
  return new Promise((resolve, reject) => {
    real.db_close(db, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function payloadOf(batch: OpBatch): Buffer {
  const out = new ArenaWriter();
  putWrite(out, 1, batch);
  const [arena] = out.take(1);
  if (arena === undefined) throw new Error('nothing was packed');
  const input = new ArenaReader(arena);
  input.slice(6);
  return input.slice(input.u32());
}

/** All rows, the engine's own included. */
function rowsOf(db: Database): string[] {
  const start = Buffer.from([0]);
  const page = scanNow(real, db, {
    start,
    end: none,
    limit: 100_000,
    maxBytes: 1 << 30,
    reverse: false,
    keysOnly: false,
  });
  return page.rows.map((row) => `${row.key.toString('latin1')}=${row.value.toString('latin1')}`);
}

/** The binding, which throws at the n-th write: what a crash right before it leaves behind. */
function crashingAt(n: number): RocksdbBinding {
  let left = n;
  const mayCrash = (): void => {
    if (left-- === 0) throw new Error('crash');
  };
  return {
    ...real,
    batch_write: (db, batch, options) => {
      mayCrash();
      real.batch_write(db, batch, options);
    },
    db_clear: (db, options) => {
      mayCrash();
      real.db_clear(db, options);
    },
  };
}

function applierOf(binding: RocksdbBinding, db: Database): BatchApplier {
  return new BatchApplier(binding, db, new SizeMap((start, end, slices) => countSlice(real, db, start, end, slices)));
}

function fill(db: Database): void {
  const batch = new OpBatch();
  for (let i = 0; i < count; i++) batch.put(key(i), Buffer.from('old'));
  const applier = applierOf(real, db);
  applier.merge(payloadOf(batch));
  applier.flush(false);
}

function mixedBatch(): OpBatch {
  const batch = new OpBatch();
  batch.put(key(10), Buffer.from('goes'));
  batch.put(Buffer.from('applied'), Buffer.from('7'));
  batch.deleteRange(key(0), key(count / 2));
  batch.put(key(20), Buffer.from('new'));
  batch.deleteRange(key(count / 2 + 3), none);
  batch.put(key(count - 1), Buffer.from('new'));
  return batch;
}

void t.test(
  'a crash between any two writes of a batch with large ranges leaves the old state or the new',
  async (t) => {
    const states = new Set<string>();
    let crashes = 0;
    for (let n = 0, crashed = true; crashed; n++) {
      await withDirectory(async (path) => {
        let db = await open(path);
        fill(db);
        const before = rowsOf(db).join();
        crashed = false;
        try {
          applierOf(crashingAt(n), db).writeWithRanges(payloadOf(mixedBatch()));
        } catch {
          crashed = true;
          crashes++;
        }
        await close(db);
        db = await open(path);
        applierOf(real, db).redo();
        const after = rowsOf(db).join();
        if (n === 0) t.equal(after, before, 'nothing was written before the first write');
        else states.add(after);
        await close(db);
      });
    }
    t.equal(crashes, 6, 'the batch takes six writes: redo row, points, range, point, range, points with the redo row');
    t.equal(states.size, 1, 'once the redo row is written, the batch as a whole comes to be');
    const [state = ''] = states;
    const expected = ['applied=7', `${key(20).toString()}=new`];
    for (let i = 0; i < 3; i++) expected.push(`${key(count / 2 + i).toString()}=old`);
    expected.push(`${key(count - 1).toString()}=new`);
    t.equal(state, expected.join());
  },
);

void t.test('a crash while an interrupted batch is being finished is finished the next time', async (t) => {
  await withDirectory(async (path) => {
    let db = await open(path);
    fill(db);
    t.throws(() => applierOf(crashingAt(3), db).writeWithRanges(payloadOf(mixedBatch())), /crash/);
    await close(db);
    for (let n = 0; n < 4; n++) {
      db = await open(path);
      t.throws(() => applierOf(crashingAt(n), db).redo(), /crash/);
      await close(db);
    }
    db = await open(path);
    applierOf(real, db).redo();
    t.equal(rowsOf(db).length, 6);
    await close(db);
  });
});

void t.test('small ranges make one write with the rest of their batch', async (t) => {
  await withDirectory(async (path) => {
    const db = await open(path);
    fill(db);
    const batch = new OpBatch();
    batch.deleteRange(key(0), key(deleteRangePointsMax));
    batch.put(key(5), Buffer.from('new'));
    batch.deleteRange(key(deleteRangePointsMax), key(2 * deleteRangePointsMax));
    t.throws(() => applierOf(crashingAt(0), db).writeWithRanges(payloadOf(batch)), /crash/);
    t.equal(rowsOf(db).length, count);
    applierOf(crashingAt(1), db).writeWithRanges(payloadOf(batch));
    t.equal(rowsOf(db).length, 1 + deleteRangePointsMax);
    await close(db);
  });
});
