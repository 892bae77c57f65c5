import t, { type Test } from 'tap';
import { Prng } from '../../src/base/prng.js';
import type { Engine, ScanOptions, ScanPage } from '../../src/engine/engine.js';
import {
  deleteRangePointsMax,
  engineValueBytesMax,
  getManyBytesMax,
  getManyKeysMax,
  openViewsMax,
} from '../../src/engine/limits.js';
import { all, bytes, type Define, type Fixture, get, keysOf, none, put, rejectsWith } from './contract_support.js';
import { testPacking } from './packing_contract.js';

const closingTest = 'close() waits for what was asked for, refuses what comes after, and may be called again';
/** A guard against hanging, not a measure. */
t.setTimeout(180_000);

/** What every engine must do; the two engines' own test files run it. */
export function testEngineContract(open: () => Promise<Fixture>): void {
  const test = (name: string, body: (test: Test, fixture: Fixture) => Promise<void>): void => {
    void t.test(name, async (test) => {
      const fixture = await open();
      try {
        await body(test, fixture);
      } finally {
        await fixture.dispose(name === closingTest);
      }
    });
  };

  testOrder(test);
  testScans(test);
  testRanges(test);
  testViews(test);
  testPacking(test);
  testLifetime(test);
  testModel(test);
}

function testOrder(test: Define): void {
  test('a read sees every write that was issued before it, settled or not, and none issued after it', async (t, f) => {
    const { engine } = f;
    const answers: Promise<(string | null)[]>[] = [];
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 300; i++) {
      writes.push(put(engine, { k: String(i) }));
      answers.push(get(engine, 'k', 'absent'));
      if (i % 7 === 0) answers.push(get(engine, 'k', 'absent'));
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(writes);
    const seen = (await Promise.all(answers)).map(([value]) => Number(value));
    const expected: number[] = [];
    for (let i = 0; i < 300; i++) expected.push(...(i % 7 === 0 ? [i, i] : [i]));
    t.same(seen, expected);
  });

  test('operations of one batch take effect in their order', async (t, { engine }) => {
    const batch = engine.newBatch();
    batch.put(bytes('a'), bytes('1'));
    batch.delete(bytes('a'));
    batch.put(bytes('b'), bytes('1'));
    batch.put(bytes('b'), bytes('2'));
    batch.delete(bytes('c'));
    batch.put(bytes('c'), none);
    t.equal(batch.count, 6);
    t.equal(batch.bytes, 9);
    await engine.write(batch);
    t.same(await get(engine, 'a', 'b', 'c'), [null, '2', '']);
  });

  test('buffers may be changed once write() has returned', async (t, { engine }) => {
    const key = bytes('key');
    const value = bytes('value');
    const batch = engine.newBatch();
    batch.put(key, value);
    const written = engine.write(batch);
    key.fill(0x7a);
    value.fill(0x7a);
    const asked = bytes('key');
    const answer = engine.getMany([asked]);
    asked.fill(0x7a);
    await written;
    t.equal((await answer)[0]?.toString(), 'value');
  });

  test('an empty batch, an empty getMany and a repeated key are fine', async (t, { engine }) => {
    await engine.write(engine.newBatch());
    t.same(await engine.getMany([]), []);
    await put(engine, { a: '1' });
    t.same(await get(engine, 'a', 'x', 'a'), ['1', null, '1']);
  });

  test('a batch is written once and not touched after that', async (t, { engine }) => {
    const batch = engine.newBatch();
    batch.put(bytes('a'), none);
    await engine.write(batch);
    t.throws(() => batch.put(bytes('b'), none), /not touched/);
    t.throws(() => engine.write(batch), /written once/);
  });

  test('keys that are empty, too long or begin with a zero byte, and what exceeds the limits, are refused', async (t, {
    engine,
  }) => {
    const batch = engine.newBatch();
    t.throws(() => batch.put(none, none), /an engine key/);
    t.throws(() => batch.put(Buffer.alloc(8193, 1), none), /an engine key/);
    t.throws(() => batch.delete(Buffer.from([0, 1])), /an engine key/);
    t.throws(() => batch.put(bytes('k'), Buffer.alloc(engineValueBytesMax + 1)), /an engine value/);
    t.throws(() => batch.deleteRange(none, Buffer.alloc(8193, 1)), /range bounds/);
    t.throws(() => engine.getMany(new Array<Buffer>(getManyKeysMax + 1).fill(bytes('k'))), /bounded/);
    batch.put(Buffer.alloc(8192, 0xff), bytes('last'));
    await engine.write(batch);
    t.equal((await engine.scan(all({ reverse: true }))).rows.length, 1);
  });

  test('a getMany whose values are too large fails alone', async (t, { engine }) => {
    const large = Buffer.alloc(16 << 20, 0x61);
    const batch = engine.newBatch();
    batch.put(bytes('large'), large);
    batch.put(bytes('small'), bytes('1'));
    await engine.write(batch);
    const before = get(engine, 'small');
    const keys = new Array<Buffer>(getManyBytesMax / large.length + 1).fill(bytes('large'));
    const refused = rejectsWith(t, engine.getMany(keys), 'tooLarge');
    const after = get(engine, 'small', 'none');
    await refused;
    t.same(await before, ['1']);
    t.same(await after, ['1', null]);
  });

  test('writes that have not settled count as backlog', async (t, { engine }) => {
    t.equal(engine.writeBacklogBytes, 0);
    const written = put(engine, { abc: 'defg' });
    const asked = engine.writeBacklogBytes;
    await written;
    t.ok(asked === 7 || engine.kind === 'memory', 'counted until it settles');
    t.equal(engine.writeBacklogBytes, 0);
  });
}

