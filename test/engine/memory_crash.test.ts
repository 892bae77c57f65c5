import t from 'tap';
import { Prng } from '../../src/base/prng.js';
import type { Engine } from '../../src/engine/engine.js';
import { EngineError } from '../../src/engine/engine_error.js';
import { unsyncedBatchesMax } from '../../src/engine/limits.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';

const key = Buffer.from('n');

/** Batch n sets two keys to n, so that a torn batch would show. */
function put(engine: Engine, n: number): Promise<void> {
  const batch = engine.newBatch();
  batch.put(key, Buffer.from(String(n)));
  batch.put(Buffer.from('m'), Buffer.from(String(n)));
  return engine.write(batch);
}

async function read(engine: Engine): Promise<number> {
  const [a, b] = await engine.getMany([key, Buffer.from('m')]);
  if (a?.toString() !== b?.toString()) throw new Error('a batch is torn');
  return Number(a?.toString() ?? -1);
}

void t.test('a crash keeps what was synced and a prefix of the rest, as the random source says', async (t) => {
  const kept = new Set<number>();
  for (let i = 0; i < 40; i++) {
    const engine = new MemoryEngine();
    for (let n = 0; n < 5; n++) await put(engine, n);
    await engine.sync();
    for (let n = 5; n < 10; n++) await put(engine, n);
    kept.add(await read(engine.crash(() => i / 40)));
  }
  t.same([...kept], [4, 5, 6, 7, 8, 9]);
});

void t.test('nothing of a dead engine settles, and its state does not leak into the new one', async (t) => {
  const waiting: (() => void)[] = [];
  const engine = new MemoryEngine({ settle: (run) => waiting.push(run) });
  let settled = 0;
  void put(engine, 1).then(() => settled++);
  void engine.sync().then(() => settled++);
  const next = engine.crash(() => 0.99);
  void put(engine, 2).then(() => settled++);
  const found = read(next);
  for (const run of waiting) run();
  t.equal(await found, 1);
  t.equal(settled, 0);
});

void t.test('a sync that has not settled when the power fails may be lost', async (t) => {
  const waiting: (() => void)[] = [];
  const engine = new MemoryEngine({ settle: (run) => waiting.push(run) });
  void put(engine, 1);
  void engine.sync();
  void put(engine, 2);
  const lost = engine.crash(() => 0);
  const page = lost.scan({
    start: key,
    end: Buffer.alloc(0),
    limit: 1,
    maxBytes: 1,
    reverse: false,
    keysOnly: false,
  });
  for (const run of waiting) run();
  t.same((await page).rows, []);
});

void t.test('a sync covers the writes before it and not those after it', async (t) => {
  const waiting: (() => void)[] = [];
  const engine = new MemoryEngine({ settle: (run) => waiting.push(run) });
  const settle = (): void => {
    for (const run of waiting.splice(0)) run();
  };
  void put(engine, 1);
  const synced = engine.sync();
  void put(engine, 2);
  settle();
  await synced;
  const after = engine.crash(() => 0);
  const value = after.getMany([key]);
  settle();
  t.equal((await value)[0]?.toString(), '1');
});

void t.test('past unsyncedBatchesMax the oldest batches count as on disk', async (t) => {
  const engine = new MemoryEngine();
  for (let n = 0; n < unsyncedBatchesMax + 5; n++) await put(engine, n);
  t.equal(await read(engine.crash(() => 0)), 4);
});

void t.test('a failed write is latched', async (t) => {
  const fatals: Error[] = [];
  const engine = new MemoryEngine({ onFatal: (error) => fatals.push(error) });
  await put(engine, 1);
  engine.failWrites();
  const code = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'ok',
      (error: unknown) => (error instanceof EngineError ? error.code : String(error)),
    );
  t.equal(await code(engine.getMany([key])), 'ok', 'reads go on until a write has failed');
  t.equal(await code(put(engine, 2)), 'io');
  t.equal(await code(put(engine, 3)), 'io');
  t.equal(await code(engine.sync()), 'io');
  t.equal(await code(engine.getMany([key])), 'io');
  t.equal(fatals.length, 1);
  await engine.close();
});

void t.test('the same calls and the same random source leave the same state', async (t) => {
  const run = async (): Promise<string> => {
    const prng = new Prng(3);
    let engine = new MemoryEngine();
    for (let n = 0; n < 500; n++) {
      const batch = engine.newBatch();
      batch.put(Buffer.from(`k${String(prng.int(0, 99))}`), Buffer.from(String(n)));
      if (prng.chance(0.1)) batch.deleteRange(Buffer.from('k1'), Buffer.from('k3'));
      await engine.write(batch);
      if (prng.chance(0.05)) await engine.sync();
      if (prng.chance(0.02)) engine = engine.crash(() => prng.random());
    }
    const all = { start: Buffer.alloc(0), end: Buffer.alloc(0), limit: 1_000, maxBytes: 1 << 20 };
    const page = await engine.scan({ ...all, reverse: false, keysOnly: false });
    return page.rows.map((row) => `${row.key.toString()}=${row.value.toString()}`).join();
  };
  t.equal(await run(), await run());
});
