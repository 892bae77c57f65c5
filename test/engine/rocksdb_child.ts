import { openRocksdbEngine } from '../../src/engine/rocksdb_engine.js';
import { EngineError } from '../../src/engine/engine_error.js';

/**
 * A process of its own for tests that end it or starve it:
 *   write PATH     writes numbered batches and says which are synced, until it is killed
 *   fail PATH      writes until the disk refuses, then says what became of the calls
 *   open PATH      says why it cannot open
 * It prints one JSON value per line.
 */
const [mode = '', path = ''] = process.argv.slice(2);

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

const codeOf = (error: unknown): string => (error instanceof EngineError ? error.code : String(error));

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'ok', codeOf);
}

let fatals = 0;
const engine = await openRocksdbEngine({ path, cacheBytes: 1 << 20, onFatal: () => fatals++ }).catch(
  (error: unknown) => {
    say(codeOf(error));
    process.exit(0);
  },
);

/** Batch n: three keys say n, and every fifth batch replaces many rows by ranges. */
function numbered(n: number) {
  const batch = engine.newBatch();
  const value = Buffer.from(String(n));
  batch.put(Buffer.from('first'), value);
  if (n % 5 === 0) {
    batch.deleteRange(Buffer.from('row'), Buffer.from('rox'));
    for (let i = 0; i < 1_500; i++) batch.put(Buffer.from(`row${String(i)}`), value);
  }
  batch.put(Buffer.from('last'), value);
  return batch;
}

if (mode === 'write') {
  for (let n = 1; ; n++) {
    const written = engine.write(numbered(n));
    if (n % 3 === 0) {
      await engine.sync();
      say(n);
    }
    await written;
  }
}

if (mode === 'fail') {
  let acknowledged = 0;
  let failure = '';
  const value = Buffer.alloc(32 * 1024, 1);
  for (let n = 0; failure === ''; n++) {
    const batch = engine.newBatch();
    batch.put(Buffer.from(`n${String(n).padStart(6, '0')}`), value);
    batch.put(Buffer.from('count'), Buffer.from(String(n + 1)));
    const written = engine.write(batch);
    // The read is behind the write in the queue: when that fails, so does it.
    const read = code(engine.getMany([Buffer.from('count')]));
    const result = await code(written);
    if (result === 'ok') acknowledged = n + 1;
    else failure = `${result}, read behind it: ${await read}`;
  }
  const later = [
    await code(engine.write(engine.newBatch())),
    await code(engine.sync()),
    await code(engine.getMany([Buffer.from('count')])),
    await code(engine.openView()),
  ];
  say({ acknowledged, failure, later, fatals });
  await engine.close();
}
