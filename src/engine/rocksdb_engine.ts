import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.js';
import { ArenaReader, ArenaWriter } from './arena.js';
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
import { EngineError } from './engine_error.js';
import {
  engineKeyBytesMax,
  getManyKeysMax,
  messageBytesMax,
  messagesInFlightMax,
  readBacklogMax,
  writeBacklogBytesMax,
} from './limits.js';
import { OpBatch } from './op_batch.js';
import {
  putBare,
  putGetMany,
  putLoad,
  putNamed,
  putOpenLoader,
  putPack,
  putRangeRequest,
  putScan,
  putWrite,
  readError,
  readPacked,
  readPage,
  readValues,
  replyError,
  replyHandled,
  requestKind,
  type StorageOpened,
  type StorageSettings,
} from './rocksdb_protocol.js';
import { assertScan } from './scan_options.js';

export interface RocksdbEngineOptions {
  /** The directory; made if it is not there. */
  readonly path: string;
  /** Block cache, in bytes; at most 4 GiB less one. Default 256 MiB. */
  readonly cacheBytes?: number;
  /** Memory for rows that are not in files yet, in bytes; obeyed with `compression` only. Default 256 MiB. */
  readonly writeBufferBytes?: number;
  /** zstd below the upper levels. Default off. */
  readonly compression?: boolean;
  /** Threads for flushes and compactions. Default 2. */
  readonly backgroundJobs?: number;
  /** Default writeBacklogBytesMax. */
  readonly writeBacklogBytesMax?: number;
  /** Default readBacklogMax. */
  readonly readBacklogMax?: number;
  /** Called once, when a write or sync failed or the storage thread died. The store must exit. */
  onFatal(error: Error): void;
}

const cacheBytesMax = 0xffffffff;
const bufferBytesDefault = 256 * 1024 * 1024;

/** Opens the RocksDB engine of a store. Rejects with EngineError `locked`, `corruption`, `unsupported` or `io`. */
export async function openRocksdbEngine(options: RocksdbEngineOptions): Promise<Engine> {
  const settings: StorageSettings = {
    path: options.path,
    cacheBytes: Math.min(options.cacheBytes ?? bufferBytesDefault, cacheBytesMax),
    writeBufferBytes: options.writeBufferBytes ?? bufferBytesDefault,
    compression: options.compression ?? false,
    backgroundJobs: options.backgroundJobs ?? 2,
  };
  const worker = startThread(settings);
  await opened(worker, options.path);
  return new RocksdbEngine(worker, options);
}

function startThread(settings: StorageSettings): Worker {
  const options = { workerData: settings, name: 'skerry-storage' };
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL('./rocksdb_worker.js', import.meta.url), options);
  }
  // Run from the sources by tsx: the thread's file is .ts as well, and tsx does not set itself up in threads.
  const tsx = `import { register } from ${JSON.stringify(import.meta.resolve('tsx/esm/api'))}; register();`;
  const execArgv = ['--import', `data:text/javascript,${encodeURIComponent(tsx)}`];
  return new Worker(new URL('./rocksdb_worker.ts', import.meta.url), { ...options, execArgv });
}

/** Waits for the first message of the storage thread; if the database is not open, for the thread's end, too. */
async function opened(worker: Worker, path: string): Promise<void> {
  let failure = new EngineError('died', `the storage thread of ${path} ended before it opened the engine`);
  const handleError = (error: Error): void => {
    failure = new EngineError('died', `the storage thread of ${path} failed: ${error.message}`, { cause: error });
  };
  const isOpen = await new Promise<boolean>((resolve) => {
    worker.on('error', handleError);
    worker.once('exit', () => resolve(false));
    worker.once('message', (result: StorageOpened) => {
      if (result.opened) resolve(true);
      else failure = new EngineError(result.code, `cannot open the engine at ${path}: ${result.message}`);
    });
  });
  worker.off('error', handleError);
  if (!isOpen) throw failure;
}

/** A request that has not been answered. */
interface Pending {
  /** Bytes that it adds to the write backlog. */
  readonly writeBytes: number;
  readonly isRead: boolean;
  answer(input: ArenaReader): void;
  fail(error: EngineError): void;
}

const nothing = (): void => undefined;

/**
 * The event loop's side. A call packs its request at once, so that buffers may be used again, and requests
 * leave in the order of the calls, at most one message per turn of the event loop and messagesInFlightMax under way.
 */
class RocksdbEngine implements Engine {
  readonly kind = 'rocksdb';
  readonly cacheStats = null;
  private readonly worker: Worker;
  private readonly onFatal: (error: Error) => void;
  private readonly writeBacklogBytesMax: number;
  private readonly readBacklogMax: number;
  private readonly out = new ArenaWriter();
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  private inFlight = 0;
  private flushPlanned = false;
  private sentThisTurn = false;
  private writeBacklog = 0;
  private readBacklog = 0;
  private failure: EngineError | null = null;
  private closing: Promise<void> | null = null;
  private idle: () => void = nothing;

