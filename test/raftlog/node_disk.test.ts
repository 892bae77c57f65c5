import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { NodeDisk, openReadOnly } from '../../src/raftlog/node_disk.js';
import { append, create, entry, openLog, readAll } from './support.js';

void t.test('NodeDisk writes vectors, reads back, renames and lists', async (t) => {
  const disk = new NodeDisk();
  const directory = join(t.testdir(), 'a', 'b');
  t.same(await disk.list(directory), []);
  await disk.makeDirectory(directory);
  await disk.makeDirectory(directory);
  const file = await disk.open(join(directory, 'f'), { create: true });
  const parts = Array.from({ length: 3000 }, (_, i) => Buffer.from(`${i},`));
  await file.write(parts, 10);
  await file.write([], 0);
  await file.datasync();
  const text = parts.join('');
  t.equal(await file.size(), 10 + text.length);
  t.equal((await file.read(10, text.length)).toString(), text);
  t.equal((await file.read(text.length, 1000)).length, 10, 'a read ends with the file');
  await file.truncate(12);
  t.equal(await file.size(), 12);
  await file.close();
  await disk.rename(join(directory, 'f'), join(directory, 'g'));
  await disk.syncDirectory(directory);
  t.same(await disk.list(directory), ['g']);
  await disk.unlink(join(directory, 'g'));
  await t.rejects(disk.open(join(directory, 'g'), { create: false }), { code: 'ENOENT' });
  const space = await disk.space(directory);
  t.ok(space.freeBytes > 0 && space.totalBytes >= space.freeBytes);
});

void t.test('a log on a real disk survives reopening, rolling and recycling', async (t) => {
  const directory = join(t.testdir(), 'log');
  const disk = new NodeDisk();
  const log = await openLog(disk, { segmentBytes: 65_536 }, directory);
  await log.write([create(1), create(2)]);
  await log.write([append(2, entry(1, 4, 'pinned'))]);
  for (let i = 1; i <= 300; i++) {
    void log.write([append(1, entry(i, 1, `value ${i} ${'x'.repeat(1000)}`))]);
    if (i % 50 === 0) await log.write([{ kind: 'compact', groupId: 1, index: i - 10, term: 1 }]);
  }
  await log.close();
  const again = await openLog(disk, { segmentBytes: 65_536 }, directory);
  t.equal(again.group(1)?.firstIndex(), 291);
  t.equal((await readAll(again, 1)).at(-1), `1:value 300 ${'x'.repeat(1000)}`);
  t.same(await readAll(again, 2), ['4:pinned']);
  t.ok(again.stats().segments < 5, `${again.stats().segments} segments`);
  await again.close();
  t.ok(existsSync(join(directory, 'identity')));
});

void t.test('a file opened for reading alone refuses every change', async (t) => {
  const path = `${t.testdir()}/file`;
  const file = await new NodeDisk().open(path, { create: true });
  await file.write([Buffer.from('kept')], 0);
  await file.close();
  const reading = await openReadOnly(path);
  await t.rejects(reading.write([Buffer.from('x')], 0), { code: 'EBADF' });
  await t.rejects(reading.truncate(0), { code: 'EINVAL' });
  t.equal((await reading.read(0, 10)).toString(), 'kept');
  await reading.close();
  await t.rejects(openReadOnly(`${path}.absent`), { code: 'ENOENT' });
});
