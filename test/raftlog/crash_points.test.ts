import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import type { Entry } from '../../src/raft/message.js';
import { RaftLogError } from '../../src/raftlog/log_error.js';
import type { LogRecord } from '../../src/raftlog/raft_log.js';
import type { SegmentedLog } from '../../src/raftlog/segmented_log.js';
import { MemoryDisk, PowerLoss } from '../support/memory_disk.js';
import type { Model } from './log_model.js';
import { apply, describe, describeModel } from './log_model.js';
import { append, create, entry, openLog } from './support.js';

// Hundreds of lives take their time on a busy machine.
t.setTimeout(280_000);

/**
 * One scripted life of a log that rolls over segments, recycles them, moves entries of groups that pin old ones, truncates,
 * compacts, resets and drops. It is cut off before each of its steps that change the disk, in turn; what the
 * next opening finds must be the state after some write() call: none before the last acknowledged one (INV-25).
 */
const options = { segmentBytes: 4096, cacheBytesMax: 16_384, onFatal: (): void => undefined };

function text(word: string, bytes: number): string {
  return word.repeat(Math.ceil(bytes / word.length)).slice(0, bytes);
}

/** The records of each write() call. */
function script(): LogRecord[][] {
  const calls: LogRecord[][] = [[create(1), create(2, 5, 5), create(3), create(4)]];
  // Group 2 pins the first segment; group 4 is dropped while entries of it lie there.
  calls.push([append(2, entry(6, 5, 'pins'), entry(7, 5, 'the front')), append(4, entry(1, 1, 'to be dropped'))]);
  const vote = { term: 3, vote: 8, commit: 0 };
  calls.push([{ kind: 'append', groupId: 3, hardState: vote, entries: [] }]);
  for (let i = 1; i <= 40; i++) {
    const entries: Entry[] = [entry(i, 1 + Math.floor(i / 15), text(`v${i} `, 270))];
    calls.push([append(1, ...entries)]);
    if (i % 6 === 0) calls.push([{ kind: 'compact', groupId: 1, index: i - 2, term: 1 + Math.floor((i - 2) / 15) }]);
    if (i === 7) calls.push([{ kind: 'drop', groupId: 4 }]);
    if (i === 14) calls.push([append(3, entry(1, 3, 'old'), entry(2, 3, 'old'), entry(3, 3, 'old'))]);
    if (i === 20) calls.push([append(3, entry(2, 4, 'new'))]);
    if (i === 25)
      calls.push([{ kind: 'reset', groupId: 3, index: 40, term: 6, hardState: { term: 6, vote: 0, commit: 40 } }]);
    if (i === 27) calls.push([create(4, 9, 2), append(3, entry(41, 6, 'after the snapshot'))]);
    if (i === 30) calls.push([append(2, entry(8, 6, text('large ', 5000)))]);
    if (i === 34) calls.push([{ kind: 'compact', groupId: 2, index: 8, term: 6 }]);
  }
  return calls;
}

const calls = script();
const states: Model[] = [new Map()];
for (const records of calls) states.push(apply(must(states.at(-1), 'state'), records));
const described = states.map(describeModel);

interface Life {
  /** Calls made, and calls whose promise resolved, from the first on. */
  made: number;
  acked: number;
}

