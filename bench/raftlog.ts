import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.js';
import { silentLogger } from '../src/base/logger.js';
import { nodeRuntime } from '../src/base/node_runtime.js';
import type { Entry } from '../src/raft/message.js';
import { NodeDisk } from '../src/raftlog/node_disk.js';
import type { LogRecord, RaftLog } from '../src/raftlog/raft_log.js';
import { openRaftLog } from '../src/raftlog/segmented_log.js';
import { loopCpuMs, machineShape } from './support/process_cpu.js';
import { rawSyncsPerSecond } from './support/raw_sync.js';
import { rocksdbSyncsPerSecond } from './support/rocksdb_sync.js';
import { showSpread, spreadOf } from './support/spread.js';

interface Options {
  readonly directory: string;
  readonly groups: number;
  readonly entryBytes: number;
  readonly batchEntries: number;
  /** write() calls outstanding in the batched runs. */
  readonly depth: number;
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
  /** CPU of the event loop's thread because of the log, per entry: all of it but what making the records takes. */
  readonly loopUsPerEntry: number;
  /** The same over all threads: system calls of the thread pool too. */
  readonly cpuUsPerEntry: number;
}

/** CPU that making an entry's record takes, microseconds: measured alone, to be taken off. */
function makingUsPerEntry(o: Options, count: number): number {
  const load = new Load(o);
  load.create();
  const turns = Math.ceil(200_000 / count);
  const start = loopCpuMs();
  for (let i = 0; i < turns; i++) load.turn(count);
  return ((loopCpuMs() - start) * 1000) / (turns * count);
}

/** Keeps `depth` write() calls of `count` entries outstanding for the run's time. */
async function drive(log: RaftLog, load: Load, o: Options, count: number, depth: number): Promise<Measured> {
  const makingUs = makingUsPerEntry(o, count);
  const before = log.stats();
  const cpu = process.cpuUsage();
  const loop = loopCpuMs();
  const start = performance.now();
  let calls = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - start < o.seconds * 1000) {
      await log.write(++calls % 256 === 0 ? load.compactions(1000) : load.turn(count));
    }
  };
  await Promise.all(Array.from({ length: depth }, lane));
  const seconds = (performance.now() - start) / 1000;
  const loopMs = loopCpuMs() - loop;
  const used = process.cpuUsage(cpu);
  const after = log.stats();
  const entries = after.entries - before.entries;
  return {
    entriesPerSecond: entries / seconds,
    batchesPerSecond: (after.batches - before.batches) / seconds,
    syncMsP50: after.syncMsP50,
    loopUsPerEntry: (loopMs * 1000) / entries - makingUs,
    cpuUsPerEntry: (used.user + used.system) / entries - makingUs,
  };
}

function open(directory: string): Promise<RaftLog> {
  return openRaftLog({
    disk: new NodeDisk(),
    directory,
    runtime: nodeRuntime(),
    logger: silentLogger,
    onFatal: (error) => {
      throw error;
    },
  });
}

/** Bytes written before anything is measured: then the log goes round over recycled segments, as a store's does. */
const warmUpBytes = 256 * 2 ** 20;

async function withLog<T>(o: Options, work: (log: RaftLog, load: Load) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(o.directory, 'skerry-bench-raftlog-'));
  try {
    const log = await open(directory);
    const load = new Load(o);
    await log.write(load.create());
    while (log.stats().bytesWritten < warmUpBytes) {
      await log.write(load.turn(4096));
      await log.write(load.compactions(100));
    }
    const result = await work(log, load);
    await log.close();
    return result;
  } finally {
    await rm(directory, { recursive: true });
  }
}

interface Opened {
  readonly openSeconds: number;
  /** Reading the same files from first to last byte, with nothing done to them. */
  readonly readSeconds: number;
  /** CPU of opening, all threads. */
  readonly openCpuSeconds: number;
}

async function readSeconds(directory: string): Promise<number> {
  const start = performance.now();
  for (const name of await readdir(directory)) await readFile(join(directory, name));
  return (performance.now() - start) / 1000;
}

