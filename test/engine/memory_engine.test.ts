import { MemoryEngine } from '../../src/engine/memory_engine.js';
import type { Fixture } from './contract_support.js';
import { testEngineContract } from './engine_contract.js';

testEngineContract(() => {
  let engine = new MemoryEngine();
  const fixture: Fixture = {
    engine,
    reopen: async () => {
      await engine.close();
      engine = engine.reopen();
      return engine;
    },
    dispose: async (closed) => {
      if (!closed) await engine.close();
    },
  };
  return Promise.resolve(fixture);
});
