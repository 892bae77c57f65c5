import t from 'tap';
import fc from 'fast-check';
import { CachedEngine } from '../../src/engine/cached_engine.js';
import type { Engine, EngineBatch } from '../../src/engine/engine.js';
import { EngineError } from '../../src/engine/engine_error.js';
import { cacheBytesMin } from '../../src/engine/limits.js';
import { MemoryEngine } from '../../src/engine/memory_engine.js';
import type { Fixture } from './contract_support.js';
import { testEngineContract } from './engine_contract.js';

const cached = (inner: Engine): CachedEngine => new CachedEngine(inner, { bytes: cacheBytesMin });
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

testEngineContract(() => {
  let inner = new MemoryEngine();
  let engine = cached(inner);
  const fixture: Fixture = {
    engine,
    reopen: async () => {
      await engine.close();
      inner = inner.reopen();
      engine = cached(inner);
      return engine;
    },
    dispose: async (closed) => {
      if (!closed) await engine.close();
    },
  };
  return Promise.resolve(fixture);
});

/** An engine whose answers come when the test says so, in the order of the calls, as those of a storage thread do. */
function delayed(): { inner: MemoryEngine; engine: CachedEngine; answer: (count: number) => Promise<void> } {
  const waiting: (() => void)[] = [];
  const inner = new MemoryEngine({ settle: (run) => waiting.push(run) });
  const answer = async (count: number): Promise<void> => {
    for (const run of waiting.splice(0, count)) run();
    // What waits for the answers goes on, and what waits for that.
    for (let i = 0; i < 5; i++) await Promise.resolve();
  };
  return { inner, engine: cached(inner), answer };
}

function put(engine: Engine, key: string, value: string): void {
  const batch = engine.newBatch();
  batch.put(bytes(key), bytes(value));
  void engine.write(batch);
}

const now = (engine: Engine, key: string): string | null | undefined => {
  const values = engine.getNow([bytes(key)]);
  return values === null ? undefined : (values[0]?.toString('latin1') ?? null);
};

void t.test('a written value is at hand as soon as write() was called, before its promise settles', (t) => {
  const { engine } = delayed();
  t.equal(now(engine, 'a'), undefined);
  put(engine, 'a', '1');
  t.equal(now(engine, 'a'), '1');
  t.end();
});

void t.test('a read that was asked for before a write does not put the older value in', async (t) => {
  const { engine, answer } = delayed();
  const read = engine.getMany([bytes('a')]);
  const batch = engine.newBatch();
  batch.put(bytes('a'), bytes('new'));
  // Too large to be kept: nothing in the cache stands in the way of the older value.
  batch.put(bytes('a'), Buffer.alloc(64 * 1024, 1));
  void engine.write(batch);
  await answer(100);
  t.same(await read, [null]);
  t.equal(now(engine, 'a'), undefined);
});

void t.test('a read that was asked for before a range was deleted does not put in what was there', async (t) => {
  const { engine, answer } = delayed();
  put(engine, 'a', '1');
  const drop = engine.newBatch();
  drop.put(bytes('a'), Buffer.alloc(64 * 1024, 1));
  void engine.write(drop);
  const read = engine.getMany([bytes('a')]);
  const batch = engine.newBatch();
  batch.deleteRange(bytes('a'), bytes('b'));
  void engine.write(batch);
  await answer(100);
  await read;
  t.not(now(engine, 'a'), '1');
  t.ok((now(engine, 'a') ?? null) === null, 'gone, or to be asked for');
});

void t.test('nothing is answered from memory once the engine has failed or is closed', async (t) => {
  const inner = new MemoryEngine();
  const engine = cached(inner);
  put(engine, 'a', '1');
  inner.failWrites();
  await t.rejects(engine.sync(), EngineError);
  t.equal(now(engine, 'a'), undefined);
  await t.rejects(engine.getMany([bytes('a')]), EngineError);

  const other = cached(new MemoryEngine());
  put(other, 'a', '1');
  await other.close();
  t.equal(now(other, 'a'), undefined);
  await t.rejects(other.getMany([bytes('a')]), EngineError);
});

void t.test('hits and misses are counted by value', async (t) => {
  const engine = cached(new MemoryEngine());
  put(engine, 'a', '1');
  await engine.getMany([bytes('a'), bytes('b')]);
  t.match(engine.cacheStats, { hits: 1, misses: 1, entries: 2 });
  t.equal(now(engine, 'b'), null, 'that there is none is kept, too');
  t.match(engine.cacheStats, { hits: 2, misses: 1 });
});