function testScans(test: Define): void {
  const rows = Object.fromEntries(Array.from('abcdefghij', (key) => [key, `${key}${key}`]));

  test('a scan returns the rows of [start, end) in order, either way', async (t, { engine }) => {
    await put(engine, rows);
    const page = async (options: Partial<ScanOptions>): Promise<string> =>
      keysOf(await engine.scan(all(options))).join('');
    t.equal(await page({}), 'abcdefghij');
    t.equal(await page({ reverse: true }), 'jihgfedcba');
    t.equal(await page({ start: bytes('c'), end: bytes('f') }), 'cde');
    t.equal(await page({ start: bytes('c'), end: bytes('f'), reverse: true }), 'edc');
    t.equal(await page({ start: bytes('bb'), end: bytes('dd') }), 'cd');
    t.equal(await page({ start: bytes('bb'), end: bytes('dd'), reverse: true }), 'dc');
    t.equal(await page({ start: bytes('h') }), 'hij');
    t.equal(await page({ end: bytes('c'), reverse: true }), 'ba');
    t.equal(await page({ start: bytes('x') }), '');
    t.equal(await page({ start: bytes('f'), end: bytes('c') }), '');
    t.equal(await page({ start: bytes('f'), end: bytes('c'), reverse: true }), '');
    t.equal(await page({ start: bytes('f'), end: bytes('f') }), '');
  });

  test('a page ends at its limit or once it holds maxBytes, and says whether more follows', async (t, { engine }) => {
    await put(engine, rows);
    const page = async (options: Partial<ScanOptions>): Promise<[string, boolean]> => {
      const { rows, more } = await engine.scan(all(options));
      return [rows.map((row) => row.key.toString()).join(''), more];
    };
    for (const view of [false, true]) {
      const open = view ? await engine.openView() : null;
      const source = open ?? engine;
      const ask = async (options: Partial<ScanOptions>): Promise<[string, boolean]> => {
        const { rows, more } = await source.scan(all(options));
        return [keysOf({ rows, more }).join(''), more];
      };
      t.same(await ask({ limit: 3 }), ['abc', true]);
      t.same(await ask({ limit: 10 }), ['abcdefghij', false]);
      t.same(await ask({ limit: 9 }), ['abcdefghi', true]);
      t.same(await ask({ limit: 2, reverse: true }), ['ji', true]);
      t.same(await ask({ limit: 2, start: bytes('i') }), ['ij', false]);
      t.same(await ask({ maxBytes: 1 }), ['a', true], 'at least one row');
      t.same(await ask({ maxBytes: 6 }), ['ab', true]);
      t.same(await ask({ maxBytes: 7 }), ['abc', true]);
      t.same(await ask({ maxBytes: 6, end: bytes('c') }), ['ab', false]);
      t.same(await ask({ maxBytes: 3, keysOnly: true }), ['abc', true]);
      t.same(await ask({ maxBytes: 30 }), ['abcdefghij', false]);
      await open?.close();
    }
    t.same(await page({ limit: 1, start: bytes('z') }), ['', false]);
  });

  test('keysOnly leaves the values empty', async (t, { engine }) => {
    await put(engine, { a: '1' });
    const { rows } = await engine.scan(all({ keysOnly: true }));
    t.same(rows, [{ key: bytes('a'), value: none }]);
  });

  test('a scan refuses options without sense', (t, { engine }) => {
    t.throws(() => engine.scan(all({ limit: 0 })), /at least one row/);
    t.throws(() => engine.scan(all({ maxBytes: 0 })), /at least one byte/);
    t.throws(() => engine.scan(all({ limit: Number.NaN })), /at least one row/);
    return Promise.resolve();
  });

  test('sizes of small ranges are exact at once, those of large ones after some questions', async (t, { engine }) => {
    const batch = engine.newBatch();
    const count = 5_000;
    for (let i = 0; i < count; i++) batch.put(bytes(`k${String(i).padStart(9, '0')}`), Buffer.alloc(90));
    await engine.write(batch);
    const [low, high] = [bytes('k000000100'), bytes('k000000200')];
    t.same(await engine.approximateSize(low, high), { bytes: 10_000, keys: 100, complete: true });
    t.same(await engine.approximateSize(bytes('z'), none), { bytes: 0, keys: 0, complete: true });
    t.same(await engine.approximateSize(high, low), { bytes: 0, keys: 0, complete: true });
    let size = await engine.approximateSize(none, none);
    for (let i = 0; i < 8; i++) size = await engine.approximateSize(none, none);
    t.same(size, { bytes: count * 100, keys: count, complete: true });
    t.ok((await engine.diskBytes()) > 0);
  });

  test('the middle key of a range has about half of its bytes on either side', async (t, { engine }) => {
    t.equal(await engine.middleKey(none, none), null, 'nothing has no middle');
    const batch = engine.newBatch();
    for (let i = 0; i < 100; i++) batch.put(bytes(numbered(i)), Buffer.alloc(100));
    for (let i = 100; i < 200; i++) batch.put(bytes(numbered(i)), Buffer.alloc(9));
    await engine.write(batch);
    const middle = async (from: number, to: number): Promise<string | null> =>
      (await engine.middleKey(bytes(numbered(from)), bytes(numbered(to))))?.toString() ?? null;
    t.equal(await middle(0, 100), numbered(50));
    t.equal(await middle(100, 200), numbered(150));
    t.equal(await middle(7, 9), numbered(8));
    t.equal(await middle(7, 8), null, 'one key has no middle');
    for (let i = 0; i < 5; i++) await engine.approximateSize(none, none);
    const whole = await engine.middleKey(none, none);
    t.ok(whole !== null && whole.compare(bytes(numbered(40))) > 0 && whole.compare(bytes(numbered(80))) < 0);
  });
}

