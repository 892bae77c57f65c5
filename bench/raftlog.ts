import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.js';
import { silentLogger } from '../src/base/logger.js';
import { nodeRuntime } from '../src/base/node_runtime.js';
import type { Entry } from '../src/raft/message.js';
import { NodeDisk } from '../src/raftlog/node_disk.js';
import type { LogRecord, RaftLog } from '../src/raftlog/raft_log.js';
import { openRaftLog } from '../src/raftlog/segmented_log.js';
import { machineShape } from './support/process_cpu.js';
import { rawSyncsPerSecond } from './support/raw_sync.js';
import { showSpread, spreadOf } from './support/spread.js';

interface Options {
  readonly directory: string;
  readonly groups: number;
  readonly entryBytes: number;
  readonly batchEntries: number;
  readonly seconds: number;
  readonly runs: number;
}

/** Positions of the groups that the load runs over. */
class Load {
  private readonly last = new Map<number, number>();
  private readonly data: Buffer;
  private next = 0;
  private readonly o: Options;

  constructor(o: Options) {
    this.o = o;
    this.data = Buffer.alloc(o.entryBytes, 0x61);
  }

  create(): LogRecord[] {
    const records: LogRecord[] = [];
    for (let groupId = 1; groupId <= this.o.groups; groupId++) {
      records.push({ kind: 'reset', groupId, index: 5, term: 5, hardState: { term: 5, vote: 0, commit: 5 } });
      this.last.set(groupId, 5);
    }
    return records;
  }

  /** One turn's records: `count` entries spread over groups, the way a busy store makes them. */
  turn(count: number): LogRecord[] {
    const records: LogRecord[] = [];
    const perGroup = Math.ceil(count / this.o.groups);
    for (let left = count; left > 0;) {
      const groupId = (this.next++ % this.o.groups) + 1;
      let index = must(this.last.get(groupId), 'position');
      const entries: Entry[] = [];
      for (let n = Math.min(perGroup, left); n > 0; n--, left--) {
        entries.push({ term: 5, index: ++index, type: 0, data: this.data });
      }
      this.last.set(groupId, index);
      records.push({ kind: 'append', groupId, hardState: { term: 5, vote: 2, commit: index - 1 }, entries });
    }
    return records;
  }

  /** Compactions that keep about `keep` entries of each group. */
  compactions(keep: number): LogRecord[] {
    const records: LogRecord[] = [];
    for (const [groupId, index] of this.last) {
      if (index - keep > 5) records.push({ kind: 'compact', groupId, index: index - keep, term: 5 });
    }
    return records;
  }
}

interface Measured {
  readonly entriesPerSecond: number;
  readonly batchesPerSecond: number;
  readonly syncMsP50: number;
  /** Event-loop time inside and because of the log, per entry. */
  readonly loopUsPerEntry: number;
  /** Of that, the time inside write() itself. */
  readonly writeUsPerEntry: number;
  readonly cpuUsPerEntry: number;
}

/** Keeps `depth` write() calls of `count` entries outstanding for the run's time. */
async function drive(log: RaftLog, load: Load, o: Options, count: number, depth: number): Promise<Measured> {
  const start = performance.now();
  const before = log.stats();
  const cpu = process.cpuUsage();
  const loop = performance.eventLoopUtilization();
  let makingMs = 0;
  let writingMs = 0;
  let calls = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - start < o.seconds * 1000) {
      const a = performance.now();
      const records = ++calls % 256 === 0 ? load.compactions(1000) : load.turn(count);
      const b = performance.now();
      const written = log.write(records);
      writingMs += performance.now() - b;
      makingMs += b - a;
      await written;
    }
  };
  await Promise.all(Array.from({ length: depth }, lane));
  const seconds = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  const activeMs = performance.eventLoopUtilization(loop).active - makingMs;
  const after = log.stats();
  const entries = after.entries - before.entries;
  return {
    entriesPerSecond: entries / seconds,
    batchesPerSecond: (after.batches - before.batches) / seconds,
    syncMsP50: after.syncMsP50,
    loopUsPerEntry: (activeMs * 1000) / entries,
    writeUsPerEntry: (writingMs * 1000) / entries,
    cpuUsPerEntry: (used.user + used.system - makingMs * 1000) / entries,
  };
}

