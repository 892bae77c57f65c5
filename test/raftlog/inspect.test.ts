import t from 'tap';
import { must } from '../../src/base/assert.js';
import { inspectRaftLog } from '../../src/raftlog/inspect_log.js';
import type { LogInspection, LogReport } from '../../src/raftlog/inspect_log.js';
import { RaftLogError } from '../../src/raftlog/log_error.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';
import { Prng } from '../../src/base/prng.js';
import { MemoryDisk } from '../support/memory_disk.js';
import { append, create, directory, entry, openLog, readAll } from './support.js';

// It takes its time on a busy machine.
t.setTimeout(280_000);

const small = { segmentBytes: 4096 };

/** Every byte that the disk holds, by name: what must be the same before and after an inspection. */
function allBytes(disk: MemoryDisk): string {
  const twin = disk.clone();
  return twin
    .paths()
    .map((path) => `${path} ${twin.contents(path).toString('latin1')}`)
    .join('\n');
}

/** Inspects, and fails the test if the disk is not what it was. */
async function inspected(t: Tap, disk: MemoryDisk): Promise<LogInspection> {
  const before = allBytes(disk);
  const changes = disk.changes;
  const inspection = await inspectRaftLog(disk, directory);
  t.equal(disk.changes, changes, 'nothing was changed');
  t.ok(allBytes(disk) === before, 'every byte is as it was');
  return inspection;
}

type Tap = Pick<typeof t, 'equal' | 'ok'>;

async function entriesOf(inspection: LogInspection, groupId: number): Promise<string[]> {
  const out: string[] = [];
  for await (const page of inspection.entries(groupId)) {
    for (const { index, entry: e } of page)
      out.push(e === null ? `${index} damaged` : `${e.term}:${e.data.toString()}`);
  }
  return out;
}

async function busyLog(disk: MemoryDisk): Promise<SegmentedLog> {
  const log = await openLog(disk.mount(), { ...small, onFatal: () => undefined });
  await log.write([create(1), create(2, 5, 5), create(3)]);
  for (let i = 1; i <= 60; i++) {
    await log.write([append(1, entry(i, 1, `one ${i} ${'x'.repeat(60)}`)), append(2, entry(5 + i, 5, `two ${i}`))]);
    if (i % 20 === 0) await log.write([{ kind: 'compact', groupId: 1, index: i - 4, term: 1 }]);
  }
  const hardState = { term: 7, vote: 2, commit: 0 };
  await log.write([{ kind: 'append', groupId: 3, hardState, entries: [entry(1, 7, 'three')] }]);
  return log;
}

t.test('what an inspection shows of a closed log is what opening finds', async (t) => {
  const disk = new MemoryDisk();
  const log = await busyLog(disk);
  await log.close();
  const inspection = await inspected(t, disk);
  const { report } = inspection;
  t.equal(report.tail?.state, 'closed');
  t.same([report.missing, report.damagedStretches, report.identityGood], [null, 0, true]);
  t.same(report.groups.find((g) => g.groupId === 3)?.hardState, { term: 7, vote: 2, commit: 0 });
  const batches = report.segments.filter((s) => s.batches > 0);
  t.ok(batches.length >= 2, `${batches.length} segments with batches`);
  for (const [i, s] of batches.entries()) {
    if (i > 0) t.equal(s.firstBatch, must(batches[i - 1], 'segment before').lastBatch + 1, 'batches run on');
    t.equal(s.lastBatch - s.firstBatch + 1, s.batches);
  }
  t.ok(report.segments.some((s) => s.state === 'current'));
  const shown = await Promise.all([1, 2, 3].map((id) => entriesOf(inspection, id)));
  await inspection.close();
  const again = await openLog(disk, small);
  for (const [i, id] of [1, 2, 3].entries()) {
    const group = must(again.group(id), 'group');
    const g = must(report.groups[i], 'inspected group');
    t.same([g.groupId, g.firstIndex, g.lastIndex], [id, group.firstIndex(), group.lastIndex()]);
    t.same([g.lastTerm, g.bytes, g.damaged], [group.term(group.lastIndex()), group.bytes(), false]);
    t.same(shown[i], await readAll(again, id));
  }
  await again.close();
});

t.test('a torn tail is shown, not cut, and not called damage', async (t) => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 40; seed++) {
    const disk = new MemoryDisk({ prng: new Prng(seed) });
    const log = await busyLog(disk);
    // One write, of a batch or of the seal before it, and not its sync.
    disk.crashAfter = 1;
    await t.rejects(log.write([append(1, entry(61, 1, 'y'.repeat(seed * 40)))]), { code: 'failed' });
    disk.powerCut();
    const inspection = await inspected(t, disk);
    const { report } = inspection;
    t.equal(report.damagedStretches, 0);
    t.notOk(report.groups.some((g) => g.damaged));
    seen.add(must(report.tail, 'tail').state);
    const shown = await entriesOf(inspection, 1);
    await inspection.close();
    const again = await openLog(disk, small);
    t.same(shown, await readAll(again, 1));
    await again.close();
  }
  t.same([...seen].sort(), ['open', 'torn']);
});

