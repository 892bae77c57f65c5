import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { must } from '../../src/base/assert.js';
import { Prng } from '../../src/base/prng.js';
import type { Engine } from '../../src/engine/engine.js';
import { EngineError } from '../../src/engine/engine_error.js';
import { openRocksdbEngine } from '../../src/engine/rocksdb_engine.js';

const isSource = import.meta.url.endsWith('.ts');
const childFile = fileURLToPath(new URL(isSource ? './rocksdb_child.ts' : './rocksdb_child.js', import.meta.url));
/** A guard against hanging, not a measure: processes start slowly on a busy machine. */
t.setTimeout(180_000);

const none = Buffer.alloc(0);
const everything = { start: none, end: none, limit: 1_000_000, maxBytes: 1 << 30, reverse: false, keysOnly: false };

function start(mode: string, path: string, shellPrefix = ''): ChildProcess {
  const node = [process.execPath, ...(isSource ? process.execArgv : []), childFile, mode, path];
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  // The test runner sees to it that every child is instrumented and writes a file about it at its end, which would run
  // into the limit on file sizes that one of these children has. A shell takes that away again.
  const plain = `unset NODE_OPTIONS NODE_V8_COVERAGE; ${shellPrefix === '' ? '' : `${shellPrefix}; `}exec "$@"`;
  return spawn('bash', ['-c', plain, '-', ...node], { stdio: [...stdio] });
}

async function* linesOf(child: ChildProcess): AsyncGenerator {
  for await (const line of createInterface({ input: must(child.stdout, 'a pipe') })) yield JSON.parse(line);
}

async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve));
}

function unexpected(error: Error): void {
  throw error;
}

function open(path: string): Promise<Engine> {
  return openRocksdbEngine({ path, cacheBytes: 1 << 20, onFatal: unexpected });
}

async function openError(path: string): Promise<EngineError> {
  const error: unknown = await open(path).catch((reason: unknown) => reason);
  if (error instanceof EngineError) return error;
  throw new Error('it opened');
}

async function withDirectory(body: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'skerry-engine-'));
  try {
    await body(join(path, 'engine'));
  } finally {
    rmSync(path, { recursive: true });
  }
}

void t.test('after kill -9 what was synced is there, every batch whole, and the engine opens', async (t) => {
  const prng = new Prng(7);
  await withDirectory(async (path) => {
    let last = 0;
    for (let round = 0; round < 3; round++) {
      const child = start('write', path);
      let synced = 0;
      const enough = prng.int(3, 25);
      for await (const n of linesOf(child)) {
        synced = Number(n);
        if (synced >= enough) child.kill('SIGKILL');
      }
      await exited(child);
      const engine = await open(path);
      const [first, end] = await engine.getMany([Buffer.from('first'), Buffer.from('last')]);
      last = Number(first?.toString());
      t.ok(last >= synced, `batch ${last} is there, ${synced} was synced`);
      t.equal(Number(end?.toString()), last, 'the batch is whole');
      const rows = await engine.scan({ ...everything, start: Buffer.from('row'), end: Buffer.from('rox') });
      const values = new Set(rows.rows.map((row) => row.value.toString()));
      const written = last - (last % 5);
      t.equal(rows.rows.length, written === 0 ? 0 : 1_500);
      t.same([...values], written === 0 ? [] : [String(written)], 'the rows are those of the last batch with ranges');
      await engine.close();
    }
  });
});

void t.test('a write that the disk refuses is latched: nothing is acknowledged after it', async (t) => {
  await withDirectory(async (path) => {
    // No file may grow past 2 MiB: RocksDB's log hits it as it would a full disk.
    const child = start('fail', path, 'ulimit -f 2048');
    const reports: unknown[] = [];
    for await (const report of linesOf(child)) reports.push(report);
    await exited(child);
    t.equal(child.exitCode, 0);
    const { acknowledged, ...rest } = reports[0] as { acknowledged: number };
    t.same(rest, { failure: 'io, read behind it: io', later: ['io', 'io', 'io', 'io'], fatals: 1 });
    const engine = await open(path);
    const [value] = await engine.getMany([Buffer.from('count')]);
    t.ok(acknowledged > 10 && Number(value?.toString()) >= acknowledged, 'acknowledged batches are there');
    await engine.close();
  });
});

void t.test('a directory that is open is refused as locked, by this process and by another', async (t) => {
  await withDirectory(async (path) => {
    const engine = await open(path);
    t.equal((await openError(path)).code, 'locked');
    const child = start('open', path);
    const lines: unknown[] = [];
    for await (const line of linesOf(child)) lines.push(line);
    t.same(lines, ['locked']);
    await engine.close();
    await (await open(path)).close();
  });
});

void t.test('a damaged file is refused as corruption', async (t) => {
  await withDirectory(async (path) => {
    const engine = await open(path);
    const batch = engine.newBatch();
    for (let i = 0; i < 2_000; i++) batch.put(Buffer.from(`key${String(i)}`), Buffer.alloc(100, i));
    await engine.write(batch);
    await engine.close();
    // Opening again moves the rows from the log to a table file.
    await (await open(path)).close();
    const table = must(
      readdirSync(path).find((name) => name.endsWith('.sst')),
      'a table file',
    );
    const content = readFileSync(join(path, table));
    content.fill(0x55, content.length - 200);
    writeFileSync(join(path, table), content);
    const error = await openError(path);
    t.equal(error.code, 'corruption');
    t.match(error.message, path);
  });
});

void t.test('a directory that cannot be made is an io error', async (t) => {
  t.equal((await openError(join(fileURLToPath(import.meta.url), 'engine'))).code, 'io');
});
