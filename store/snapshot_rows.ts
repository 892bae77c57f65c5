import { scanBytesMax } from '../src/base/limits.js';
import type { Engine, EngineLoader } from '../src/engine/engine.js';
import { EngineError } from '../src/engine/engine_error.js';
import { sessionIdOfKey, sessionRange } from '../src/engine/keys.js';
import { nextStart } from '../src/engine/packed_rows.js';
import type { SessionRecord } from '../src/gen/skerry/v1/kv.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { loadPageRowsMax, snapshotLoadBytesMax } from './limits.js';
import { decodeSessionRecord } from './records.js';
import { SnapshotFormatError, snapshotTargets } from './snapshot_format.js';

/**
 * Loads the rows of a snapshot into the engine, whose range of the shard is empty. The event loop hands chunks over and sees
 * no row but the sessions, which it reads back.
 * @throws SnapshotFormatError on a damaged snapshot
 */
export async function loadSnapshotRows(
  engine: Engine,
  shard: Shard,
  chunks: AsyncIterable<Buffer>,
): Promise<Map<number, SessionRecord>> {
  const loader = await engine.openLoader(snapshotTargets(shard));
  try {
    const pipe = new ChunkPipe(loader);
    for await (const chunk of chunks) await pipe.write(chunk);
    await pipe.empty();
    await loader.finish();
  } catch (error) {
    await loader.close();
    const damaged = error instanceof EngineError && error.code === 'corruption' && !error.fatal;
    throw damaged ? new SnapshotFormatError(`shard ${shard.shardId}: ${error.message}`) : error;
  }
  return readSessions(engine, shard.shardId);
}

async function readSessions(engine: Engine, shardId: number): Promise<Map<number, SessionRecord>> {
  const sessions = new Map<number, SessionRecord>();
  const { start, end } = sessionRange(shardId);
  for (let next: Buffer | null = start; next !== null;) {
    const limits = { limit: loadPageRowsMax, maxBytes: scanBytesMax };
    const page = await engine.scan({ start: next, end, ...limits, reverse: false, keysOnly: false });
    for (const { key, value } of page.rows) sessions.set(sessionIdOfKey(key), decodeSessionRecord(value));
    next = nextStart(page);
  }
  return sessions;
}

/** Keeps a few chunks on their way to the engine, in order. */
class ChunkPipe {
  private readonly loader: EngineLoader;
  private readonly underWay: { readonly bytes: number; readonly written: Promise<void> }[] = [];
  private bytes = 0;

  constructor(loader: EngineLoader) {
    this.loader = loader;
  }

  /** Resolves once the engine has room for the next one. */
  async write(chunk: Buffer): Promise<void> {
    const written = this.loader.write(chunk);
    // Whoever waits for its turn hears of a failure, once the earlier ones are through.
    written.catch(() => undefined);
    this.underWay.push({ bytes: chunk.length, written });
    this.bytes += chunk.length;
    while (this.bytes > snapshotLoadBytesMax) await this.oldest();
  }

  async empty(): Promise<void> {
    while (this.underWay.length > 0) await this.oldest();
  }

  private async oldest(): Promise<void> {
    const oldest = this.underWay.shift();
    if (oldest === undefined) return;
    this.bytes -= oldest.bytes;
    await oldest.written;
  }
}
