import t from 'tap';
import type { Test } from 'tap';
import { must } from '../../src/base/assert.js';
import { RaftLogError } from '../../src/raftlog/log_error.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, directory, entry, openLog, readAll } from './support.js';

// It takes its time on a busy machine.
t.setTimeout(280_000);

const small = { segmentBytes: 4096 };

/** A log of two segments and four groups, with truncations, votes and compactions; the last batch is group 1's. */
async function smallLog(disk: MemoryDisk): Promise<SegmentedLog> {
  const log = await openLog(disk, small);
  await log.write([create(1), create(2, 5, 5), create(3), create(4)]);
  for (let i = 1; i <= 16; i++) {
    await log.write([append(1, entry(i, 1, `one ${i} ${'x'.repeat(60)}`)), append(2, entry(5 + i, 5, `two ${i}`))]);
    if (i === 10) await log.write([append(1, entry(8, 1, 'replaced')), { kind: 'drop', groupId: 4 }]);
    if (i === 10) i = await again(log);
    if (i === 14) await log.write([{ kind: 'compact', groupId: 2, index: 12, term: 5 }]);
  }
  await log.write([
    { kind: 'append', groupId: 3, hardState: { term: 7, vote: 2, commit: 0 }, entries: [entry(1, 7, 'three')] },
  ]);
  await log.write([append(1, entry(17, 2, 'the last'))]);
  return log;
}

/** Goes on after the truncation at 8. */
async function again(log: SegmentedLog): Promise<number> {
  for (let i = 9; i <= 10; i++) await log.write([append(1, entry(i, 1, `again ${i}`))]);
  return 10;
}

async function stateOf(log: SegmentedLog, groupId: number): Promise<string> {
  const group = log.group(groupId);
  if (group === undefined) return 'none';
  const base = group.firstIndex() - 1;
  return JSON.stringify([group.hardState, base, group.term(base), await readAll(log, groupId)]);
}

async function statesOf(log: SegmentedLog): Promise<string[]> {
  return Promise.all([1, 2, 3, 4].map((id) => stateOf(log, id)));
}

interface Outcome {
  flips: number;
  refused: number;
  damaged: number;
  damagedAll: number;
  tornOff: number;
}

/** Flips every byte of these files in turn. Returns what came of it; a wrong or silently lost entry fails the test. */
async function flipAll(
  t: Test,
  disk: MemoryDisk,
  paths: readonly string[],
  allowed: readonly (readonly string[])[],
): Promise<Outcome> {
  const out: Outcome = { flips: 0, refused: 0, damaged: 0, damagedAll: 0, tornOff: 0 };
  const expected = must(allowed[0], 'expected');
  for (const path of paths) {
    const length = disk.clone().contents(path).length;
    for (let at = 0; at < length; at++) {
      const twin = disk.clone();
      const bytes = twin.contents(path);
      // Unused bytes and padding are all alike: a sample of them is enough.
      const like = bytes.subarray(Math.max(0, at - 8), at + 8);
      if (at % 32 !== 0 && like.every((b) => b === bytes[at])) continue;
      bytes[at] = must(bytes[at], 'byte') ^ (1 << (at % 8));
      out.flips++;
      let log: SegmentedLog;
      try {
        log = await openLog(twin, small);
      } catch (error) {
        if (!(error instanceof RaftLogError)) throw error;
        out.refused++;
        continue;
      }
      if (log.damaged.size > 0) out.damaged++;
      if (log.damaged.size >= 3) out.damagedAll++;
      const found = await statesOf(log);
      if (found.some((state, i) => !log.damaged.has(i + 1) && state !== expected[i])) {
        out.tornOff++;
        const fits = allowed.some((states) => found.every((s, i) => log.damaged.has(i + 1) || s === states[i]));
        if (!fits) t.fail(`flip at ${path}:${at}: found ${found.join('\n')} damaged ${[...log.damaged].join(' ')}`);
      }
      await log.close();
    }
  }
  return out;
}

void t.test('no flipped byte of a closed log gives a wrong entry or loses one silently', async (t) => {
  const disk = new MemoryDisk();
  const log = await smallLog(disk);
  const expected = await statesOf(log);
  await log.close();
  t.ok(disk.paths().filter((path) => path.endsWith('.log')).length >= 2, disk.paths().join(' '));
  const out = await flipAll(t, disk, disk.paths(), [expected]);
  t.comment(JSON.stringify(out));
  t.equal(out.tornOff, 0, 'a closed log has no torn tail');
  t.ok(out.damaged > 1000, 'flips in records are found');
  t.equal(out.refused, 0, 'one flipped byte never keeps a log from opening');
  t.equal(out.damagedAll, 0, 'damage to one batch is laid to the groups in it alone');
});

