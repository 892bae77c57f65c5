import t from 'tap';
import { must } from '../../src/base/assert.js';
import { RaftLogError } from '../../src/raftlog/log_error.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';
import { MemoryDisk, PowerLoss } from '../support/memory_disk.js';
import type { DiskOperation } from '../support/memory_disk.js';
import { Prng } from '../../src/base/prng.js';
import { append, create, directory, entry, openLog, readAll } from './support.js';

/** Makes the next operation of this kind on the first segment fail; the second one is being made meanwhile. */
function failOnce(disk: MemoryDisk, kind: DiskOperation, message: string): void {
  disk.intercept = (operation, path) => {
    if (operation !== kind || !path.includes('/000000000001.')) return;
    disk.intercept = null;
    throw new Error(message);
  };
}

for (const kind of ['write', 'datasync'] as const) {
  void t.test(`a failed ${kind} rejects everything from then on, and is told once`, async (t) => {
    const disk = new MemoryDisk();
    const fatal: Error[] = [];
    const log = await openLog(disk, { onFatal: (error) => fatal.push(error) });
    await log.write([create(1)]);
    failOnce(disk, kind, 'the disk is gone');
    const first = log.write([append(1, entry(1, 1, 'a'))]);
    await Promise.resolve();
    const second = log.write([append(1, entry(2, 1, 'b'))]);
    await t.rejects(first, { code: 'failed', cause: { message: 'the disk is gone' } });
    await t.rejects(second, { code: 'failed' });
    const writes = disk.counts.get('write');
    const syncs = disk.counts.get('datasync');
    await t.rejects(log.write([append(1, entry(3, 1, 'c'))]), { code: 'failed' });
    await t.rejects(must(log.group(1), 'group').load(1, 2, 10), { code: 'failed' });
    await log.close();
    t.equal(fatal.length, 1);
    t.equal(fatal[0]?.message, 'the disk is gone');
    t.equal(disk.counts.get('write'), writes, 'nothing is written after a failure');
    t.equal(disk.counts.get('datasync'), syncs, 'no sync is tried again');
  });
}

void t.test('a batch that a failed sync left in the page cache is written again before it is believed', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const disk = new MemoryDisk({ prng: new Prng(seed) });
    const log = await openLog(disk, { onFatal: () => undefined });
    await log.write([create(1)]);
    failOnce(disk, 'datasync', 'EIO');
    await t.rejects(log.write([append(1, entry(1, 1, 'maybe'))]), { code: 'failed' });
    disk.killProcess();
    // The new process reads the batch from the page cache, although the disk does not have it.
    const second = await openLog(disk);
    t.same(await readAll(second, 1), ['1:maybe']);
    await second.write([append(1, entry(2, 1, 'more'))]);
    disk.powerCut();
    const third = await openLog(disk);
    t.same(await readAll(third, 1), ['1:maybe', '1:more']);
    t.equal(third.damaged.size, 0);
    await third.close();
  }
});

void t.test('a segment that cannot be made fails the log when it is needed, not before', async (t) => {
  const disk = new MemoryDisk({ totalBytes: 3 * 4096 });
  const fatal: Error[] = [];
  const log = await openLog(disk, { segmentBytes: 4096, onFatal: (error) => fatal.push(error) });
  await log.write([create(1)]);
  let index = 0;
  const fill = async (): Promise<void> => {
    for (;;) {
      index++;
      await log.write([append(1, entry(index, 1, 'x'.repeat(100)))]);
    }
  };
  await t.rejects(fill(), { code: 'failed', cause: { code: 'ENOSPC' } });
  t.ok(index > 30, `two segments were filled with ${index} entries first`);
  t.equal(fatal.length, 1);
  await log.close();
});

