import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { must } from '../src/base/assert.js';
import { Prng } from '../src/base/prng.js';
import { CachedEngine } from '../src/engine/cached_engine.js';
import type { Engine } from '../src/engine/engine.js';
import { cacheBytesDefault } from '../src/engine/limits.js';
import { openRocksdbEngine } from '../src/engine/rocksdb_engine.js';
import { loadBinding } from '../src/engine/binding_loader.js';
import { openDatabase } from '../src/engine/storage.js';
import type { Database, RocksdbBinding } from '../src/engine/rocksdb_binding.js';
import { loopMs } from './support/loop_cpu.js';
import { machineShape } from './support/process_cpu.js';
import { showSpread, spreadOf } from './support/spread.js';

/**
 * The engine as a store uses it: batches of 256 puts of 256 bytes, two of them under way, not synced one by one;
 * multi-gets of 100, one under way and eight; the same batches with a sync after each.
 * "loop" is the CPU time of the event loop's thread. Beside it, in every round, RocksDB alone: the same batches and
 * multi-gets through its binding, on the calling thread, which stands still meanwhile.
 *
 *   node dist/bench/main.js engine [--rounds N] [--directory DIR]
 */
const batchPuts = 256;
const valueBytes = 256;
const keys = 200_000;
const getKeys = 100;
const atHandKeys = 50_000;
const roundPuts = batchPuts * 800;
const roundGets = getKeys * 1_000;
const putsFigure = 'puts, 256 per batch, 2 batches under way';
const syncedFigure = 'the same with a sync after each batch';
const rawPutsFigure = 'RocksDB alone: puts, 256 per batch';
const rawSyncedFigure = 'RocksDB alone: the same, each batch synced';
const rawGetsFigure = 'RocksDB alone: gets, 100 per call';
const syncedBatches = 200;

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly rounds: number[];
}

export async function run(args: readonly string[]): Promise<void> {
  const option = (name: string): string | undefined => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args[at + 1];
  };
  const rounds = Number(option('--rounds') ?? 7);
  const path = mkdtempSync(join(option('--directory') ?? tmpdir(), 'skerry-bench-engine-'));
  const engine = await openRocksdbEngine({
    path,
    onFatal: (error) => {
      throw error;
    },
  });
  const raw = await openRaw(`${path}-raw`);
  const figures = new Map<string, Figure>();
  const note = (name: string, unit: string, value: number): void => {
    const figure = figures.get(name) ?? { name, unit, rounds: [] };
    figure.rounds.push(value);
    figures.set(name, figure);
  };
  try {
    const prng = new Prng(1);
    await benchPuts(engine, prng, () => undefined); // warm up and fill
    benchRaw(raw, prng, () => undefined);
    for (let round = 0; round < rounds; round++) {
      await benchPuts(engine, prng, note);
      await benchGets(engine, prng, 1, note);
      await benchGets(engine, prng, 8, note);
      await benchAtHand(engine, prng, note);
      await benchHop(engine, note);
      await benchSynced(engine, prng, note);
      benchRaw(raw, prng, note);
    }
  } finally {
    await engine.close();
    await raw.close();
    rmSync(path, { recursive: true });
    rmSync(`${path}-raw`, { recursive: true });
  }
  report([...figures.values()], rounds);
}

type Note = (name: string, unit: string, value: number) => void;

/** Runs `work` and returns its wall time and the event loop's own time, in milliseconds. */
async function timed(work: () => Promise<void>): Promise<{ wallMs: number; busyMs: number }> {
  const startLoopMs = loopMs();
  const startMs = performance.now();
  await work();
  return { wallMs: performance.now() - startMs, busyMs: loopMs() - startLoopMs };
}

/** Calls `step` until it says stop, with `width` calls under way. */
async function pipelined(width: number, steps: number, step: () => Promise<unknown>): Promise<void> {
  let left = steps;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await step();
  };
  await Promise.all(Array.from({ length: width }, lane));
}

function keyOf(i: number): Buffer {
  return Buffer.from(`d\0\0\0\x01${String(i * 7919).padStart(24, '0')}`, 'latin1');
}

function randomBatch(engine: Engine, allKeys: readonly Buffer[], value: Buffer, prng: Prng) {
  const batch = engine.newBatch();
  for (let i = 0; i < batchPuts; i++) batch.put(must(allKeys[prng.int(0, keys - 1)], 'a key'), value);
  return batch;
}

const allKeys = Array.from({ length: keys }, (_, i) => keyOf(i));

async function benchPuts(engine: Engine, prng: Prng, note: Note): Promise<void> {
  const value = Buffer.alloc(valueBytes, prng.int(0, 255));
  const { wallMs, busyMs } = await timed(() =>
    pipelined(2, roundPuts / batchPuts, () => engine.write(randomBatch(engine, allKeys, value, prng))),
  );
  note(putsFigure, 'puts/s', roundPuts / (wallMs / 1e3));
  note('  loop per put', 'us', (busyMs * 1e3) / roundPuts);
}

async function benchGets(engine: Engine, prng: Prng, width: number, note: Note): Promise<void> {
  const { wallMs, busyMs } = await timed(() =>
    pipelined(width, roundGets / getKeys, () =>
      engine.getMany(Array.from({ length: getKeys }, () => must(allKeys[prng.int(0, keys - 1)], 'a key'))),
    ),
  );
  note(`gets, 100 per getMany, ${width} under way`, 'gets/s', roundGets / (wallMs / 1e3));
  note(`  loop per get, ${width} under way`, 'us', (busyMs * 1e3) / roundGets);
}

