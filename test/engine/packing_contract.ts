import { must } from '../../src/base/assert.js';
import type { EngineView, PackedPage } from '../../src/engine/engine.js';
import { openLoadersMax } from '../../src/engine/limits.js';
import { packedEnd } from '../../src/engine/packed_rows.js';
import { all, bytes, type Define, get, put, rejectsWith } from './contract_support.js';

/** Packing rows out of an engine and loading them into one. */
export function testPacking(test: Define): void {
  const source = { tag: 1, prefix: bytes('a/'), start: bytes('a/'), end: bytes('a0') };
  const target = { tag: 1, prefix: bytes('b/'), start: bytes('b/'), end: bytes('b0') };

  const packedAll = async (view: EngineView, limits: { limit: number; maxBytes: number; chunkBytes: number }) => {
    const chunks: Buffer[] = [];
    let rows = 0;
    for (let start: Buffer | null = source.start; start !== null;) {
      const { tag, prefix, end } = source;
      const page: PackedPage = await view.pack({ start, end, tag, skip: prefix.length, ...limits });
      for (const chunk of page.chunks) chunks.push(Buffer.from(chunk));
      rows += page.rows;
      start = page.next;
    }
    return [...chunks, packedEnd(rows)];
  };

  test('rows that are packed from a view and loaded elsewhere are the same rows, whatever the limits', async (t, f) => {
    const rows = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`a/${i}`, 'v'.repeat(i)]));
    await put(f.engine, { ...rows, a: 'before', a0: 'after' });
    const view = await f.engine.openView();
    await put(f.engine, { 'a/7': 'later', 'a/new': 'later' });
    for (const limits of [
      { limit: 10_000, maxBytes: 1 << 20, chunkBytes: 1 << 20 },
      { limit: 7, maxBytes: 1 << 20, chunkBytes: 100 },
      { limit: 10_000, maxBytes: 1_000, chunkBytes: 333 },
    ]) {
      const chunks = await packedAll(view, limits);
      t.ok(chunks.every((chunk) => chunk.length <= limits.chunkBytes));
      const loader = await f.engine.openLoader([target]);
      for (const chunk of chunks) void loader.write(chunk);
      t.equal(await loader.finish(), 500);
      const page = await f.engine.scan(all({ start: target.start, end: target.end }));
      const wanted = Object.entries(rows).map(([key, value]) => [key.replace('a/', 'b/'), value] as const);
      t.strictSame(
        page.rows.map(({ key, value }) => [key.toString(), value.toString()]),
        wanted.sort(([a], [b]) => (a < b ? -1 : 1)),
      );
      const batch = f.engine.newBatch();
      batch.deleteRange(target.start, target.end);
      await f.engine.write(batch);
    }
    await view.close();
  });

  test('a loaded row is seen by a read that is asked for after its chunk, not the value before', async (t, f) => {
    await put(f.engine, { 'a/k': 'new', 'b/k': 'old' });
    t.same(await get(f.engine, 'b/k', 'b/none'), ['old', null]);
    const view = await f.engine.openView();
    const [chunk, end] = await packedAll(view, { limit: 10, maxBytes: 1 << 20, chunkBytes: 1 << 20 });
    await view.close();
    const loader = await f.engine.openLoader([target]);
    const before = get(f.engine, 'b/k');
    void loader.write(must(chunk, 'a chunk'));
    const after = get(f.engine, 'b/k');
    t.same(await before, ['old']);
    t.same(await after, ['new']);
    await loader.write(must(end, 'the end'));
    t.equal(await loader.finish(), 1);
    t.same(await get(f.engine, 'b/k'), ['new']);
  });

  test('bytes that are no rows end their loader with `corruption`, and the engine goes on', async (t, f) => {
    const loader = await f.engine.openLoader([target]);
    await rejectsWith(t, loader.write(Buffer.alloc(64, 0xff)), 'corruption');
    await rejectsWith(t, loader.write(packedEnd(0)), 'closed');
    const early = await f.engine.openLoader([target]);
    await rejectsWith(t, early.finish(), 'corruption');
    await put(f.engine, { a: '1' });
    t.same(await get(f.engine, 'a'), ['1']);
  });

  test('past openLoadersMax a loader is refused until another one is finished or closed', async (t, f) => {
    const loaders = [];
    for (let i = 0; i < openLoadersMax; i++) loaders.push(await f.engine.openLoader([target]));
    await rejectsWith(t, f.engine.openLoader([target]), 'busy');
    await must(loaders.pop(), 'a loader').close();
    loaders.push(await f.engine.openLoader([target]));
    await must(loaders[0], 'a loader').write(packedEnd(0));
    await must(loaders.shift(), 'a loader').finish();
    loaders.push(await f.engine.openLoader([target]));
    for (const loader of loaders) await loader.close();
  });
}
