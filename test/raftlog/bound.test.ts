import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import { reserveSegments } from '../../src/raftlog/limits.js';
import type { RaftLogError } from '../../src/raftlog/log_error.js';
import type { LogRecord } from '../../src/raftlog/raft_log.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, directory, entry, openLog, readAll } from './support.js';

// It takes its time on a busy machine.
t.setTimeout(280_000);

const segmentBytes = 4096;
const segmentsMax = reserveSegments + 6;
const bounded = {
  segmentBytes,
  cacheBytesMax: 16_384,
  logBytesMax: 4 * segmentBytes,
  logBytesHardMax: segmentsMax * segmentBytes,
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function logBytes(disk: MemoryDisk): number {
  const twin = disk.clone();
  const files = twin.paths().filter((path) => /\.(log|spare|new)$/.test(path));
  return files.reduce((sum, path) => sum + twin.contents(path).length, 0);
}

/** Appends to group 1 until the log refuses; returns the last index that it took. */
async function fill(log: SegmentedLog, from: number): Promise<number> {
  for (let i = from; ; i++) {
    const refused = await log.write([append(1, entry(i, 1, 'x'.repeat(200)))]).then(
      () => null,
      (error: unknown) => error as RaftLogError,
    );
    if (refused === null) continue;
    if (refused.code !== 'full') throw refused;
    return i - 1;
  }
}

t.test('at its bound the log refuses entries, takes what frees space, and then takes entries again', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, bounded);
  await log.write([create(1), create(2)]);
  t.notOk(log.stats().underPressure);
  const last = await fill(log, 1);
  t.ok(last > 50, `${last} entries`);
  t.ok(log.stats().underPressure, 'the owner was told');
  t.ok(log.nearlyFull, 'and so was whoever makes entries');
  t.notOk(log.takes([append(1, entry(last + 1, 1, 'x'.repeat(segmentBytes)))]));
  t.ok(log.takes([{ kind: 'compact', groupId: 1, index: last, term: 1 }]));
  t.equal(log.group(1)?.lastIndex(), last, 'asking changes nothing');
  t.ok(log.stats().diskBytes <= bounded.logBytesHardMax);
  t.equal(log.group(1)?.lastIndex(), last, 'a refused write changed nothing');
  await t.rejects(log.write([create(3), append(2, entry(1, 1, 'y'.repeat(segmentBytes)))]), {
    name: 'RaftLogError',
    code: 'full',
  });
  t.equal(log.group(3), undefined, 'none of its records was taken');
  const hardState = { term: 4, vote: 9, commit: 0 };
  await log.write([{ kind: 'append', groupId: 2, hardState, entries: [] }]);
  t.same(log.group(2)?.hardState, hardState, 'votes are still taken');
  await log.write([{ kind: 'compact', groupId: 1, index: last, term: 1 }]);
  for (let n = 0; n < 100; n++) await turn();
  t.notOk(log.stats().underPressure, 'it clears by itself');
  t.notOk(log.nearlyFull);
  t.ok(log.takes([append(1, entry(last + 1, 1, 'x'))]));
  const more = await fill(log, last + 1);
  t.ok(more - last > 50, 'there is as much room as before');
  await log.close();
  const again = await openLog(disk, bounded);
  t.equal(again.group(1)?.lastIndex(), more);
  t.same(again.group(2)?.hardState, hardState);
  await t.rejects(again.write([append(1, entry(more + 1, 1, 'x'.repeat(segmentBytes)))]), { code: 'full' });
  await again.write([{ kind: 'drop', groupId: 1 }]);
  for (let n = 0; n < 100; n++) await turn();
  await again.write([append(2, entry(1, 4, 'room again'))]);
  await again.close();
});

t.test('whatever is written and whatever is kept, the files never take more than the bound', async (t) => {
  let refusals = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const prng = new Prng(seed);
    const disk = new MemoryDisk({ prng });
    let log = await openLog(disk, bounded);
    const groups = 20;
    await log.write(Array.from({ length: groups }, (_, i) => create(i + 1)));
    let largest = 0;
    for (let n = 0; n < 1500; n++) {
      const groupId = prng.int(1, groups);
      const group = must(log.group(groupId), 'group');
      const records: LogRecord[] = [];
      if (prng.chance(0.1) && group.lastIndex() >= group.firstIndex()) {
        records.push({ kind: 'compact', groupId, index: prng.int(group.firstIndex(), group.lastIndex()), term: 1 });
      } else {
        const size = prng.chance(0.05) ? prng.int(500, 1200) : prng.int(0, 150);
        for (let k = prng.int(1, 3); k > 0; k--) {
          records.push(append(groupId, entry(group.lastIndex() + 1 + records.length, 1, 'z'.repeat(size))));
        }
      }
      const before = group.lastIndex();
      await log.write(records).catch((error: unknown) => {
        if ((error as { code: string }).code !== 'full') throw error;
        refusals++;
        t.equal(group.lastIndex(), before);
      });
      await turn();
      if (n % 10 === 0) largest = Math.max(largest, logBytes(disk));
      if (prng.chance(0.005)) {
        await log.close();
        log = await openLog(disk, bounded);
      }
    }
    t.ok(largest > bounded.logBytesHardMax / 2 && largest <= bounded.logBytesHardMax, `seed ${seed}: ${largest} bytes`);
    for (let id = 1; id <= groups; id++) await readAll(log, id);
    await log.close();
  }
  t.ok(refusals > 20, `${refusals} writes were refused`);
});

