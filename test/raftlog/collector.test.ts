import t from 'tap';
import { must } from '../../src/base/assert.js';
import { spareSegmentsMax } from '../../src/raftlog/limits.js';
import type { LogRecord } from '../../src/raftlog/raft_log.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, entry, openLog, readAll } from './support.js';

// It takes its time on a busy machine.
t.setTimeout(280_000);

void t.test('twelve hundred idle groups do not keep a busy log from shrinking, and lose nothing', async (t) => {
  const disk = new MemoryDisk();
  const options = { segmentBytes: 65_536, cacheBytesMax: 65_536 };
  const log = await openLog(disk, options);
  const idle: LogRecord[] = [];
  for (let id = 1; id <= 1200; id++) {
    idle.push({ kind: 'reset', groupId: id, index: 5, term: 5, hardState: { term: 5, vote: id, commit: 5 } });
    if (id % 3 === 0) idle.push(append(id, entry(6, 5, `idle ${id}`), entry(7, 6, 'last')));
  }
  await log.write(idle);
  await log.write([create(5000)]);
  let segmentsMax = 0;
  for (let i = 1; i <= 3000; i++) {
    await log.write([append(5000, entry(i, 1, 'x'.repeat(500)))]);
    if (i % 50 === 0) await log.write([{ kind: 'compact', groupId: 5000, index: i - 20, term: 1 }]);
    // The collector lets the event loop turn, which this disk without latency never does.
    if (i % 10 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    segmentsMax = Math.max(segmentsMax, log.stats().segments);
  }
  t.ok(log.stats().bytesWritten > 20 * 65_536, 'the log went round');
  t.ok(segmentsMax <= 8, `${segmentsMax} segments at most`);
  t.ok(log.stats().diskBytes <= 12 * 65_536, `${log.stats().diskBytes} bytes on disk`);
  const spares = disk.paths().filter((path) => path.endsWith('.spare')).length;
  t.ok(spares <= spareSegmentsMax, `${spares} spares`);
  await log.close();
  const again = await openLog(disk, options);
  t.equal([...again.groupIds()].length, 1201);
  for (const id of [1, 3, 999, 1200]) {
    const group = must(again.group(id), 'idle group');
    t.same(group.hardState, { term: 5, vote: id, commit: 5 });
    t.same([group.firstIndex(), group.term(5)], [6, 5]);
    t.same(await readAll(again, id), id % 3 === 0 ? [`5:idle ${id}`, '6:last'] : []);
  }
  await again.close();
});

void t.test('a log of tiny entries that are all needed comes to rest', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, { segmentBytes: 4096 });
  await log.write([create(1)]);
  // One byte in a frame of its own: by bytes nearly all of the log is garbage.
  for (let i = 1; i <= 1000; i++) await log.write([append(1, entry(i, 1, 'x'))]);
  let before = -1;
  for (let turn = 0; turn < 1000 && before !== disk.changes; turn++) {
    before = disk.changes;
    for (let n = 0; n < 10; n++) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  t.equal(disk.changes, before, 'nothing is written any more');
  t.equal((await readAll(log, 1)).length, 1000);
  await log.close();
});

void t.test('a log above its bound collects what it can even when less than half is garbage', async (t) => {
  const fill = async (logBytesMax: number): Promise<number> => {
    const log = await openLog(new MemoryDisk(), { segmentBytes: 16_384, logBytesMax });
    await log.write([create(1), create(2)]);
    for (let i = 1; i <= 600; i++) {
      await log.write([append(1, entry(i, 1, 'k'.repeat(300))), append(2, entry(i, 1, 'd'.repeat(150)))]);
      if (i % 20 === 0) await log.write([{ kind: 'compact', groupId: 2, index: i, term: 1 }]);
    }
    const { segments } = log.stats();
    t.equal(log.group(1)?.firstIndex(), 1);
    await log.close();
    return segments;
  };
  const roomy = await fill(1 << 30);
  const tight = await fill(65_536);
  t.ok(tight < roomy, `${tight} segments instead of ${roomy}`);
});

void t.test('an entry larger than a segment gets a segment of its own size', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, { segmentBytes: 4096 });
  await log.write([create(1)]);
  const large = 'L'.repeat(50_000);
  await log.write([append(1, entry(1, 1, 'small'))]);
  await log.write([append(1, entry(2, 1, large)), append(1, entry(3, 1, 'small'))]);
  await log.write([append(1, entry(4, 1, 'small'))]);
  await log.close();
  const again = await openLog(disk, { segmentBytes: 4096 });
  t.same(await readAll(again, 1), ['1:small', `1:${large}`, '1:small', '1:small']);
  for (let i = 5; i <= 200; i++) await again.write([append(1, entry(i, 1, `value ${i}`))]);
  await again.write([{ kind: 'compact', groupId: 1, index: 190, term: 1 }]);
  for (let i = 201; i <= 300; i++) await again.write([append(1, entry(i, 1, `value ${i}`))]);
  await again.close();
  t.ok((await disk.space()).freeBytes > 2 ** 40 - 40_000, 'the large segment was given back');
});