  constructor(worker: Worker, options: RocksdbEngineOptions) {
    this.worker = worker;
    this.onFatal = (error) => options.onFatal(error);
    this.writeBacklogBytesMax = options.writeBacklogBytesMax ?? writeBacklogBytesMax;
    this.readBacklogMax = options.readBacklogMax ?? readBacklogMax;
    worker.on('message', (arenas: ArrayBuffer[]) => this.handleReplies(arenas));
    worker.on('error', (error: Error) => {
      this.latch(new EngineError('died', `the storage thread failed: ${error.message}`, { fatal: true, cause: error }));
    });
    worker.on('exit', () => {
      // When it was told to close, it has answered everything before it ends.
      if (this.closing === null || this.pending.size > 0)
        this.latch(new EngineError('died', 'the storage thread ended', { fatal: true }));
    });
  }

  get usable(): boolean {
    return this.failure === null && this.closing === null;
  }

  newBatch(): EngineBatch {
    return new OpBatch();
  }

  get writeBacklogBytes(): number {
    return this.writeBacklog;
  }

  write(batch: EngineBatch): Promise<void> {
    assert(batch instanceof OpBatch, 'the batch is of this engine');
    batch.seal();
    if (this.writeBacklog + batch.bytes > this.writeBacklogBytesMax) {
      const message = `${this.writeBacklog} bytes of writes wait for the storage thread`;
      this.latch(new EngineError('stalled', message, { fatal: true }));
    }
    return this.ask((id) => putWrite(this.out, id, batch), nothing, { writeBytes: batch.bytes, isRead: false });
  }

  /** Nothing is at hand that could answer before the batch is written. */
  hold(_batch: EngineBatch, complete: () => void): void {
    complete();
  }

  writeHeld(): void {
    // Nothing is held.
  }

  sync(): Promise<void> {
    return this.ask((id) => putBare(this.out, requestKind.sync, id), nothing, { writeBytes: 0, isRead: false });
  }

  /** Nothing is at hand without the storage thread. */
  getNow(): null {
    return null;
  }

  getMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    assert(keys.length <= getManyKeysMax, 'a getMany is bounded');
    return this.ask(
      (id) => putGetMany(this.out, id, keys),
      (input) => readValues(input, keys.length),
    );
  }

  scan(options: ScanOptions): Promise<ScanPage> {
    return this.scanView(0, options);
  }

  async openView(): Promise<EngineView> {
    let viewId = 0;
    await this.ask((id) => {
      viewId = id;
      putBare(this.out, requestKind.openView, id);
    }, nothing);
    return new RocksdbEngineView(
      (options) => this.scanView(viewId, options),
      (options) =>
        this.ask(
          (id) => putPack(this.out, id, viewId, options),
          (input) => readPacked(input, options.chunkBytes),
        ),
      () => this.closeNamed(requestKind.closeView, viewId),
    );
  }

  async openLoader(targets: readonly LoadTarget[]): Promise<EngineLoader> {
    let loaderId = 0;
    await this.ask((id) => {
      loaderId = id;
      putOpenLoader(this.out, id, targets);
    }, nothing);
    return {
      write: (chunk) =>
        this.ask((id) => putLoad(this.out, id, loaderId, chunk), nothing, {
          writeBytes: chunk.length,
          isRead: false,
        }),
      finish: () =>
        this.ask(
          (id) => putNamed(this.out, requestKind.finishLoader, id, loaderId),
          (input) => input.f64(),
        ),
      close: () => this.closeNamed(requestKind.closeLoader, loaderId),
    };
  }

  approximateSize(start: Buffer, end: Buffer): Promise<RangeSize> {
    assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
    return this.ask(
      (id) => putRangeRequest(this.out, requestKind.size, id, start, end),
      (input) => ({ bytes: input.f64(), keys: input.f64(), complete: input.f64() === 1 }),
    );
  }

  middleKey(start: Buffer, end: Buffer): Promise<Buffer | null> {
    assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
    return this.ask(
      (id) => putRangeRequest(this.out, requestKind.middle, id, start, end),
      (input) => readValues(input, 1)[0] ?? null,
    );
  }

  diskBytes(): Promise<number> {
    return this.ask(
      (id) => putBare(this.out, requestKind.diskBytes, id),
      (input) => input.f64(),
    );
  }

  close(): Promise<void> {
    this.closing ??= this.finish();
    return this.closing;
  }

  /** Waits until everything asked for is answered, so that nothing can touch the database when it is closed. */
  private async finish(): Promise<void> {
    if (this.pending.size > 0) await new Promise<void>((resolve) => (this.idle = resolve));
    if (this.failure?.code === 'died') return;
    const exited = new Promise<void>((resolve) => this.worker.once('exit', () => resolve()));
    const closed = new Promise<void>((resolve, reject) => {
      const id = this.register({ writeBytes: 0, isRead: false, answer: () => resolve(), fail: reject });
      putBare(this.out, requestKind.close, id);
      this.planFlush();
    });
    await Promise.race([closed, exited]);
    await exited;
  }

  private scanView(viewId: number, options: ScanOptions): Promise<ScanPage> {
    assertScan(options);
    return this.ask((id) => putScan(this.out, id, viewId, options), readPage);
  }

  /** After a failure or close() there is nothing left to close: the storage thread lets go of all views and loaders. */
  private closeNamed(kind: (typeof requestKind)['closeView' | 'closeLoader'], name: number): Promise<void> {
    if (this.failure !== null || this.closing !== null) return Promise.resolve();
    return this.ask((id) => putNamed(this.out, kind, id, name), nothing);
  }

  private ask<T>(
    pack: (id: number) => void,
    answer: (input: ArenaReader) => T,
    cost: { writeBytes: number; isRead: boolean } = { writeBytes: 0, isRead: true },
  ): Promise<T> {
    const refusal = this.refusal(cost.isRead);
    if (refusal !== null) return Promise.reject(refusal);
    return new Promise<T>((resolve, reject) => {
      pack(this.register({ ...cost, answer: (input) => resolve(answer(input)), fail: reject }));
      this.planFlush();
    });
  }

  private refusal(isRead: boolean): EngineError | null {
    if (this.failure !== null) return this.failure;
    if (this.closing !== null) return new EngineError('closed', 'the engine is closed');
    if (isRead && this.readBacklog >= this.readBacklogMax) {
      return new EngineError('busy', `${this.readBacklog} reads wait for the storage thread`);
    }
    return null;
  }

  private register(pending: Pending): number {
    // 0 is never an id: a scan of view 0 is a scan without a view.
    const id = this.lastId === 0xffffffff ? 1 : this.lastId + 1;
    assert(!this.pending.has(id), 'ids are not used again while a request waits');
    this.lastId = id;
    this.pending.set(id, pending);
    this.writeBacklog += pending.writeBytes;
    if (pending.isRead) this.readBacklog++;
    return id;
  }

  /** Sends when the calling code is through, but once per turn: what comes later in the turn goes at its end. */
  private planFlush(): void {
    if (this.flushPlanned || this.sentThisTurn) return;
    this.flushPlanned = true;
    queueMicrotask(() => {
      this.flushPlanned = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.out.empty || this.sentThisTurn || this.inFlight >= messagesInFlightMax) return;
    const arenas = this.out.take(messageBytesMax);
    this.worker.postMessage(arenas, arenas);
    this.inFlight++;
    this.sentThisTurn = true;
    setImmediate(() => {
      this.sentThisTurn = false;
      this.flush();
    });
  }

  private handleReplies(arenas: readonly ArrayBuffer[]): void {
    for (const arena of arenas) {
      const input = new ArenaReader(arena);
      while (!input.done) this.handleReply(input);
    }
    this.flush();
  }

  private handleReply(input: ArenaReader): void {
    const status = input.u8();
    const id = input.u32();
    if (status === replyHandled) {
      this.inFlight--;
      return;
    }
    const pending = this.pending.get(id);
    assert(pending !== undefined, 'a reply answers a request');
    this.pending.delete(id);
    this.writeBacklog -= pending.writeBytes;
    if (pending.isRead) this.readBacklog--;
    if (status === replyError) {
      const { fatal, code, message } = readError(input);
      const error = new EngineError(code, message, { fatal });
      if (fatal) this.latch(error);
      pending.fail(this.failure ?? error);
    } else {
      pending.answer(input);
    }
    if (this.pending.size === 0) this.idle();
  }

  private latch(error: EngineError): void {
    if (this.failure !== null) return;
    this.failure = error;
    this.onFatal(error);
    if (error.code !== 'died') return;
    for (const pending of this.pending.values()) pending.fail(error);
    this.pending.clear();
    this.idle();
  }
}

class RocksdbEngineView implements EngineView {
  private readonly scanPage: (options: ScanOptions) => Promise<ScanPage>;
  private readonly packPage: (options: PackOptions) => Promise<PackedPage>;
  private readonly release: () => Promise<void>;
  private closed = false;

  constructor(
    scanPage: (options: ScanOptions) => Promise<ScanPage>,
    packPage: (options: PackOptions) => Promise<PackedPage>,
    release: () => Promise<void>,
  ) {
    this.scanPage = scanPage;
    this.packPage = packPage;
    this.release = release;
  }

  async get(key: Buffer): Promise<Buffer | null> {
    const end = Buffer.concat([key, Buffer.from([0])]);
    const page = await this.scan({ start: key, end, limit: 1, maxBytes: 1, reverse: false, keysOnly: false });
    return page.rows[0]?.value ?? null;
  }

  scan(options: ScanOptions): Promise<ScanPage> {
    if (this.closed) return Promise.reject(new EngineError('closed', 'the view is closed'));
    return this.scanPage(options);
  }

  pack(options: PackOptions): Promise<PackedPage> {
    if (this.closed) return Promise.reject(new EngineError('closed', 'the view is closed'));
    assertScan({ ...options, reverse: false, keysOnly: false });
    return this.packPage(options);
  }

  close(): Promise<void> {
    if (this.closed) return Promise.resolve();
    this.closed = true;
    return this.release();
  }
}