/** Gets of keys whose values are in the event loop's memory, one at a time as a store asks for them. */
async function benchAtHand(engine: Engine, prng: Prng, note: Note): Promise<void> {
  const cached = new CachedEngine(engine, { bytes: cacheBytesDefault });
  const wanted = Array.from({ length: atHandKeys }, () => must(allKeys[prng.int(0, keys - 1)], 'a key'));
  for (let at = 0; at < wanted.length; at += getKeys) await cached.getMany(wanted.slice(at, at + getKeys));
  let found = 0;
  const { busyMs } = await timed(() => {
    for (let n = 0; n < roundGets; n++) {
      if (cached.getNow([must(wanted[n % atHandKeys], 'a key')]) !== null) found++;
    }
    return Promise.resolve();
  });
  note('gets at hand, 1 per call, found', '%', (100 * found) / roundGets);
  note('  loop per get at hand', 'us', (busyMs * 1e3) / roundGets);
}

async function benchHop(engine: Engine, note: Note): Promise<void> {
  const times: number[] = [];
  for (let i = 0; i < 1_000; i++) {
    const startMs = performance.now();
    await engine.getMany([must(allKeys[i], 'a key')]);
    times.push((performance.now() - startMs) * 1e3);
  }
  times.sort((a, b) => a - b);
  note('getMany of one key alone, median', 'us', must(times[500], 'a time'));
  note('getMany of one key alone, 99%', 'us', must(times[990], 'a time'));
}

async function benchSynced(engine: Engine, prng: Prng, note: Note): Promise<void> {
  const value = Buffer.alloc(valueBytes, prng.int(0, 255));
  const { wallMs } = await timed(() =>
    pipelined(2, syncedBatches, async () => {
      void engine.write(randomBatch(engine, allKeys, value, prng));
      await engine.sync();
    }),
  );
  note(syncedFigure, 'puts/s', (syncedBatches * batchPuts) / (wallMs / 1e3));
}

interface Raw {
  readonly binding: RocksdbBinding;
  readonly db: Database;
  close(): Promise<void>;
}

async function openRaw(path: string): Promise<Raw> {
  const binding = await loadBinding();
  const bytes = 256 * 1024 * 1024;
  const db = await openDatabase(binding, {
    path,
    cacheBytes: bytes,
    writeBufferBytes: bytes,
    compression: false,
    backgroundJobs: 2,
  });
  const close = (): Promise<void> =>
    new Promise((resolve, reject) => {
      binding.db_close(db, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  return { binding, db, close };
}

function benchRaw({ binding, db }: Raw, prng: Prng, note: Note): void {
  const value = Buffer.alloc(valueBytes, prng.int(0, 255));
  const batch = binding.batch_init();
  const write = (batches: number, sync: boolean): number => {
    const startMs = performance.now();
    for (let n = 0; n < batches; n++) {
      for (let i = 0; i < batchPuts; i++)
        binding.batch_put(batch, must(allKeys[prng.int(0, keys - 1)], 'a key'), value, null);
      binding.batch_write(db, batch, sync ? { sync: true } : null);
      binding.batch_clear(batch);
    }
    return (batches * batchPuts) / ((performance.now() - startMs) / 1e3);
  };
  note(rawPutsFigure, 'puts/s', write(roundPuts / batchPuts, false));
  note(rawSyncedFigure, 'puts/s', write(syncedBatches, true));
  const startMs = performance.now();
  for (let n = 0; n < roundGets / getKeys; n++) {
    const wanted = Array.from({ length: getKeys }, () => must(allKeys[prng.int(0, keys - 1)], 'a key'));
    binding.db_get_many_sync(db, wanted, null);
  }
  note(rawGetsFigure, 'gets/s', roundGets / ((performance.now() - startMs) / 1e3));
}

function report(figures: readonly Figure[], rounds: number): void {
  const lines = figures.map(({ name, unit, rounds }) => {
    const spread = spreadOf(rounds);
    return `${name.padEnd(46)} ${showSpread(spread, spread.median < 100 ? 2 : 0)} ${unit}`;
  });
  const medianOf = (name: string): number =>
    spreadOf(must(figures.find((figure) => figure.name === name)?.rounds, name)).median;
  const ratio = (above: string, below: string): string => (medianOf(above) / medianOf(below)).toFixed(2);
  const load = `load average ${(loadavg()[0] ?? 0).toFixed(1)}`;
  process.stdout.write(
    `engine: RocksDB, ${keys.toLocaleString('en-US')} keys, values of ${valueBytes} B, ${rounds} rounds: median (min to max)\n` +
      `${machineShape()}, ${load}\n${lines.join('\n')}\n` +
      `of RocksDB alone: puts ${ratio(putsFigure, rawPutsFigure)}, synced ${ratio(syncedFigure, rawSyncedFigure)}, ` +
      `gets ${ratio('gets, 100 per getMany, 8 under way', rawGetsFigure)} (medians)\n` +
      `not waiting for the disk is worth ${ratio(putsFigure, syncedFigure)} times the puts of synced batches\n`,
  );
}