/** Opening a log of `bytes` with `groups` groups, `o.runs` times. The pages may be in the page cache: it measures the work. */
async function openings(o: Options, bytes: number, groups: number): Promise<Opened[]> {
  const directory = await mkdtemp(join(o.directory, 'skerry-bench-raftlog-'));
  try {
    const log = await open(directory);
    const load = new Load({ ...o, groups });
    await log.write(load.create());
    while (log.stats().bytesWritten < bytes) await log.write(load.turn(4096));
    await log.close();
    const opened: Opened[] = [];
    for (let i = 0; i < o.runs; i++) {
      const read = await readSeconds(directory);
      const cpu = process.cpuUsage();
      const start = performance.now();
      const again = await open(directory);
      const seconds = (performance.now() - start) / 1000;
      const used = process.cpuUsage(cpu);
      if (again.stats().groups !== groups) throw new Error(`${again.stats().groups} groups came back`);
      await again.close();
      opened.push({ openSeconds: seconds, readSeconds: read, openCpuSeconds: (used.user + used.system) / 1e6 });
    }
    return opened;
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Everything that one round measures, the peers beside the log. */
interface Round {
  readonly rawSyncs: number;
  readonly rawSameBytes: number;
  readonly rocksdbSingle: number;
  readonly rocksdbBatched: number;
  readonly single: Measured;
  readonly batched: Measured;
}

/** One round: the log and its peers in turn, each for the same time, so that a noisy machine disturbs all of them. */
async function measure(log: RaftLog, load: Load, o: Options): Promise<Round> {
  const ms = o.seconds * 1000;
  const peer = { ms, entryBytes: o.entryBytes, groups: o.groups };
  const sameBytes = o.batchEntries * (o.entryBytes + 17);
  return {
    rawSyncs: await rawSyncsPerSecond(o.directory, ms),
    single: await drive(log, load, o, 1, 1),
    rocksdbSingle: await rocksdbSyncsPerSecond(o.directory, { ...peer, count: 1 }),
    rawSameBytes: await rawSyncsPerSecond(o.directory, ms, sameBytes),
    batched: await drive(log, load, o, o.batchEntries, o.depth),
    rocksdbBatched: await rocksdbSyncsPerSecond(o.directory, { ...peer, count: o.batchEntries }),
  };
}

function printRounds(rounds: readonly Round[], o: Options): void {
  const row = (label: string, pick: (r: Round) => number, decimals = 0): void =>
    console.log(`  ${label.padEnd(44)} ${showSpread(spreadOf(rounds.map(pick)), decimals)}`);
  console.log('one entry per write(), one outstanding');
  row('synced batches/s', (r) => r.single.batchesPerSecond);
  row('raw 4 KiB write + fdatasync/s', (r) => r.rawSyncs);
  row('  ratio to raw', (r) => r.single.batchesPerSecond / r.rawSyncs, 2);
  row('RocksDB, synced batch of one entry/s', (r) => r.rocksdbSingle);
  row('  ratio to RocksDB', (r) => r.single.batchesPerSecond / r.rocksdbSingle, 2);
  row('CPU of the event loop, us per batch', (r) => r.single.loopUsPerEntry, 1);
  console.log(`${o.batchEntries} entries per write(), ${o.depth} outstanding`);
  row('entries/s', (r) => r.batched.entriesPerSecond);
  row('synced batches/s', (r) => r.batched.batchesPerSecond);
  row('raw write of as many bytes + fdatasync/s', (r) => r.rawSameBytes);
  row('  ratio of entries to raw', (r) => r.batched.entriesPerSecond / (r.rawSameBytes * o.batchEntries), 2);
  row('RocksDB, entries/s in synced batches', (r) => r.rocksdbBatched * o.batchEntries);
  row('  ratio to RocksDB', (r) => r.batched.entriesPerSecond / (r.rocksdbBatched * o.batchEntries), 2);
  row('sync p50, ms', (r) => r.batched.syncMsP50, 3);
  row('CPU of the event loop, us per entry', (r) => r.batched.loopUsPerEntry, 2);
  row('CPU of all threads, us per entry', (r) => r.batched.cpuUsPerEntry, 2);
}

const openGroups = 10_000;

function printOpened(opened: readonly Opened[], mib: number): void {
  const show = (pick: (x: Opened) => number, decimals = 2): string => showSpread(spreadOf(opened.map(pick)), decimals);
  console.log(`opening ${mib} MiB of log with ${openGroups} groups`);
  console.log(`  ${'seconds'.padEnd(44)} ${show((x) => x.openSeconds)}`);
  console.log(`  ${'reading the same files alone, seconds'.padEnd(44)} ${show((x) => x.readSeconds)}`);
  console.log(`  ${'ratio'.padEnd(44)} ${show((x) => x.openSeconds / x.readSeconds)}`);
  console.log(`  ${'CPU of all threads, seconds'.padEnd(44)} ${show((x) => x.openCpuSeconds)}`);
}

/**
 * `npm run bench -- raftlog [--groups N] [--value BYTES] [--batch N] [--depth N] [--seconds S] [--runs N] [--dir DIR] [--open-mib N]`:
 * `--open-mib 0` leaves the opening out, 64 is a quick one.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      groups: { type: 'string', default: '64' },
      value: { type: 'string', default: '256' },
      batch: { type: 'string', default: '256' },
      depth: { type: 'string', default: '2' },
      seconds: { type: 'string', default: '1' },
      runs: { type: 'string', default: '9' },
      dir: { type: 'string', default: '.' },
      'open-mib': { type: 'string', default: '1024' },
    },
  });
  const o: Options = {
    directory: values.dir,
    groups: Number(values.groups),
    entryBytes: Number(values.value),
    batchEntries: Number(values.batch),
    depth: Number(values.depth),
    seconds: Number(values.seconds),
    runs: Number(values.runs),
  };
  console.log(`Raft log: ${o.entryBytes}-byte entries over ${o.groups} groups, synced before every answer`);
  console.log(`${machineShape()}; medians of ${o.runs} rounds, ${o.seconds} s each (smallest to largest)\n`);
  const rounds = await withLog(o, async (log, load) => {
    const all: Round[] = [];
    for (let i = 0; i < o.runs; i++) all.push(await measure(log, load, o));
    return all;
  });
  printRounds(rounds, o);
  const mib = Number(values['open-mib']);
  const opened = mib === 0 ? [] : await openings(o, mib * 2 ** 20, openGroups);
  if (opened.length > 0) printOpened(opened, mib);
  mkdirSync('bench-results', { recursive: true });
  const file = 'bench-results/raftlog.json';
  writeFileSync(
    file,
    JSON.stringify(
      { machine: machineShape(), options: { ...o, directory: undefined }, rounds, openMiB: mib, openGroups, opened },
      null,
      2,
    ),
  );
  console.log(`report: ${file}`);
}