t.test('whatever byte is flipped, an inspection says what opening would say and changes nothing', async (t) => {
  const disk = new MemoryDisk();
  await (await busyLog(disk)).close();
  let damaged = 0;
  for (const path of disk.paths()) {
    const length = disk.clone().contents(path).length;
    for (let at = 0; at < length; at += 11) {
      const twin = disk.clone();
      const bytes = twin.contents(path);
      bytes[at] = must(bytes[at], 'byte') ^ (1 << (at % 8));
      const { changes } = twin;
      const report = await reportOf(twin);
      if (twin.changes !== changes) t.fail(`flip at ${path}:${at}: the inspection changed the disk`);
      const log = await openLog(twin, small).catch((error: unknown) => (error as RaftLogError).code);
      if (typeof log === 'string' || typeof report === 'string') {
        t.equal(report, log, `flip at ${path}:${at}`);
        continue;
      }
      const told = report.groups.filter((g) => g.damaged).map((g) => g.groupId);
      const found = [...log.damaged].sort((a, b) => a - b);
      if (told.join() !== found.join()) t.fail(`flip at ${path}:${at}: told ${told.join()}, found ${found.join()}`);
      if (found.length > 0) {
        damaged++;
        t.ok(report.damagedStretches > 0, 'the damaged stretch is named');
      }
      await log.close();
    }
  }
  t.ok(damaged > 100, `${damaged} flips hit a shard`);
});

async function reportOf(disk: MemoryDisk): Promise<LogReport | string> {
  try {
    const inspection = await inspectRaftLog(disk, directory);
    await inspection.close();
    return inspection.report;
  } catch (error) {
    if (error instanceof RaftLogError) return error.code;
    throw error;
  }
}

t.test('a log with a lost segment is shown with what is left and the reason why it cannot be opened', async (t) => {
  const disk = new MemoryDisk();
  await (await busyLog(disk)).close();
  const paths = disk.paths().filter((path) => path.endsWith('.log'));
  await disk.unlink(must(paths[1], 'second segment'));
  const inspection = await inspected(t, disk);
  t.match(inspection.report.missing, /needed but not all there|is missing/);
  t.ok(inspection.report.segments.length >= 2);
  await inspection.close();
  for (const path of paths) if (path !== paths[1]) await disk.unlink(path);
  const rest = await inspected(t, disk);
  t.match(rest.report.missing, /none of its segments/);
  await rest.close();
});

t.test(
  'a directory without a log, with a renamed segment or a header that is gone has an error of its own',
  async (t) => {
    await t.rejects(inspectRaftLog(new MemoryDisk(), directory), { name: 'RaftLogError', code: 'noLog' });
    const make = async (): Promise<MemoryDisk> => {
      const disk = new MemoryDisk();
      await (await busyLog(disk)).close();
      return disk;
    };
    const renamed = await make();
    await renamed.rename(
      must(
        renamed.paths().find((p) => p.endsWith('.log')),
        'segment',
      ),
      `${directory}/000000000099.log`,
    );
    await t.rejects(inspectRaftLog(renamed, directory), { code: 'segmentForeign' });
    const headless = await make();
    headless
      .contents(
        must(
          headless.paths().find((p) => p.endsWith('.log')),
          'segment',
        ),
      )
      .fill(0, 0, 1024);
    await t.rejects(inspectRaftLog(headless, directory), { code: 'segmentHeaderDamaged' });
  },
);

t.test('entries come in pages, and an unknown shard has none', async (t) => {
  const disk = new MemoryDisk();
  const log = await openLog(disk, { segmentBytes: 65_536 });
  await log.write([create(1)]);
  const entries = Array.from({ length: 9000 }, (_, i) => entry(i + 1, 1, `e${i + 1}`));
  await log.write([append(1, ...entries)]);
  await log.close();
  const inspection = await inspected(t, disk);
  let pages = 0;
  let next = 1;
  for await (const page of inspection.entries(1)) {
    pages++;
    for (const { index, entry: e } of page)
      if (index !== next++ || e?.data.toString() !== `e${index}`) t.fail(`${index}`);
  }
  t.equal(next, 9001);
  t.ok(pages >= 3, `${pages} pages`);
  await t.rejects(inspection.entries(2).next(), { code: 'entriesGone' });
  await inspection.close();
});