/** Rows key0000… in one batch. */
async function fill(engine: Engine, count: number): Promise<void> {
  const batch = engine.newBatch();
  for (let i = 0; i < count; i++) batch.put(bytes(numbered(i)), bytes(String(i)));
  await engine.write(batch);
}

const numbered = (i: number): string => `key${String(i).padStart(6, '0')}`;

function testRanges(test: Define): void {
  for (const count of [10, deleteRangePointsMax, deleteRangePointsMax + 1, 3 * deleteRangePointsMax]) {
    test(`deleteRange of ${count} keys takes effect at its place in the batch`, async (t, { engine }) => {
      await fill(engine, count + 2);
      const batch = engine.newBatch();
      batch.put(bytes('key000001a'), bytes('goes'));
      batch.put(bytes('kez'), bytes('stays'));
      batch.deleteRange(bytes(numbered(1)), bytes(numbered(count + 1)));
      batch.put(bytes('key000001b'), bytes('new'));
      batch.delete(bytes(numbered(0)));
      const written = engine.write(batch);
      const page = engine.scan(all());
      await written;
      t.same(keysOf(await page), ['key000001b', numbered(count + 1), 'kez']);
      t.same(await get(engine, numbered(1), numbered(count)), [null, null]);
    });
  }

  test('several ranges in one batch, small, large, empty and overlapping, are one write', async (t, { engine }) => {
    await fill(engine, 4_000);
    const batch = engine.newBatch();
    batch.deleteRange(bytes(numbered(0)), bytes(numbered(10)));
    batch.deleteRange(bytes(numbered(5)), bytes(numbered(3_000)));
    batch.put(bytes(numbered(7)), bytes('again'));
    batch.deleteRange(bytes('x'), bytes('a'));
    batch.deleteRange(bytes(numbered(3_990)), none);
    await engine.write(batch);
    const page = await engine.scan(all({ keysOnly: true }));
    t.equal(page.rows.length, 1 + 990);
    t.equal(page.rows[0]?.key.toString(), numbered(7));
    t.equal(page.rows.at(-1)?.key.toString(), numbered(3_989));
  });

  test('deleteRange without bounds removes everything', async (t, { engine }) => {
    for (const count of [5, 5_000]) {
      await fill(engine, count);
      const batch = engine.newBatch();
      batch.put(Buffer.alloc(8192, 0xff), none);
      batch.deleteRange(none, none);
      await engine.write(batch);
      t.same(await engine.scan(all()), { rows: [], more: false });
    }
  });
}

