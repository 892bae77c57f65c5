import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '../../src/engine/engine.js';
import { openRocksdbEngine } from '../../src/engine/rocksdb_engine.js';
import { testEngineContract } from './engine_contract.js';

function unexpected(error: Error): void {
  throw error;
}

testEngineContract(async () => {
  const path = mkdtempSync(join(tmpdir(), 'skerry-engine-'));
  const open = (): Promise<Engine> => openRocksdbEngine({ path, cacheBytes: 8 << 20, onFatal: unexpected });
  let engine = await open();
  return {
    engine,
    reopen: async () => {
      await engine.close();
      engine = await open();
      return engine;
    },
    dispose: async () => {
      await engine.close();
      rmSync(path, { recursive: true });
    },
  };
});