void t.test('a closed log refuses writes and loads', async (t) => {
  const log = await openLog(new MemoryDisk());
  await log.write([create(1)]);
  const last = log.write([append(1, entry(1, 1, 'a'))]);
  const closing = log.close();
  await t.rejects(log.write([append(1, entry(2, 1, 'b'))]), { code: 'closed' });
  await t.rejects(must(log.group(1), 'group').load(1, 2, 10), { code: 'closed' });
  await last;
  await closing;
  t.equal(log.close(), closing, 'closing twice is the same closing');
});

void t.test('a torn tail is cut and the log goes on', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const disk = new MemoryDisk({ prng: new Prng(seed) });
    const log = await openLog(disk.mount(), { onFatal: () => undefined });
    await log.write([create(1), create(2)]);
    await log.write([append(1, entry(1, 1, 'kept'))]);
    disk.crashAfter = 1;
    // Written, never synced: 3 KiB over several sectors, any of which may be lost.
    await t.rejects(log.write([append(1, entry(2, 1, 'x'.repeat(3000))), append(2, entry(1, 1, 'y'))]));
    disk.powerCut();
    const second = await openLog(disk.mount());
    const found = await readAll(second, 1);
    t.equal(found[0], '1:kept');
    t.equal(second.group(2)?.lastIndex(), found.length - 1, 'a batch is there as a whole or not at all');
    t.equal(second.damaged.size, 0);
    await second.write([append(1, entry(found.length + 1, 2, 'after'))]);
    disk.powerCut();
    const third = await openLog(disk);
    t.same((await readAll(third, 1)).at(-1), '2:after');
    await third.close();
  }
});

void t.test('every crash point of a log that rolls, collects and closes leaves a log that opens', async (t) => {
  const whole = new MemoryDisk();
  t.equal(await fillUntilCrash(await openLog(whole, { segmentBytes: 4096 })), 120);
  for (let n = 0; n < whole.changes; n += 3) {
    const disk = new MemoryDisk({ prng: new Prng(n + 1) });
    disk.crashAfter = n;
    const log = await openLog(disk.mount(), { segmentBytes: 4096, onFatal: () => undefined }).catch(powerLoss);
    const acked = log === null ? 0 : await fillUntilCrash(log);
    disk.powerCut();
    const again = await openLog(disk, { segmentBytes: 4096 });
    const group = again.group(1);
    if (acked > 0) {
      t.ok((group?.lastIndex() ?? 0) >= acked, `crash point ${n}: ${acked} acknowledged`);
      const entries = await readAll(again, 1);
      const first = must(group, 'group').firstIndex();
      const wrong = entries.findIndex((e, i) => e !== `1:value ${first + i} ${'z'.repeat(60)}`);
      if (wrong !== -1) t.fail(`crash point ${n}: entry ${first + wrong} is wrong`);
    }
    t.equal(again.damaged.size, 0);
    await again.close();
  }
});

function powerLoss(error: unknown): null {
  if (error instanceof PowerLoss) return null;
  throw error;
}

async function fillUntilCrash(log: SegmentedLog): Promise<number> {
  let acked = 0;
  try {
    await log.write([create(1)]);
    for (let i = 1; i <= 120; i++) {
      await log.write([append(1, entry(i, 1, `value ${i} ${'z'.repeat(60)}`))]);
      acked = i;
      if (i % 20 === 0) await log.write([{ kind: 'compact', groupId: 1, index: i - 3, term: 1 }]);
    }
    await log.close();
  } catch (error) {
    if (!(error instanceof PowerLoss) && !(error instanceof RaftLogError && error.code === 'failed')) throw error;
  }
  return acked;
}

void t.test('a damaged identity file is written anew from the segments', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk);
  await log.write([create(1), append(1, entry(1, 1, 'a'))]);
  await log.close();
  disk.contents(`${directory}/identity`).fill(0);
  const second = await openLog(disk);
  t.same(await readAll(second, 1), ['1:a']);
  await second.close();
  t.not(disk.contents(`${directory}/identity`)[0], 0);
});
