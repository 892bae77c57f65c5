import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { loadBinding } from '../../src/engine/binding_loader.js';
import type { Database, RocksdbBinding } from '../../src/engine/rocksdb_binding.js';

/**
 * What a Raft log through RocksDB would do: one write batch of `count` entries under (group, index) keys, synced, one after
 * the other for `ms` milliseconds. On the calling thread, which is the fastest this binding can: a storage worker adds a hop. Batches per second.
 */
export async function rocksdbSyncsPerSecond(
  directory: string,
  o: { ms: number; count: number; entryBytes: number; groups: number },
): Promise<number> {
  const binding = await loadBinding();
  const path = await mkdtemp(join(directory, 'skerry-bench-rocksdb-'));
  const db = binding.db_init(path);
  await done((callback) =>
    binding.db_open(
      db,
      { createIfMissing: true, compression: false, walCompression: false, cacheSize: 64 << 20, parallelism: 2 },
      callback,
    ),
  );
  try {
    return await writeBatches(binding, db, o);
  } finally {
    await done((callback) => binding.db_close(db, callback));
    await rm(path, { recursive: true });
  }
}

async function writeBatches(
  binding: RocksdbBinding,
  db: Database,
  o: { ms: number; count: number; entryBytes: number; groups: number },
): Promise<number> {
  const batch = binding.batch_init();
  const value = Buffer.alloc(o.entryBytes, 0x61);
  const start = performance.now();
  let batches = 0;
  let written = 0;
  while (performance.now() - start < o.ms) {
    for (let i = 0; i < o.count; i++) {
      const key = Buffer.allocUnsafe(16);
      key.writeDoubleBE(written % o.groups, 0);
      key.writeDoubleBE(Math.floor(written / o.groups), 8);
      written++;
      binding.batch_put(batch, key, value, null);
    }
    binding.batch_write(db, batch, { sync: true });
    binding.batch_clear(batch);
    batches++;
    // Its flushes report through the event loop.
    if (batches % 64 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return batches / ((performance.now() - start) / 1000);
}

function done(call: (callback: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => call((error) => (error === null ? resolve() : reject(error))));
}