function testViews(test: Define): void {
  test('a view stays as it was while the engine goes on', async (t, { engine }) => {
    await fill(engine, 3_000);
    const opening = engine.openView();
    const batch = engine.newBatch();
    batch.deleteRange(none, bytes(numbered(2_000)));
    batch.put(bytes(numbered(2_500)), bytes('changed'));
    const written = engine.write(batch);
    const view = await opening;
    await written;
    t.equal((await view.get(bytes(numbered(17))))?.toString(), '17');
    t.equal((await view.get(bytes(numbered(2_500))))?.toString(), '2500');
    t.equal(await view.get(bytes('absent')), null);
    t.equal((await view.scan(all())).rows.length, 3_000);
    t.equal((await view.scan(all({ reverse: true }))).rows[2_999]?.key.toString(), numbered(0));
    t.equal((await engine.scan(all())).rows.length, 1_000);
    await view.close();
    await view.close();
    await rejectsWith(t, view.get(bytes('a')), 'closed');
  });

  test('the pages of a view, asked for all at once, join without gap or overlap', async (t, { engine }) => {
    const batch = engine.newBatch();
    for (let i = 0; i < 6_000; i++) batch.put(bytes(numbered(i)), Buffer.alloc(200, i));
    await engine.write(batch);
    const view = await engine.openView();
    const bounds = [0, 1, 999, 2_500, 5_000, 6_000].map((i) => bytes(numbered(i)));
    const pages = await Promise.all(
      bounds.slice(1).map((end, i) => view.scan(all({ start: bounds[i] ?? none, end, reverse: i % 2 === 1 }))),
    );
    t.same(
      pages.flatMap((page, i) => (i % 2 === 1 ? keysOf(page).reverse() : keysOf(page))),
      Array.from({ length: 6_000 }, (_, i) => numbered(i)),
    );
    t.ok(pages.every((page) => !page.more));
    await view.close();
  });

  test('no more than the allowed number of views is open at once', async (t, { engine }) => {
    const views = await Promise.all(Array.from({ length: openViewsMax }, () => engine.openView()));
    await rejectsWith(t, engine.openView(), 'tooManyViews');
    await views[0]?.close();
    const again = await engine.openView();
    t.same(await again.scan(all()), { rows: [], more: false });
    await Promise.all([again, ...views].map((view) => view.close()));
  });
}

function testLifetime(test: Define): void {
  test('what was written is there after a clean close', async (t, f) => {
    await fill(f.engine, 2_000);
    const batch = f.engine.newBatch();
    batch.deleteRange(bytes(numbered(10)), bytes(numbered(1_990)));
    void f.engine.write(batch);
    const again = await f.reopen();
    t.equal((await again.scan(all())).rows.length, 20);
    await put(again, { later: '1' });
    await again.sync();
    t.same(await get(again, 'later'), ['1']);
  });

  test(closingTest, async (t, f) => {
    const { engine } = f;
    const view = await engine.openView();
    const answers = [put(engine, { a: '1' }), engine.sync(), get(engine, 'a'), view.scan(all())];
    const closing = engine.close();
    await rejectsWith(t, get(engine, 'a'), 'closed');
    await rejectsWith(t, put(engine, { a: '2' }), 'closed');
    await rejectsWith(t, engine.sync(), 'closed');
    await rejectsWith(t, view.scan(all()), 'closed');
    await view.close();
    await closing;
    await engine.close();
    t.same((await Promise.all(answers))[2], ['1']);
  });
}