function report(name: string, all: readonly Measured[]): void {
  const row = (label: string, pick: (m: Measured) => number, decimals: number): void =>
    console.log(`  ${label.padEnd(34)} ${showSpread(spreadOf(all.map(pick)), decimals)}`);
  console.log(name);
  row('entries/s', (m) => m.entriesPerSecond, 0);
  row('synced batches/s', (m) => m.batchesPerSecond, 0);
  row('sync p50, ms', (m) => m.syncMsP50, 3);
  row('event loop, us per entry', (m) => m.loopUsPerEntry, 2);
  row('of it in write(), us per entry', (m) => m.writeUsPerEntry, 2);
  row('CPU of all threads, us per entry', (m) => m.cpuUsPerEntry, 2);
}

async function withLog<T>(o: Options, work: (log: RaftLog, load: Load) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(o.directory, 'skerry-bench-raftlog-'));
  try {
    const log = await openRaftLog({
      disk: new NodeDisk(),
      directory,
      runtime: nodeRuntime(),
      logger: silentLogger,
      onFatal: (error) => {
        throw error;
      },
    });
    const load = new Load(o);
    await log.write(load.create());
    const result = await work(log, load);
    await log.close();
    return result;
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Opening a log of `bytes` with `groups` groups, seconds. The pages may be in the page cache: it measures the work. */
async function openSeconds(o: Options, bytes: number, groups: number): Promise<{ seconds: number; heapMiB: number }> {
  const directory = await mkdtemp(join(o.directory, 'skerry-bench-raftlog-'));
  const open = (): Promise<RaftLog> =>
    openRaftLog({
      disk: new NodeDisk(),
      directory,
      runtime: nodeRuntime(),
      logger: silentLogger,
      onFatal: (error) => {
        throw error;
      },
    });
  try {
    const log = await open();
    const load = new Load({ ...o, groups });
    await log.write(load.create());
    while (log.stats().bytesWritten < bytes) await log.write(load.turn(4096));
    await log.close();
    const heap = process.memoryUsage().heapUsed;
    const start = performance.now();
    const again = await open();
    const seconds = (performance.now() - start) / 1000;
    const heapMiB = (process.memoryUsage().heapUsed - heap) / 2 ** 20;
    await again.close();
    return { seconds, heapMiB };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** `npm run bench -- raftlog [--groups N] [--value BYTES] [--batch N] [--seconds S] [--runs N] [--dir DIR] [--open-mib N]` */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      groups: { type: 'string', default: '64' },
      value: { type: 'string', default: '256' },
      batch: { type: 'string', default: '256' },
      seconds: { type: 'string', default: '2' },
      runs: { type: 'string', default: '5' },
      dir: { type: 'string', default: '.' },
      'open-mib': { type: 'string', default: '1024' },
    },
  });
  const o: Options = {
    directory: values.dir,
    groups: Number(values.groups),
    entryBytes: Number(values.value),
    batchEntries: Number(values.batch),
    seconds: Number(values.seconds),
    runs: Number(values.runs),
  };
  console.log(`Raft log: ${o.entryBytes}-byte entries over ${o.groups} groups, fdatasync before every answer`);
  console.log(`${machineShape()}; medians of ${o.runs} runs of ${o.seconds} s (smallest to largest)\n`);
  const raw: number[] = [];
  const single: Measured[] = [];
  const batched: Measured[] = [];
  for (let i = 0; i < o.runs; i++) {
    raw.push(await rawSyncsPerSecond(o.directory, o.seconds * 500));
    single.push(await withLog(o, (log, load) => drive(log, load, o, 1, 1)));
    batched.push(await withLog(o, (log, load) => drive(log, load, o, o.batchEntries, 2)));
  }
  console.log(`raw 4 KiB write + fdatasync/s        ${showSpread(spreadOf(raw))}`);
  report('one entry per write(), one outstanding', single);
  report(`${o.batchEntries} entries per write(), two outstanding`, batched);
  const ratio = spreadOf(single.map((m, i) => m.batchesPerSecond / must(raw[i], 'raw')));
  console.log(`synced batches/s over raw syncs/s    ${showSpread(ratio, 2)}`);
  const mib = Number(values['open-mib']);
  if (mib === 0) return;
  const opened = await openSeconds(o, mib * 2 ** 20, 10_000);
  console.log(
    `opening ${mib} MiB with 10,000 groups: ${opened.seconds.toFixed(2)} s, ${opened.heapMiB.toFixed(0)} MiB of heap more`,
  );
}
