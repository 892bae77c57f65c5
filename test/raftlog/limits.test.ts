import t from 'tap';
import { AssertionError } from '../../src/base/assert.js';
import {
  batchBytesMax,
  readBytesMax,
  readGapBytesMax,
  syncSamplesMax,
  writeBytesMax,
} from '../../src/raftlog/limits.js';
import { Group } from '../../src/raftlog/group.js';
import { planReads } from '../../src/raftlog/loader.js';
import { Segment, SegmentTable } from '../../src/raftlog/segment.js';
import { SlotPool } from '../../src/raftlog/slot_pool.js';
import { SyncTimes } from '../../src/raftlog/sync_times.js';
import type { Entry } from '../../src/raft/message.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, entry, openLog } from './support.js';

void t.test('a batch that is full is not added to, the rest goes out in the next one', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, { segmentBytes: 24 << 20 });
  await log.write([create(1)]);
  const before = log.stats().batches;
  const half = Buffer.alloc(batchBytesMax / 2 + 1);
  await Promise.all([1, 2, 3].map((i) => log.write([append(1, entry(i, 1, half))])));
  t.equal(log.stats().batches - before, 3);
  await Promise.all([4, 5, 6].map((i) => log.write([append(1, entry(i, 1, 'small'))])));
  t.equal(log.stats().batches - before, 4);
  await log.close();
});

void t.test('one write() above its limit is a broken invariant, before anything is changed', async (t) => {
  const log = await openLog(new MemoryDisk());
  await log.write([create(1)]);
  const data = Buffer.alloc(1 << 20);
  const entries: Entry[] = [];
  for (let index = 1; index <= writeBytesMax / data.length; index++) entries.push({ index, term: 1, type: 0, data });
  t.throws(() => log.write([append(1, ...entries)]), AssertionError);
  t.equal(log.group(1)?.lastIndex(), 0);
  await log.close();
});

void t.test('reads join near entries, up to a size, and never step back or leave the segment', (t) => {
  const table = new SegmentTable();
  table.push(new Segment(1, 0, 100 << 20, 0));
  table.push(new Segment(2, 100 << 20, 100 << 20, 0));
  const host = {
    slots: new SlotPool(),
    cachedEntry: () => null,
    loadEntries: () => Promise.resolve(),
    addLive: () => undefined,
    removeLive: () => undefined,
    moveAnchor: () => undefined,
  };
  const group = new Group(1, host);
  const runs = (...places: [number, number][]): number[] =>
    planReads(
      places.map(([address, length], i) => ({ group, index: i + 1, address, length })),
      table,
    ).map((run) => run.length);
  t.same(runs([2000, 100], [2200, 100], [2400, 100]), [3]);
  t.same(runs([2000, 100], [2117 + readGapBytesMax, 100]), [2], 'a small gap is read over');
  t.same(runs([2000, 100], [2118 + readGapBytesMax, 100]), [1, 1], 'a large one is skipped');
  t.same(runs([2400, 100], [2000, 100]), [1, 1], 'moved entries lie behind later ones');
  t.same(runs([2000, readBytesMax - 200], [2000 + readBytesMax, 100]), [1, 1]);
  t.same(runs([(100 << 20) - 200, 100], [100 << 20, 100]), [1, 1], 'another segment, another file');
  t.end();
});

void t.test('sync percentiles are those of the newest samples', (t) => {
  const times = new SyncTimes();
  t.equal(times.percentile(0.5), 0);
  for (let i = 0; i < 1000; i++) times.add(99);
  for (let i = 0; i < syncSamplesMax; i++) times.add(i);
  t.equal(times.percentile(0), 0);
  t.equal(times.percentile(0.5), syncSamplesMax / 2);
  t.equal(times.percentile(1), syncSamplesMax - 1);
  t.end();
});