function testModel(test: Define): void {
  test('random batches, reads, scans and views agree with a plain map', async (t, f) => {
    let engine = f.engine;
    const prng = new Prng(20_240_607);
    const model = new Map<string, string>();
    const key = (): string => `k${String(prng.int(0, 400)).padStart(3, '0')}`;
    const sorted = (state: Map<string, string>, { start, end, limit, reverse }: ScanOptions): [string, string][] => {
      const [low, high] = [start.toString('latin1'), end.toString('latin1')];
      const rows = [...state].filter(([key]) => key >= low && (high === '' || key < high)).sort();
      return (reverse ? rows.reverse() : rows).slice(0, limit);
    };
    const randomScan = (): ScanOptions => {
      const start = prng.chance(0.2) ? none : bytes(key());
      const end = prng.chance(0.2) ? none : bytes(key());
      return all({ start, end, limit: prng.int(1, 60), reverse: prng.chance(0.5) });
    };
    const flat = (page: ScanPage): [string, string][] =>
      page.rows.map((row) => [row.key.toString('latin1'), row.value.toString('latin1')]);
    const checks: Promise<void>[] = [];
    const expect = async (page: Promise<ScanPage>, rows: [string, string][], what: string): Promise<void> => {
      if (JSON.stringify(flat(await page)) !== JSON.stringify(rows)) t.same(flat(await page), rows, what);
    };
    let view = { rows: new Map<string, string>(), source: await engine.openView() };
    for (let step = 0; step < 3_000; step++) {
      const kind = prng.random();
      if (kind < 0.5) {
        const batch = engine.newBatch();
        for (let i = prng.int(1, 20); i > 0; i--) writeRandom(batch, model, prng, key);
        checks.push(engine.write(batch));
      } else if (kind < 0.75) {
        const options = randomScan();
        checks.push(expect(engine.scan(options), sorted(model, options), `scan at step ${step}`));
      } else if (kind < 0.9) {
        const keys = Array.from({ length: prng.int(1, 10) }, key);
        const values = keys.map((k) => model.get(k) ?? null);
        checks.push(
          get(engine, ...keys).then((found) => {
            if (found.join() !== values.join()) t.same(found, values, `getMany at step ${step}`);
          }),
        );
      } else if (kind < 0.97) {
        const options = randomScan();
        checks.push(expect(view.source.scan(options), sorted(view.rows, options), `view at step ${step}`));
      } else if (kind < 0.98) {
        await view.source.close();
        const rows = new Map(model);
        view = { rows, source: await engine.openView() };
      } else if (kind < 0.99) {
        checks.push(engine.sync());
      } else if (prng.chance(0.1)) {
        engine = await f.reopen();
        view = { rows: new Map(model), source: await engine.openView() };
      }
      if (checks.length > 50) await Promise.all(checks.splice(0));
    }
    await Promise.all(checks);
    t.same(flat(await engine.scan(all())), [...model].sort(), 'the end state');
    await view.source.close();
  });
}

function writeRandom(
  batch: ReturnType<Engine['newBatch']>,
  model: Map<string, string>,
  prng: Prng,
  key: () => string,
): void {
  const kind = prng.random();
  const first = key();
  if (kind < 0.7) {
    const value = 'v'.repeat(prng.int(0, 40)) + String(prng.int(0, 1_000_000));
    batch.put(bytes(first), bytes(value));
    model.set(first, value);
  } else if (kind < 0.97) {
    batch.delete(bytes(first));
    model.delete(first);
  } else {
    const last = prng.chance(0.9) ? `${first.slice(0, 3)}z` : key();
    batch.deleteRange(bytes(first), bytes(last));
    for (const key of [...model.keys()]) if (key >= first && key < last) model.delete(key);
  }
}
