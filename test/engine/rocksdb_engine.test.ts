import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Engine } from '../../src/engine/engine.js';
import { openRocksdbEngine } from '../../src/engine/rocksdb_engine.js';
import { testEngineContract } from './engine_contract.js';

/** One directory for all tests, emptied before each: opening one costs far more than any test. */
const path = mkdtempSync(join(tmpdir(), 'skerry-engine-'));
let engine: Engine | null = null;

function open(): Promise<Engine> {
  return openRocksdbEngine({
    path,
    cacheBytes: 8 << 20,
    onFatal: (error) => {
      throw error;
    },
  });
}

async function emptied(used: Engine): Promise<Engine> {
  const batch = used.newBatch();
  batch.deleteRange(Buffer.alloc(0), Buffer.alloc(0));
  await used.write(batch);
  return used;
}

testEngineContract(async () => {
  let own = await emptied(engine ?? (await open()));
  engine = own;
  return {
    engine: own,
    reopen: async () => {
      await own.close();
      own = await open();
      engine = own;
      return own;
    },
    dispose: async (closed) => {
      if (closed) engine = null;
      return Promise.resolve();
    },
  };
});

t.teardown(async () => {
  await engine?.close();
  rmSync(path, { recursive: true });
});
