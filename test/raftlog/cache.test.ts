import t from 'tap';
import { must } from '../../src/base/assert.js';
import { LogBuffer } from '../../src/raftlog/log_buffer.js';
import { LoadedEntries } from '../../src/raftlog/loaded_entries.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, entry, openLog, readAll } from './support.js';

void t.test('the entry cache stays within its bound, and what left it is loaded from disk', async (t) => {
  const log = await openLog(new MemoryDisk(), { segmentBytes: 65_536, cacheBytesMax: 32_768 });
  await log.write([create(1), create(2)]);
  let largest = 0;
  for (let i = 1; i <= 1000; i++) {
    await log.write([append(1, entry(i, 1, `one ${i} ${'x'.repeat(100)}`)), append(2, entry(i, 3, `two ${i}`))]);
    largest = Math.max(largest, log.stats().cacheBytes);
  }
  t.ok(largest <= 32_768 + 8192, `${largest} bytes`);
  const group = must(log.group(1), 'group');
  t.type(group.entries(1000, 1001, 1), Array, 'the newest entry is in memory');
  t.equal(group.entries(1, 10, 1000), 'pending');
  await group.load(1, 10, 1000);
  const got = group.entries(1, 10, 1000);
  t.same(typeof got === 'string' ? got : got.map((e) => e.index), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  t.equal((await readAll(log, 1)).length, 1000);
  t.equal((await readAll(log, 2))[499], '3:two 500');
  t.ok(log.stats().cacheBytes <= 32_768 * 2 + 8192, 'loaded entries have a bound of their own');
  await log.close();
});

void t.test('entries() gives as many as fit, at least one, and says why when it gives none', async (t) => {
  const log = await openLog(new MemoryDisk());
  await log.write([create(1, 5, 2), append(1, entry(6, 2, 'aaaa'), entry(7, 2, 'bbbb'), entry(8, 3, 'cccc'))]);
  const group = must(log.group(1), 'group');
  const indexes = (lo: number, hi: number, max: number): unknown => {
    const got = group.entries(lo, hi, max);
    return typeof got === 'string' ? got : got.map((e) => e.index);
  };
  t.same(indexes(6, 9, 100), [6, 7, 8]);
  t.same(indexes(6, 9, 8), [6, 7]);
  t.same(indexes(6, 9, 0), [6]);
  t.same(indexes(7, 8, 100), [7]);
  t.same(indexes(5, 9, 100), 'compacted');
  t.same(indexes(6, 10, 100), 'unavailable');
  t.equal(group.bytes(), 12);
  t.same(
    [group.term(4), group.term(5), group.term(6), group.term(8), group.term(9)],
    ['compacted', 2, 2, 3, 'unavailable'],
  );
  await t.rejects(group.load(5, 6, 1), { code: 'entriesGone' });
  await log.close();
});

void t.test('a load that meets a truncation brings in nothing that was replaced', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk);
  await log.write([create(1)]);
  await log.write([append(1, entry(1, 1, 'a'), entry(2, 1, 'old'), entry(3, 1, 'old'))]);
  await log.close();
  const again = await openLog(disk);
  const group = must(again.group(1), 'group');
  t.equal(group.entries(1, 4, 100), 'pending');
  let release: () => void = () => undefined;
  disk.intercept = (operation) => {
    if (operation !== 'read') return undefined;
    disk.intercept = null;
    return new Promise<void>((resolve) => (release = resolve));
  };
  const loading = group.load(1, 4, 100);
  await again.write([append(1, entry(2, 2, 'new'))]);
  release();
  await loading;
  t.same(await readAll(again, 1), ['1:a', '2:new']);
  await again.close();
});

void t.test('a segment is not recycled under a read', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, { segmentBytes: 4096, cacheBytesMax: 16_384 });
  await log.write([create(1)]);
  for (let i = 1; i <= 300; i++) await log.write([append(1, entry(i, 1, `value ${i} ${'x'.repeat(50)}`))]);
  const group = must(log.group(1), 'group');
  t.equal(group.entries(1, 2, 1), 'pending');
  let release: () => void = () => undefined;
  disk.intercept = (operation) => {
    if (operation !== 'read') return undefined;
    disk.intercept = null;
    return new Promise<void>((resolve) => (release = resolve));
  };
  const loading = group.load(1, 2, 1);
  const before = disk.counts.get('rename') ?? 0;
  await log.write([{ kind: 'compact', groupId: 1, index: 299, term: 1 }]);
  for (let i = 301; i <= 310; i++) await log.write([append(1, entry(i, 1, 'x'))]);
  t.equal(disk.counts.get('rename') ?? 0, before, 'the file waits for the read');
  release();
  await loading;
  for (let i = 311; i <= 320; i++) await log.write([append(1, entry(i, 1, 'x'))]);
  await log.close();
  t.ok((disk.counts.get('rename') ?? 0) > before);
});

void t.test('LogBuffer finds bytes by address, across arenas, and forgets only what is written', (t) => {
  const buffer = new LogBuffer(16_384, 4096);
  let address = 1000;
  for (let i = 0; i < 20; i++) {
    if (i === 10) address += 500;
    buffer.beginFrame(address, 16);
    buffer.ensure(1500);
    buffer.buffer.fill(i, buffer.pos, buffer.pos + 1500);
    buffer.pos += 1500;
    buffer.endFrame();
    address += 1500;
  }
  t.ok(buffer.bytes > 16_384, 'nothing is written yet');
  const at = (a: number): number | undefined => {
    const piece = buffer.find(a);
    return piece === null ? undefined : piece.buffer[piece.offset + a - piece.start];
  };
  t.same(
    [at(999), at(1000), at(2499), at(2500), at(16_000), at(16_500), at(address - 1), at(address)],
    [undefined, 0, 0, 1, undefined, 10, 19, undefined],
  );
  buffer.trim(5000);
  t.equal(at(1000), undefined);
  t.equal(at(5500), 3, 'not written yet');
  buffer.trim(address);
  t.ok(buffer.bytes <= 16_384);
  t.equal(at(address - 1), 19);
  t.end();
});

void t.test('LoadedEntries forgets the oldest range past its bound, never the newest', (t) => {
  const loaded = new LoadedEntries(100);
  const range = (groupId: number, first: number): void =>
    loaded.add(
      groupId,
      [entry(first, 1, 'x'.repeat(40)), entry(first + 1, 1, 'y'.repeat(40))],
      [first * 10, first * 10 + 5],
    );
  range(1, 1);
  t.equal(loaded.find(1, 2, 15)?.index, 2);
  t.equal(loaded.find(1, 2, 16), null, 'another address: another entry');
  t.equal(loaded.find(2, 2, 15), null);
  range(2, 7);
  t.equal(loaded.bytes, 80);
  t.equal(loaded.find(1, 1, 10), null);
  t.equal(loaded.find(2, 7, 70)?.index, 7);
  t.end();
});
