import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import type { Engine } from '../../src/engine/engine.js';
import { EngineError } from '../../src/engine/engine_error.js';
import { messageBytesMax } from '../../src/engine/limits.js';
import { openRocksdbEngine } from '../../src/engine/rocksdb_engine.js';

const codeOf = (error: unknown): string => (error instanceof EngineError ? error.code : String(error));

async function withEngine(
  limits: { writeBacklogBytesMax?: number; readBacklogMax?: number },
  body: (engine: Engine, fatals: Error[]) => Promise<void>,
): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'skerry-engine-'));
  const fatals: Error[] = [];
  const engine = await openRocksdbEngine({ path, ...limits, onFatal: (error) => fatals.push(error) });
  try {
    await body(engine, fatals);
  } finally {
    await engine.close();
    rmSync(path, { recursive: true });
  }
}

function put(engine: Engine, key: string, bytes: number): Promise<void> {
  const batch = engine.newBatch();
  batch.put(Buffer.from(key), Buffer.alloc(bytes, 1));
  return engine.write(batch);
}

void t.test('past the write backlog the engine gives up once and for all', async (t) => {
  await withEngine({ writeBacklogBytesMax: 10_000 }, async (engine, fatals) => {
    const fits = [put(engine, 'a', 4_000), put(engine, 'b', 4_000)];
    const error: unknown = await put(engine, 'c', 4_000).catch((reason: unknown) => reason);
    t.equal(codeOf(error), 'stalled');
    await Promise.all(fits);
    t.same(fatals.map(codeOf), ['stalled']);
    t.equal(await put(engine, 'd', 1).catch(codeOf), 'stalled');
    t.equal(await engine.getMany([]).catch(codeOf), 'stalled');
    t.equal(fatals.length, 1);
  });
});

void t.test('past the read backlog a read is refused as busy, and later ones are served', async (t) => {
  await withEngine({ readBacklogMax: 3 }, async (engine, fatals) => {
    await put(engine, 'a', 1);
    const key = [Buffer.from('a')];
    const served = [engine.getMany(key), engine.getMany(key), engine.getMany(key)];
    t.equal(await engine.getMany(key).catch(codeOf), 'busy');
    t.equal((await Promise.all(served)).length, 3);
    t.equal((await engine.getMany(key))[0]?.length, 1);
    t.same(fatals, []);
  });
});

void t.test('what exceeds one message follows in the next ones, in order', async (t) => {
  await withEngine({}, async (engine) => {
    const writes: Promise<void>[] = [];
    const reads: Promise<(Buffer | null)[]>[] = [];
    const parts = 12;
    for (let i = 0; i < parts; i++) {
      writes.push(put(engine, `k${String(i)}`, messageBytesMax / 3 + i));
      reads.push(engine.getMany([Buffer.from(`k${String(i)}`), Buffer.from(`k${String(i + 1)}`)]));
    }
    await Promise.all(writes);
    const lengths = (await Promise.all(reads)).map((values) => values.map((value) => value?.length ?? null));
    t.same(
      lengths,
      Array.from({ length: parts }, (_, i) => [Math.floor(messageBytesMax / 3 + i), null]),
    );
  });
});

void t.test('the calls of one turn make one message, what follows in that turn makes one more', async (t) => {
  await withEngine({}, async (engine) => {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- capture() calls it as the method that it is
    const posted = t.capture(Worker.prototype, 'postMessage', Worker.prototype.postMessage);
    const answers: Promise<unknown>[] = [];
    const ask = (): void => {
      for (let i = 0; i < 100; i++) answers.push(put(engine, 'a', 10), engine.getMany([Buffer.from('a')]));
    };
    ask();
    t.equal(posted().length, 0, 'nothing leaves before the calling code is through');
    await Promise.resolve();
    t.equal(posted().length, 1);
    for (let i = 0; i < 5; i++) {
      ask();
      await Promise.resolve();
    }
    t.equal(posted().length, 0, 'the rest waits for the end of the turn');
    await Promise.all(answers);
    t.equal(posted().length, 1);
    t.equal(answers.length, 1_200);
  });
});
