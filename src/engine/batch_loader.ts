import type {
  Engine,
  EngineBatch,
  EngineLoader,
  LoadTarget,
  PackedPage,
  PackOptions,
  ScanOptions,
  ScanPage,
} from './engine.js';
import { EngineError } from './engine_error.js';
import { cutChunks, nextStart, packedBytes, PackedRowsError, packRows, RowLoader } from './packed_rows.js';

/** Packing and loading by way of scans and batches, for engines that have no thread of their own for it. */
export async function packPage(
  scan: (options: ScanOptions) => Promise<ScanPage>,
  options: PackOptions,
): Promise<PackedPage> {
  const { tag, skip, chunkBytes } = options;
  const page = await scan({ ...options, reverse: false, keysOnly: false });
  const bytes = Buffer.allocUnsafe(packedBytes(page.rows, skip));
  packRows(bytes, 0, page.rows, tag, skip);
  return { chunks: cutChunks(bytes, chunkBytes), rows: page.rows.length, next: nextStart(page) };
}

/** One batch for each chunk. */
export class BatchLoader implements EngineLoader {
  private readonly engine: Engine;
  private readonly loader: RowLoader;
  private readonly ended: () => void;
  private batch: EngineBatch;
  private over = false;

  /** `ended` is called once the loader is of no more use. */
  constructor(engine: Engine, targets: readonly LoadTarget[], ended: () => void) {
    this.engine = engine;
    this.ended = ended;
    this.batch = engine.newBatch();
    this.loader = new RowLoader(targets, (key, value) => this.batch.put(key, value));
  }

  write(chunk: Buffer): Promise<void> {
    this.batch = this.engine.newBatch();
    // A copy: the loader writes to it, and the chunk is the caller's.
    const refusal = this.tried(() => this.loader.load(Buffer.from(chunk)));
    return refusal === null ? this.engine.write(this.batch) : Promise.reject(refusal);
  }

  async finish(): Promise<number> {
    let rows = 0;
    const refusal = this.tried(() => (rows = this.loader.finish()));
    this.end();
    if (refusal !== null) throw refusal;
    // Whatever was written is answered by now.
    await this.engine.getMany([]);
    return rows;
  }

  close(): Promise<void> {
    this.end();
    return Promise.resolve();
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    this.ended();
  }

  private tried(step: () => void): EngineError | null {
    if (this.over) return new EngineError('closed', 'the loader is closed');
    try {
      step();
      return null;
    } catch (error) {
      if (!(error instanceof PackedRowsError)) throw error;
      this.end();
      return new EngineError('corruption', error.message);
    }
  }
}
