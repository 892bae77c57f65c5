import t from 'tap';
import { must } from '../../src/base/assert.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, entry, openLog, readAll } from './support.js';

void t.test('what was written is there after reopening', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk);
  await log.write([create(1), create(2, 5, 5)]);
  await log.write([
    append(1, entry(1, 1, 'a'), entry(2, 1, 'b'), entry(3, 1, 'c')),
    { kind: 'append', groupId: 2, hardState: { term: 6, vote: 9, commit: 5 }, entries: [entry(6, 6, 'x')] },
  ]);
  await log.write([append(1, entry(2, 2, 'B'))]);
  await log.write([{ kind: 'compact', groupId: 1, index: 1, term: 1 }]);
  await log.close();
  const again = await openLog(disk);
  const one = must(again.group(1), 'group 1');
  const two = must(again.group(2), 'group 2');
  t.same([...again.groupIds()], [1, 2]);
  t.same([one.firstIndex(), one.lastIndex(), one.term(1), one.term(2)], [2, 2, 1, 2]);
  t.equal(one.term(0), 'compacted');
  t.equal(one.term(3), 'unavailable');
  t.same(await readAll(again, 1), ['2:B']);
  t.same(two.hardState, { term: 6, vote: 9, commit: 5 });
  t.same(await readAll(again, 2), ['6:x']);
  t.equal(again.damaged.size, 0);
  await again.close();
});

void t.test('batches given while a sync is running become one batch', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk);
  await log.write([create(1)]);
  let release: () => void = () => undefined;
  let held: () => void = () => undefined;
  const holding = new Promise<void>((resolve) => (held = resolve));
  disk.intercept = (operation) => {
    if (operation !== 'datasync') return undefined;
    disk.intercept = null;
    held();
    return new Promise<void>((resolve) => (release = resolve));
  };
  const first = log.write([append(1, entry(1, 1, 'a'))]);
  await holding;
  const before = log.stats().batches;
  const rest = [];
  for (let i = 2; i <= 50; i++) rest.push(log.write([append(1, entry(i, 1, `v${i}`))]));
  t.equal(log.group(1)?.lastIndex(), 50, 'memory changes at once');
  release();
  await Promise.all([first, ...rest]);
  t.equal(log.stats().batches - before, 2);
  await log.close();
});

void t.test('segments are recycled when nothing in them is needed', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk);
  await log.write([create(1), create(2)]);
  await log.write([
    { kind: 'append', groupId: 2, hardState: { term: 3, vote: 7, commit: 0 }, entries: [entry(1, 3, 'old')] },
  ]);
  for (let i = 1; i <= 2000; i++) {
    await log.write([append(1, entry(i, 1, `value ${i}`))]);
    if (i % 10 === 0) await log.write([{ kind: 'compact', groupId: 1, index: i - 5, term: 1 }]);
  }
  t.ok(log.stats().segments <= 4, `${log.stats().segments} segments`);
  t.ok(disk.paths().length <= 8, disk.paths().join(' '));
  await log.close();
  const again = await openLog(disk);
  t.equal(again.group(1)?.firstIndex(), 1996);
  t.same(
    await readAll(again, 1),
    [1996, 1997, 1998, 1999, 2000].map((i) => `1:value ${i}`),
  );
  t.same(await readAll(again, 2), ['3:old'], 'entries that pinned the first segment were moved');
  t.same(again.group(2)?.hardState, { term: 3, vote: 7, commit: 0 });
  await again.close();
});
