import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Engine } from '../../src/engine/engine.js';
import { loadDevBinding } from '../../src/engine/rocksdb_dev_binding.js';
import { openRocksdbDevEngine } from '../../src/engine/rocksdb_dev_engine.js';
import { testEngineContract } from './engine_contract.js';

const path = mkdtempSync(join(tmpdir(), 'skerry-engine-dev-'));
let engine: Engine | null = null;

function open(): Promise<Engine> {
  return openRocksdbDevEngine({
    path,
    onFatal: (error) => {
      throw error;
    },
  });
}

t.test('where its package cannot be loaded, the development engine refuses and names the cure', async (t) => {
  await t.rejects(loadDevBinding('rocksdb-that-is-not-there'), {
    name: 'EngineError',
    code: 'unsupported',
    message:
      /optional package "rocksdb-that-is-not-there" could not be loaded .*; install it, or use the default engine/,
  });
});

const missing = await loadDevBinding().then(
  () => null,
  (error: unknown) => String(error),
);

if (missing !== null) {
  t.test('the contract of engines', { skip: `THE DEVELOPMENT ENGINE IS NOT TESTED: ${missing}` }, () => undefined);
} else {
  testEngineContract(async () => {
    let own = engine ?? (await open());
    const batch = own.newBatch();
    batch.deleteRange(Buffer.alloc(0), Buffer.alloc(0));
    await own.write(batch);
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
  t.test('a second engine in the same directory is refused, and the first one says what it is', async (t) => {
    engine ??= await open();
    t.equal(engine.kind, 'rocksdb-dev');
    await t.rejects(open(), { name: 'EngineError', code: 'locked' });
  });
}

t.teardown(async () => {
  await engine?.close();
  rmSync(path, { recursive: true });
});
