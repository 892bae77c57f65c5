import t from 'tap';
import { Prng } from '../../src/base/prng.js';
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