t.test(
  'a few groups that pin old segments are moved out of them although nearly all of the log is needed',
  async (t) => {
    const disk = new MemoryDisk();
    const options = { segmentBytes: 16_384, logBytesMax: 2 * 16_384 };
    const log = await openLog(disk, options);
    await log.write([create(1), create(2), create(3)]);
    // The front segment: one small entry of group 2, and what group 1 soon compacts.
    await log.write([append(2, entry(1, 1, 'pins the front'))]);
    for (let i = 1; i <= 80; i++) await log.write([append(1, entry(i, 1, 'g'.repeat(180)))]);
    const front = must(
      disk.paths().find((path) => path.endsWith('.log')),
      'front segment',
    );
    // Large entries that stay needed: less than an eighth of the log is garbage.
    for (let i = 1; i <= 40; i++) await log.write([append(3, entry(i, 1, 'k'.repeat(4000)))]);
    await log.write([{ kind: 'compact', groupId: 1, index: 80, term: 1 }]);
    for (let n = 0; n < 200; n++) await turn();
    t.notOk(disk.paths().includes(front), 'the front segment was freed');
    t.same(await readAll(log, 2), ['1:pins the front']);
    t.equal((await readAll(log, 3)).length, 40);
    await log.close();
  },
);

t.test('garbage collection of a segment full of tiny entries lets the event loop turn', async (t) => {
  const disk = new MemoryDisk();
  const options = { segmentBytes: 2 << 20, logBytesMax: 1 << 20 };
  const log = await openLog(disk, options);
  await log.write([create(1), create(2)]);
  const tiny = Array.from({ length: 50_000 }, (_, i) => entry(i + 1, 1, 'x'));
  for (let at = 0; at < tiny.length; at += 5000) await log.write([append(1, ...tiny.slice(at, at + 5000))]);
  const batches = log.stats().batches;
  for (let i = 1; i <= 60; i++) {
    await log.write([append(2, entry(i, 1, 'y'.repeat(60_000)))]);
    if (i % 5 === 0) await log.write([{ kind: 'compact', groupId: 2, index: i, term: 1 }]);
    await turn();
  }
  for (let n = 0; n < 200; n++) await turn();
  // One batch of foreground work each; the rest moved the entries, a window at a time.
  const moved = log.stats().batches - batches - 72;
  t.ok(moved >= 3, `the entries were moved in ${moved} batches`);
  t.equal((await readAll(log, 1)).length, 50_000);
  await log.close();
});

t.test('a load of tiny entries is bounded by their number', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, { segmentBytes: 4 << 20 });
  await log.write([create(1)]);
  await log.write([append(1, ...Array.from({ length: 40_000 }, (_, i) => entry(i + 1, 1, '')))]);
  await log.close();
  const again = await openLog(disk, { segmentBytes: 4 << 20 });
  const group = must(again.group(1), 'group');
  await group.load(1, 40_001, 1 << 30);
  const got = group.entries(1, 40_001, 1 << 30);
  t.equal(typeof got === 'string' ? got : got.length, 16_384);
  t.equal((await readAll(again, 1)).length, 40_000);
  await again.close();
});

t.test('opening reads the segments that are kept, not what was ever written', async (t) => {
  const read = async (rounds: number): Promise<{ bytes: number; written: number }> => {
    const disk = new MemoryDisk();
    const log = await openLog(disk, { segmentBytes: 16_384 });
    await log.write([create(1)]);
    for (let i = 1; i <= rounds; i++) {
      await log.write([append(1, entry(i, 1, 'h'.repeat(500)))]);
      if (i % 20 === 0) await log.write([{ kind: 'compact', groupId: 1, index: i - 5, term: 1 }]);
      await turn();
    }
    const written = log.stats().bytesWritten;
    await log.close();
    t.ok((await disk.list(directory)).length > 0);
    let bytes = 0;
    const counting = disk.mount();
    const again = await openLog(
      {
        ...counting,
        open: async (path, options) => {
          const file = await counting.open(path, options);
          return {
            ...file,
            read: async (position, length) => {
              const got = await file.read(position, length);
              bytes += got.length;
              return got;
            },
          };
        },
      },
      { segmentBytes: 16_384 },
    );
    await again.close();
    return { bytes, written };
  };
  const short = await read(100);
  const long = await read(2000);
  t.ok(long.written > short.written * 15, 'a long history');
  t.ok(long.bytes <= short.bytes + 3 * 16_384, `${short.bytes} and ${long.bytes} bytes read`);
});

t.test('twenty thousand groups, each with entries and a vote, are there after reopening', async (t) => {
  const disk = new MemoryDisk();
  const options = { segmentBytes: 1 << 20, cacheBytesMax: 1 << 20 };
  const log = await openLog(disk, options);
  const groups = 20_000;
  for (let base = 0; base < groups; base += 1000) {
    const ids = Array.from({ length: 1000 }, (_, i) => base + i + 1);
    await log.write(ids.map((id) => create(id, 5, 5)));
    await log.write(
      ids.map((id) => ({
        kind: 'append' as const,
        groupId: id,
        hardState: { term: 6, vote: id, commit: 5 },
        entries: [entry(6, 6, `first of ${id}`), entry(7, 6, 'second')],
      })),
    );
  }
  await log.close();
  const again = await openLog(disk, options);
  t.equal(again.stats().groups, groups);
  let wrong = 0;
  for (let id = 1; id <= groups; id++) {
    const group = must(again.group(id), 'group');
    if (group.hardState?.vote !== id || group.lastIndex() !== 7 || group.term(7) !== 6) wrong++;
  }
  t.equal(wrong, 0);
  t.same(await readAll(again, 19_999), ['6:first of 19999', '6:second']);
  await again.close();
});
