import t from 'tap';
import { Prng } from '../../src/base/prng.js';
import { stagedBehindBytesMax } from '../../src/multiraft/limits.js';
import {
  openStagedSnapshot,
  StagedFileError,
  StagedFileWriter,
  type StagedHeader,
} from '../../src/multiraft/staging.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { emptyConfState } from './toy_state_machine.js';

const header: StagedHeader = {
  groupId: 7,
  replicaId: 72,
  meta: { index: 100, term: 9, confState: { ...emptyConfState, voters: [71, 72], learners: [73] } },
  descriptor: Buffer.from([0, 1, 2, 255]),
  formatVersion: 3,
};

async function stage(disk: MemoryDisk, chunks: readonly Buffer[]): Promise<string> {
  const writer = await StagedFileWriter.create(disk, '/staging', 'a.staged', header);
  for (const chunk of chunks) await writer.write(chunk);
  return (await writer.finish()).path;
}

async function chunksOf(disk: MemoryDisk, path: string): Promise<string[]> {
  const { staged } = await openStagedSnapshot(disk, path);
  const chunks: string[] = [];
  for await (const chunk of staged.read()) chunks.push(chunk.toString());
  return chunks;
}

t.test('a staged file gives back what was written, after a power cut too', async (t) => {
  const disk = new MemoryDisk();
  const path = await stage(disk, [Buffer.from('one'), Buffer.alloc(0), Buffer.from('three')]);
  disk.powerCut();
  const opened = await openStagedSnapshot(disk, path);
  t.same(opened.header, header);
  t.equal(opened.staged.chunks, 3);
  t.equal(opened.staged.bytes, 8);
  t.same(await chunksOf(disk, path), ['one', '', 'three']);
});

t.test('a file that was not finished is not a snapshot, wherever the power was cut', async (t) => {
  for (let changes = 0; changes < 12; changes++) {
    const disk = new MemoryDisk({ prng: new Prng(changes + 1) });
    disk.crashAfter = changes;
    const done = await stage(disk, [Buffer.from('one'), Buffer.from('two')]).then(
      () => true,
      () => false,
    );
    disk.powerCut();
    if (done) {
      t.same(await chunksOf(disk, '/staging/a.staged'), ['one', 'two']);
      continue;
    }
    const opened = await openStagedSnapshot(disk, '/staging/a.staged').catch((error: unknown) => error);
    // Everything may have reached the disk although nobody was told; then it is whole.
    if (opened instanceof Error) t.ok(opened instanceof StagedFileError || /ENOENT/.test(opened.message));
    else t.same(await chunksOf(disk, '/staging/a.staged'), ['one', 'two']);
  }
});

t.test('no flipped byte goes unnoticed', async (t) => {
  const disk = new MemoryDisk();
  const path = await stage(disk, [Buffer.from('one'), Buffer.from('two')]);
  const size = disk.contents(path).length;
  for (let at = 0; at < size; at++) {
    const bytes = disk.contents(path);
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    await t.rejects(chunksOf(disk, path), StagedFileError, `byte ${at}`);
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
  }
  t.same(await chunksOf(disk, path), ['one', 'two']);
});

t.test('limits of the header and of chunks', async (t) => {
  const disk = new MemoryDisk();
  const writer = await StagedFileWriter.create(disk, '/staging', 'b.staged', header);
  await t.rejects(writer.write(Buffer.alloc(33 * 1024 * 1024)), /too large/);
  await writer.abort();
  const large = { ...header, descriptor: Buffer.alloc(4 * 1024 * 1024) };
  await t.rejects(StagedFileWriter.create(disk, '/staging', 'c.staged', large), /too large/);
  t.notOk(disk.paths().includes('/staging/b.staged'));
});

/** A staged file on a disk that takes no write until it is let go on. */
async function stageSlowly(): Promise<{ disk: MemoryDisk; writer: StagedFileWriter; goOn: (error?: Error) => void }> {
  const disk = new MemoryDisk();
  const writer = await StagedFileWriter.create(disk, '/staging', 'slow.staged', header);
  let goOn: (error?: Error) => void = () => undefined;
  const gate = new Promise<void>((resolve, reject) => {
    goOn = (error) => (error === undefined ? resolve() : reject(error));
  });
  disk.intercept = (operation) => (operation === 'write' ? gate : undefined);
  return { disk, writer, goOn };
}

/** Whether the promise has settled once everything that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  await new Promise((resolve) => setImmediate(resolve));
  const first = await Promise.race([promise.catch(() => undefined), Promise.resolve(pending)]);
  return first !== pending;
}

t.test(
  'past its limit of bytes that are not written yet, a staged file makes its sender wait for the disk',
  async (t) => {
    const { disk, writer, goOn } = await stageSlowly();
    const chunk = Buffer.alloc(stagedBehindBytesMax / 8, 1);
    for (let n = 0; n < 7; n++) await writer.write(chunk);
    const past = writer.write(chunk);
    t.notOk(await isSettled(past), 'with its head, the eighth chunk is past the limit');
    goOn();
    await past;
    const { path } = await writer.finish();
    t.same(
      (await chunksOf(disk, path)).map(({ length }) => length),
      Array.from({ length: 8 }, () => chunk.length),
      'nothing was lost by waiting',
    );
  },
);

t.test('a sender that waits for the disk of a staged file hears of its failure', async (t) => {
  const { disk, writer, goOn } = await stageSlowly();
  const past = writer.write(Buffer.alloc(stagedBehindBytesMax + 1));
  t.notOk(await isSettled(past));
  goOn(new Error('EIO'));
  await t.rejects(past, /EIO/);
  await t.rejects(writer.write(Buffer.from('more')), /EIO/, 'and so does whoever comes after');
  await t.rejects(writer.finish(), /EIO/);
  disk.intercept = null;
  await writer.abort();
  t.same(disk.paths(), []);
});

t.test('what was finished and then not wanted is given up without closing its file again', async (t) => {
  const disk = new MemoryDisk();
  const writer = await StagedFileWriter.create(disk, '/staging', 'd.staged', header);
  let closes = 0;
  disk.intercept = (operation) => {
    if (operation === 'close') closes++;
  };
  const { path } = await writer.finish();
  // The receiver may refuse it only now, and removes it; then the transport gives the sink up. The descriptor may be another file's by then.
  await disk.unlink(path);
  await writer.abort();
  t.equal(closes, 1);
  t.same(disk.paths(), []);
});

t.test('a staged file whose last sync failed is closed once, and removed', async (t) => {
  const disk = new MemoryDisk();
  const writer = await StagedFileWriter.create(disk, '/staging', 'e.staged', header);
  let closes = 0;
  disk.intercept = (operation) => {
    if (operation === 'close') closes++;
    return operation === 'syncDirectory' ? Promise.reject(new Error('EIO')) : undefined;
  };
  await t.rejects(writer.finish(), /EIO/);
  disk.intercept = (operation) => {
    if (operation === 'close') closes++;
  };
  await writer.abort();
  t.equal(closes, 1);
  t.same(disk.paths(), []);
});