void t.test('without a close mark, a flipped byte may only cost the newest batch', async (t) => {
  const disk = new MemoryDisk();
  const log = await smallLog(disk);
  const expected = await statesOf(log);
  const withoutLast = [...expected];
  withoutLast[0] = must(expected[0], 'group 1').replace(/,"2:the last"/, '');
  t.not(withoutLast[0], expected[0]);
  disk.killProcess();
  const newest = must(
    disk.paths().findLast((path) => disk.clone().contents(path).includes('the last')),
    'segment',
  );
  const out = await flipAll(t, disk, [newest], [expected, withoutLast]);
  t.comment(JSON.stringify(out));
  t.ok(out.tornOff > 0 && out.tornOff < 200, `${out.tornOff} flips hit the newest batch`);
  t.ok(out.damaged > 100, 'flips in records are found');
  t.equal(out.refused, 0);
});

void t.test('damage is remembered until the group is reset', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, small);
  await log.write([create(1), create(2)]);
  await log.write([append(1, entry(1, 1, 'needle'))]);
  await log.write([append(2, entry(1, 1, 'other'))]);
  await log.close();
  const bytes = disk.contents(`${directory}/000000000001.log`);
  const at = bytes.indexOf('needle');
  bytes[at] = 0x4e;
  const second = await openLog(disk, small);
  t.same([...second.damaged], [1]);
  t.same(await readAll(second, 2), ['1:other']);
  t.equal(second.group(1)?.lastIndex(), 0, 'a damaged group has no entries');
  bytes.fill(0, at, at + 1);
  await second.close();
  const third = await openLog(disk, small);
  t.same([...third.damaged], [1]);
  await third.write([
    { kind: 'reset', groupId: 1, index: 9, term: 2, hardState: null },
    append(1, entry(10, 2, 'new')),
  ]);
  t.equal(third.damaged.size, 0);
  await third.close();
  const fourth = await openLog(disk, small);
  t.equal(fourth.damaged.size, 0);
  t.same(await readAll(fourth, 1), ['2:new']);
  await fourth.close();
});

void t.test('damage that a later compaction has passed hurts nobody', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, small);
  await log.write([create(1)]);
  await log.write([append(1, entry(1, 1, 'needle'))]);
  await log.write([append(1, entry(2, 1, 'kept'))]);
  await log.write([{ kind: 'compact', groupId: 1, index: 1, term: 1 }]);
  await log.write([append(1, entry(3, 1, 'more'))]);
  await log.close();
  const bytes = disk.contents(`${directory}/000000000001.log`);
  bytes[bytes.indexOf('needle')] = 0;
  const damaged = await openLog(disk, small);
  t.equal(damaged.damaged.size, 0);
  t.same(await readAll(damaged, 1), ['1:kept', '1:more']);
  await damaged.close();
});

void t.test('an entry that rots while the log is open is never given out, and its group is marked', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, small);
  await log.write([create(1), create(2)]);
  await log.write([append(1, entry(1, 1, 'needle')), append(2, entry(1, 1, 'fine'))]);
  await log.close();
  const told: number[] = [];
  const again = await openLog(disk, { ...small, onDamaged: (groupId) => told.push(groupId) });
  const bytes = disk.contents(`${directory}/000000000001.log`);
  bytes[bytes.indexOf('needle')] = 0;
  t.equal(again.group(1)?.entries(1, 2, 100), 'pending');
  await t.rejects(must(again.group(1), 'group').load(1, 2, 100), { code: 'entryDamaged' });
  t.same([...again.damaged], [1]);
  t.same(told, [1]);
  t.same(await readAll(again, 2), ['1:fine']);
  await again.close();
});

void t.test('a missing, renamed or cut segment is refused', async (t) => {
  const make = async (): Promise<MemoryDisk> => {
    const disk = new MemoryDisk();
    const log = await openLog(disk, small);
    await log.write([create(1)]);
    for (let i = 1; i <= 100; i++) await log.write([append(1, entry(i, 1, `value ${i} ${'x'.repeat(80)}`))]);
    await log.close();
    return disk;
  };
  const paths = (await make()).paths().filter((path) => path.endsWith('.log'));
  const path = (n: number): string => must(paths.at(n), 'segment');
  const refused = async (code: string, change: (disk: MemoryDisk) => Promise<void>): Promise<void> => {
    const disk = await make();
    await change(disk);
    await t.rejects(openLog(disk, small), { name: 'RaftLogError', code }, code);
  };
  t.ok(paths.length >= 4, `${paths.length} segments`);
  await refused('segmentMissing', (disk) => disk.unlink(path(0)));
  await refused('segmentMissing', (disk) => disk.unlink(path(1)));
  await refused('segmentMissing', async (disk) => {
    for (const p of paths.slice(2)) await disk.unlink(p);
  });
  await refused('segmentMissing', async (disk) => {
    for (const p of paths) await disk.unlink(p);
  });
  await refused('segmentForeign', (disk) => disk.rename(path(0), `${directory}/000000000099.log`));
  await refused('segmentForeign', async (disk) => {
    await (await disk.open(path(1), { create: false })).truncate(2000);
  });
  await refused('segmentHeaderDamaged', async (disk) => {
    await (await disk.open(path(1), { create: false })).write([Buffer.alloc(1024)], 0);
  });
});