/** Runs the script until the disk is cut off or it is through. Every third call goes out with the next one. */
async function live(log: SegmentedLog): Promise<Life> {
  const life: Life = { made: 0, acked: 0 };
  const waiting: Promise<void>[] = [];
  try {
    for (const records of calls) {
      const mine = ++life.made;
      const written = log.write(records).then(() => void (life.acked = Math.max(life.acked, mine)));
      // Looked at below; meanwhile the event loop turns.
      written.catch(() => undefined);
      waiting.push(written);
      if (mine % 3 !== 0) await Promise.all(waiting.splice(0));
      // The collector lets the event loop turn, which this disk without latency never does.
      if (mine % 4 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await Promise.all(waiting.splice(0));
    await log.close();
  } catch (error) {
    if (!(error instanceof PowerLoss) && !(error instanceof RaftLogError && error.code === 'failed')) throw error;
    await Promise.allSettled(waiting);
  }
  return life;
}

async function opened(disk: MemoryDisk): Promise<SegmentedLog | null> {
  try {
    return await openLog(disk.mount(), options);
  } catch (error) {
    if (error instanceof PowerLoss) return null;
    throw error;
  }
}

/** What is wrong with the reopened log, or null. */
async function fault(log: SegmentedLog, life: Life): Promise<string | null> {
  if (log.damaged.size > 0) return `damaged: ${[...log.damaged].join()}`;
  const found = await describe(log);
  // An opening that was cut off before its first batch leaves an empty log.
  for (let i = life.acked; i <= life.made; i++) if (found === described[i]) return null;
  return `acknowledged ${life.acked}, made ${life.made}, found\n${found}\nexpected\n${must(described[life.acked], 'state')}`;
}

function end(disk: MemoryDisk, how: 'powerCut' | 'killProcess'): void {
  if (how === 'powerCut') disk.powerCut();
  else disk.killProcess();
}

/** Runs the whole script. */
async function steps(): Promise<{ changes: number; disk: MemoryDisk; batches: number }> {
  const disk = new MemoryDisk();
  const log = must(await opened(disk), 'log');
  const life = await live(log);
  if (life.acked !== calls.length) throw new Error(`${life.acked} of ${calls.length} calls were acknowledged`);
  return { changes: disk.changes, disk, batches: log.stats().batches };
}

t.test('the script does what it is meant to do', async (t) => {
  const { disk, batches } = await steps();
  const spares = disk.paths().filter((path) => path.endsWith('.spare')).length;
  t.ok((disk.counts.get('rename') ?? 0) > 8, 'segments are made and recycled');
  t.ok(spares > 0 && (disk.counts.get('unlink') ?? 0) > 0, 'some are kept, the large one is given back');
  t.notOk(
    disk.paths().some((path) => path.endsWith('0001.log')),
    'the segment that group 2 pinned is gone',
  );
  t.ok(batches > calls.length * 0.7, `${batches} batches`);
  const log = must(await opened(disk), 'log');
  t.equal(await describe(log), described.at(-1));
  await log.close();
});

for (const how of ['powerCut', 'killProcess'] as const) {
  t.test(`${how} before every step of the script leaves an allowed state, which takes new writes`, async (t) => {
    const { changes } = await steps();
    let faults = 0;
    for (let k = 0; k < changes && faults < 5; k++) {
      const disk = new MemoryDisk({ prng: new Prng(k + 1) });
      disk.crashAfter = k;
      const first = await opened(disk);
      const life = first === null ? { made: 0, acked: 0 } : await live(first);
      end(disk, how);
      const again = must(await opened(disk), 'log');
      const wrong = await fault(again, life);
      if (wrong !== null) {
        faults++;
        t.fail(`step ${k}: ${wrong}`);
      }
      await again.write([create(99, 3, 3), append(99, entry(4, 3, 'goes on'))]);
      const before = await describe(again);
      end(disk, how);
      const last = must(await opened(disk), 'log');
      t.equal(await describe(last), before, `step ${k}: what was written after it is there`);
      await last.close();
    }
    t.ok(changes > 150, `${changes} steps`);
  });
}

t.test('an opening that is cut off before each of its own steps can be done again', async (t) => {
  const { changes } = await steps();
  let cuts = 0;
  for (let k = 3; k < changes; k += 7) {
    for (let j = 0; ; j++) {
      const disk = new MemoryDisk({ prng: new Prng(k * 100 + j) });
      disk.crashAfter = k;
      const first = await opened(disk);
      const life = first === null ? { made: 0, acked: 0 } : await live(first);
      disk.powerCut();
      disk.crashAfter = j;
      const second = await opened(disk);
      disk.powerCut();
      const third = must(await opened(disk), 'log');
      const wrong = await fault(third, life);
      if (wrong !== null) t.fail(`step ${k}, opening cut off at ${j}: ${wrong}`);
      await third.close();
      if (second !== null) break;
      cuts++;
    }
  }
  t.ok(cuts > 50, `${cuts} openings cut off`);
});