const key = fc.integer({ min: 0, max: 400 }).map((n) => `key-${String(n).padStart(3, '0')}`);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('put' as const), key, size: fc.integer({ min: 0, max: 900 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('put' as const), key, size: fc.constant(9_000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('deleteRange' as const), key, end: key }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('read' as const), keys: fc.array(key, { maxLength: 8 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('now' as const), keys: fc.array(key, { maxLength: 3 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('answer' as const), count: fc.integer({ min: 1, max: 6 }) }) },
);

void t.test(
  'any mix of writes, reads, deleted ranges and late answers gives what the engine alone would',
  async (t) => {
    let hits = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 100, maxLength: 400 }), async (steps) => {
        const { engine, answer } = delayed();
        const model = new Map<string, Buffer>();
        const valueOf = (name: string): Buffer | null => model.get(name) ?? null;
        const same = (found: readonly (Buffer | null)[], wanted: readonly (Buffer | null)[]): boolean =>
          found.length === wanted.length &&
          found.every((value, i) => (value === null ? wanted[i] === null : wanted[i]?.equals(value) === true));
        const reads: Promise<boolean>[] = [];
        for (const [at, next] of steps.entries()) {
          const batch = engine.newBatch();
          switch (next.kind) {
            case 'put': {
              const value = Buffer.alloc(next.size, at % 251);
              batch.put(bytes(next.key), value);
              model.set(next.key, value);
              break;
            }
            case 'delete':
              batch.delete(bytes(next.key));
              model.delete(next.key);
              break;
            case 'deleteRange':
              batch.deleteRange(bytes(next.key), bytes(next.end));
              for (const name of [...model.keys()]) if (name >= next.key && name < next.end) model.delete(name);
              break;
            case 'read': {
              const wanted = next.keys.map(valueOf);
              const asked = next.keys.map(bytes);
              reads.push(engine.getMany(asked).then((found) => same(found, wanted)));
              // The engine has what it needs: its caller may use the buffers again.
              for (const buffer of asked) buffer.fill(1);
              break;
            }
            case 'now': {
              const found = engine.getNow(next.keys.map(bytes));
              if (found !== null && !same(found, next.keys.map(valueOf))) return false;
              break;
            }
            case 'answer':
              await answer(next.count);
          }
          if (batch.count > 0) void engine.write(batch);
        }
        await answer(1_000_000);
        hits += engine.cacheStats.hits;
        return (await Promise.all(reads)).every((right) => right);
      }),
      { numRuns: 150 },
    );
    t.ok(hits > 1_000, 'the cache was in use');
  },
);

/** Holds a batch with one key. Returns it, and says when it was asked to be written. */
function holding(engine: Engine, key: string): { batch: EngineBatch; asked: () => number } {
  const batch = engine.newBatch();
  let asked = 0;
  batch.put(bytes(key), bytes('held'));
  engine.hold(batch, () => {
    asked++;
    batch.put(bytes('position'), bytes('7'));
    void engine.write(batch);
  });
  return { batch, asked: () => asked };
}

void t.test('a batch that is held is seen at once and is not written for that', (t) => {
  const { inner, engine } = delayed();
  const { batch, asked } = holding(engine, 'a');
  t.equal(now(engine, 'a'), 'held');
  batch.put(bytes('b'), bytes('later'));
  t.equal(now(engine, 'b'), undefined, 'not yet handed over');
  engine.hold(batch, () => t.fail('nobody asked'));
  t.equal(now(engine, 'b'), 'later');
  t.equal(asked(), 0);
  t.equal(inner.contents.get(bytes('a')), null);
  t.end();
});

const askers: Record<string, (engine: Engine) => Promise<unknown>> = {
  'a read of a key that is not at hand': (engine) => engine.getMany([bytes('elsewhere')]),
  'a scan': (engine) =>
    engine.scan({ start: bytes('a'), end: bytes('z'), limit: 9, maxBytes: 999, reverse: false, keysOnly: false }),
  'a view': (engine) => engine.openView().then((view) => view.close()),
  'a loader': (engine) => engine.openLoader([]).then((loader) => loader.close()),
  'a sync': (engine) => engine.sync(),
  'the end': (engine) => engine.close(),
  'another write': (engine) => {
    const batch = engine.newBatch();
    batch.put(bytes('z'), bytes('1'));
    return engine.write(batch);
  },
};

for (const [what, ask] of Object.entries(askers)) {
  void t.test(`${what} has a batch that is held written first, with all that belongs to it`, async (t) => {
    const inner = new MemoryEngine();
    const engine = cached(inner);
    const { asked } = holding(engine, 'a');
    const answer = ask(engine);
    t.equal(asked(), 1);
    await answer;
    t.equal(inner.contents.get(bytes('a'))?.toString(), 'held');
    t.equal(inner.contents.get(bytes('position'))?.toString(), '7');
    engine.writeHeld();
    t.equal(asked(), 1, 'once');
  });
}

void t.test('a second batch is not held beside the first', (t) => {
  const { engine } = delayed();
  holding(engine, 'a');
  t.throws(() => engine.hold(engine.newBatch(), () => undefined), /one batch is held at a time/);
  t.end();
});
