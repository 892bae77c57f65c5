import { constants, existsSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { AssertionError } from '../../src/base/assert.js';
import type { Disk, DiskFile } from '../../src/base/disk.js';
import { NodeDisk, openReadOnly } from '../../src/raftlog/node_disk.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, entry, openLog, readAll } from './support.js';

/** Why descriptors cannot be looked at; false: they can. */
const noDescriptors = process.platform === 'linux' ? false : 'only Linux shows the flags of open files';

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
  await t.rejects(reading.writeThrough([Buffer.from('x')], 0), { code: 'EBADF' });
  await t.rejects(reading.truncate(0), { code: 'EINVAL' });
  t.equal((await reading.read(0, 10)).toString(), 'kept');
  await reading.close();
  await t.rejects(openReadOnly(`${path}.absent`), { code: 'ENOENT' });
});

void t.test(
  'a write-through is seen by reads, also after the file was renamed, and may take many buffers',
  async (t) => {
    const disk = new NodeDisk();
    const directory = t.testdir();
    const file = await disk.open(join(directory, 'f'), { create: true });
    await file.write([Buffer.alloc(64, 0x2e)], 0);
    await disk.rename(join(directory, 'f'), join(directory, 'g'));
    await file.writeThrough([Buffer.from('ab'), Buffer.alloc(0), Buffer.from('cd')], 2);
    await file.writeThrough([Buffer.from('e')], 6);
    t.equal((await file.read(0, 10)).toString(), '..abcde...');
    const parts = Array.from({ length: 2500 }, (_, i) => Buffer.from(`${i},`));
    await file.writeThrough(parts, 64);
    t.equal((await file.read(64, 1 << 20)).toString(), parts.join(''));
    await file.close();
    t.equal(existsSync(join(directory, 'f')), false);
  },
);

void t.test(
  'a write-through goes out as one call that syncs, where the system has one',
  { skip: noDescriptors },
  async (t) => {
    const file = await new NodeDisk().open(join(t.testdir(), 'f'), { create: true });
    const path = join(t.testdirName, 'f');
    const flagsOf = async (): Promise<number[]> => {
      const flags: number[] = [];
      for (const fd of await readdir('/proc/self/fd')) {
        // The descriptor that lists the directory is gone by now.
        const target = await readlink(`/proc/self/fd/${fd}`).catch(() => '');
        if (target !== path) continue;
        const info = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8');
        flags.push(Number.parseInt(/flags:\s*(\d+)/.exec(info)?.[1] ?? '', 8));
      }
      return flags;
    };
    t.same(
      (await flagsOf()).map((f) => f & constants.O_DSYNC),
      [0],
    );
    await file.writeThrough([Buffer.from('x')], 0);
    t.ok(
      (await flagsOf()).some((f) => (f & constants.O_DSYNC) !== 0),
      'it is open with O_DSYNC too',
    );
    await file.close();
    t.same(await flagsOf(), [], 'both descriptors are closed');
  },
);

void t.test('a read may use the memory that it is given, and tells how much of it is the result', async (t) => {
  const file = await new NodeDisk().open(join(t.testdir(), 'f'), { create: true });
  await file.write([Buffer.from('0123456789')], 0);
  const into = Buffer.alloc(16, 0x2e);
  t.equal((await file.read(2, 4, into)).toString(), '2345');
  t.equal((await file.read(8, 16, into)).toString(), '89');
  t.equal(into.toString().slice(0, 4), '8945', 'the rest of the memory is as it was');
  await file.close();
});

const uses: readonly [string, (file: DiskFile) => Promise<unknown>][] = [
  ['close', (file) => file.close()],
  ['size', (file) => file.size()],
  ['read', (file) => file.read(0, 1)],
  ['write', (file) => file.write([Buffer.from('x')], 0)],
  ['writeThrough', (file) => file.writeThrough([Buffer.from('x')], 0)],
  ['datasync', (file) => file.datasync()],
  ['truncate', (file) => file.truncate(0)],
];

const disks: readonly [string, () => Disk][] = [
  ['the real disk', () => new NodeDisk()],
  ["the tests' disk in memory", () => new MemoryDisk()],
];

for (const [name, newDisk] of disks) {
  void t.test(`on ${name} a closed file is neither closed again nor used, which would hit another file`, async (t) => {
    const disk = newDisk();
    const directory = t.testdir();
    for (const writesThrough of [false, true]) {
      const file = await disk.open(join(directory, 'first'), { create: true });
      if (writesThrough) await file.writeThrough([Buffer.from('first')], 0);
      const closing = file.close();
      await t.rejects(file.close(), AssertionError, 'while the first close is under way');
      await closing;
      // On the real disk these get the numbers of the descriptors that were closed.
      const others: DiskFile[] = [];
      for (const n of [1, 2, 3]) {
        const other = await disk.open(join(directory, `other-${n}`), { create: true });
        await other.write([Buffer.from('other')], 0);
        others.push(other);
      }
      for (const [use, tryIt] of uses) await t.rejects(tryIt(file), AssertionError, use);
      for (const other of others) {
        t.equal((await other.read(0, 10)).toString(), 'other', 'the others are open, and as they were');
        await other.close();
      }
    }
  });
}

void t.test('a close that failed is not tried again: the descriptor is gone all the same', async (t) => {
  const disk = new MemoryDisk();
  const file = await disk.open('/f', { create: true });
  disk.intercept = (operation) => {
    if (operation === 'close') throw new Error('EIO');
  };
  await t.rejects(file.close(), { message: 'EIO' });
  disk.intercept = null;
  await t.rejects(file.close(), AssertionError);
});
