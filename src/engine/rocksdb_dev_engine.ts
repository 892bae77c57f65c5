import { mkdirSync } from 'node:fs';
import { assert } from '../base/assert.js';
import { directoryBytes } from './directory_bytes.js';
import { BatchLoader, packPage } from './batch_loader.js';
import type {
  Engine,
  EngineBatch,
  EngineLoader,
  EngineView,
  LoadTarget,
  PackedPage,
  PackOptions,
  RangeSize,
  ScanOptions,
  ScanPage,
} from './engine.js';
import { EngineError, type EngineErrorCode } from './engine_error.js';
import {
  engineKeyBytesMax,
  getManyBytesMax,
  getManyKeysMax,
  openLoadersMax,
  openViewsMax,
  readBacklogMax,
  writeBacklogBytesMax,
} from './limits.js';
import { OpBatch } from './op_batch.js';
import { redoKey } from './reserved_keys.js';
import { type DevDatabase, type DevIterator, loadDevBinding } from './rocksdb_dev_binding.js';
import { endIterator, measure, middleOf, newIterator, readPage } from './rocksdb_dev_reader.js';
import { listOps, operationOf, payloadOf, redoAtOpen, writeBatch, writeRanges } from './rocksdb_dev_writer.js';
import type { RocksdbEngineOptions } from './rocksdb_engine.js';
import { assertScan } from './scan_options.js';

/**
 * Opens the development engine: RocksDB by way of the older package `rocksdb`, for systems where the default one has
 * no binary. NOT for data that matters: in trials that package went on acknowledging writes after a full disk and
 * after a failed sync, and opened damaged files without a word. It does one thing at a time, and reads all of a range to tell
 * its size.
 * Rejects with EngineError `unsupported`, `locked`, `corruption` or `io`.
 */
export async function openRocksdbDevEngine(options: RocksdbEngineOptions): Promise<Engine> {
  const open = await loadDevBinding();
  mkdirSync(options.path, { recursive: true });
  const db = open(options.path);
  try {
    await new Promise<void>((resolve, reject) => {
      const settings = {
        createIfMissing: true,
        compression: options.compression ?? false,
        cacheSize: options.cacheBytes ?? 64 * 1024 * 1024,
        writeBufferSize: options.writeBufferBytes ?? 64 * 1024 * 1024,
      };
      db.open(settings, (error) => (!(error instanceof Error) ? resolve() : reject(error)));
    });
    await redoAtOpen(db);
  } catch (cause) {
    const failure = failureOf(cause);
    throw new EngineError(failure.code, `cannot open the engine at ${options.path}: ${failure.message}`, { cause });
  }
  return new RocksdbDevEngine(db, options);
}

/** The package has no codes; RocksDB's words begin with the kind of failure. */
function failureOf(error: unknown): { code: EngineErrorCode; message: string } {
  if (error instanceof EngineError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/corruption/i.test(message)) return { code: 'corruption', message };
  if (/lock/i.test(message)) return { code: 'locked', message };
  return { code: 'io', message };
}

class RocksdbDevEngine implements Engine {
  readonly kind = 'rocksdb-dev';
  readonly cacheStats = null;
  private readonly db: DevDatabase;
  private readonly options: RocksdbEngineOptions;
  private readonly views = new Set<DevView>();
  /** Everything happens in the order of the calls, one after the other. */
  private last: Promise<unknown> = Promise.resolve();
  private openLoaders = 0;
  private backlogBytes = 0;
  private readBacklog = 0;
  private failure: EngineError | null = null;
  private closing: Promise<void> | null = null;

  constructor(db: DevDatabase, options: RocksdbEngineOptions) {
    this.db = db;
    this.options = options;
  }

  get usable(): boolean {
    return this.failure === null && this.closing === null;
  }

  newBatch(): EngineBatch {
    return new OpBatch();
  }

  get writeBacklogBytes(): number {
    return this.backlogBytes;
  }

  write(batch: EngineBatch): Promise<void> {
    assert(batch instanceof OpBatch, 'the batch is of this engine');
    batch.seal();
    const { bytes, hasRanges } = batch;
    if (this.backlogBytes + bytes > (this.options.writeBacklogBytesMax ?? writeBacklogBytesMax)) {
      this.latch(new EngineError('stalled', `${this.backlogBytes} bytes of writes wait`, { fatal: true }));
    }
    if (this.refusal() !== null) return this.queued(() => Promise.resolve());
    const payload = payloadOf(batch);
    this.backlogBytes += bytes;
    const written = this.queued(() =>
      this.fatally(() => {
        if (hasRanges) return writeRanges(this.db, payload);
        return writeBatch(
          this.db,
          listOps(payload).map(({ kind, key, value }) => operationOf(kind, key, value)),
          false,
        );
      }),
    );
    return written.finally(() => void (this.backlogBytes -= bytes));
  }

  /** Nothing is at hand that could answer before the batch is written. */
  hold(_batch: EngineBatch, complete: () => void): void {
    complete();
  }

  writeHeld(): void {
    // Nothing is held.
  }

  sync(): Promise<void> {
    // A sync batch with something in it: the package skips empty ones.
    return this.queued(() => this.fatally(() => writeBatch(this.db, [{ type: 'del', key: redoKey }], true)));
  }

  /** Nothing is at hand without the disk. */
  getNow(): null {
    return null;
  }

  getMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    assert(keys.length <= getManyKeysMax, 'a getMany is bounded');
    const own = keys.map((key) => Buffer.from(key));
    return this.read(async () => {
      const values = await new Promise<(Buffer | undefined)[]>((resolve, reject) => {
        this.db.getMany(own, { asBuffer: true }, (error, found) =>
          !(error instanceof Error) ? resolve(found ?? []) : reject(error),
        );
      });
      const bytes = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
      if (bytes > getManyBytesMax) {
        throw new EngineError('tooLarge', `the values of ${own.length} keys exceed ${getManyBytesMax} bytes`);
      }
      return values.map((value) => value ?? null);
    });
  }

  scan(options: ScanOptions): Promise<ScanPage> {
    assertScan(options);
    const own = { ...options, start: Buffer.from(options.start), end: Buffer.from(options.end) };
    return this.read(() => this.iterated(options.reverse, (iterator) => readPage(iterator, own)));
  }

  openView(): Promise<EngineView> {
    return this.read(() => {
      if (this.views.size >= openViewsMax) {
        throw new EngineError('tooManyViews', `${openViewsMax} views are open; close one first`);
      }
      const view = new DevView(
        this.db,
        (work) => this.read(work),
        () => this.views.delete(view),
      );
      this.views.add(view);
      return Promise.resolve(view);
    });
  }

  openLoader(targets: readonly LoadTarget[]): Promise<EngineLoader> {
    const busy = new EngineError('busy', `${openLoadersMax} loaders are open`);
    const refusal = this.refusal() ?? (this.openLoaders >= openLoadersMax ? busy : null);
    if (refusal !== null) return Promise.reject(refusal);
    this.openLoaders++;
    return Promise.resolve(new BatchLoader(this, targets, () => this.openLoaders--));
  }

  approximateSize(start: Buffer, end: Buffer): Promise<RangeSize> {
    assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
    return this.read(() => this.iterated(false, (iterator) => measure(iterator, start, end)));
  }

  middleKey(start: Buffer, end: Buffer): Promise<Buffer | null> {
    assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
    return this.read(() => this.iterated(false, (iterator) => middleOf(iterator, start, end)));
  }

  diskBytes(): Promise<number> {
    return this.read(() => Promise.resolve(directoryBytes(this.options.path)));
  }

  close(): Promise<void> {
    this.closing ??= this.finish();
    return this.closing;
  }

  private async finish(): Promise<void> {
    await this.last;
    for (const view of this.views) await view.end();
    await new Promise<void>((resolve, reject) => {
      this.db.close((error) => (!(error instanceof Error) || this.failure !== null ? resolve() : reject(error)));
    });
  }

  private read<T>(work: () => Promise<T>): Promise<T> {
    if (this.readBacklog >= (this.options.readBacklogMax ?? readBacklogMax)) {
      return Promise.reject(new EngineError('busy', `${this.readBacklog} reads wait`));
    }
    this.readBacklog++;
    return this.queued(work).finally(() => {
      this.readBacklog--;
    });
  }

  /** Runs after everything that was asked for before. */
  private queued<T>(work: () => Promise<T>): Promise<T> {
    const refusal = this.refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const done = this.last.then(async () => {
      if (this.failure !== null) throw this.failure;
      try {
        return await work();
      } catch (error) {
        if (error instanceof EngineError) throw error;
        const { code, message } = failureOf(error);
        throw new EngineError(code, message, { cause: error });
      }
    });
    // What comes next does not depend on how this ended; its failure belongs to its caller.
    this.last = done.catch(() => undefined);
    return done;
  }

  private async fatally(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      const { code, message } = failureOf(cause);
      const error = new EngineError(code, `a write to the engine failed: ${message}`, { fatal: true, cause });
      this.latch(error);
      throw error;
    }
  }

  private async iterated<T>(reverse: boolean, work: (iterator: DevIterator) => Promise<T>): Promise<T> {
    const iterator = newIterator(this.db, reverse, true);
    try {
      return await work(iterator);
    } finally {
      await endIterator(iterator);
    }
  }

  private refusal(): EngineError | null {
    if (this.failure !== null) return this.failure;
    return this.closing === null ? null : new EngineError('closed', 'the engine is closed');
  }

  private latch(error: EngineError): void {
    if (this.failure !== null) return;
    this.failure = error;
    this.options.onFatal(error);
  }
}

/** Two iterators, one for each direction, made with no write between them. */
class DevView implements EngineView {
  private readonly forward: DevIterator;
  private readonly backward: DevIterator;
  private readonly read: <T>(work: () => Promise<T>) => Promise<T>;
  private readonly gone: () => void;
  private ended: Promise<void> | null = null;

  constructor(db: DevDatabase, read: <T>(work: () => Promise<T>) => Promise<T>, gone: () => void) {
    this.forward = newIterator(db, false, true);
    this.backward = newIterator(db, true, true);
    this.read = read;
    this.gone = gone;
  }

  async get(key: Buffer): Promise<Buffer | null> {
    const end = Buffer.concat([key, Buffer.from([0])]);
    const page = await this.scan({ start: key, end, limit: 1, maxBytes: 1, reverse: false, keysOnly: false });
    return page.rows[0]?.value ?? null;
  }

  pack(options: PackOptions): Promise<PackedPage> {
    return packPage((page) => this.scan(page), options);
  }

  scan(options: ScanOptions): Promise<ScanPage> {
    assertScan(options);
    if (this.ended !== null) return Promise.reject(new EngineError('closed', 'the view is closed'));
    const own = { ...options, start: Buffer.from(options.start), end: Buffer.from(options.end) };
    return this.read(() => readPage(own.reverse ? this.backward : this.forward, own));
  }

  /** After the pages asked for so far. After a failure or the engine's close() there is nothing left to close. */
  close(): Promise<void> {
    this.ended ??= this.read(() => this.end()).catch(() => undefined);
    return this.ended;
  }

  /** For the engine, when nothing is under way. */
  async end(): Promise<void> {
    this.gone();
    await endIterator(this.forward);
    await endIterator(this.backward);
  }
}
