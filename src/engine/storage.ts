import { assert, AssertionError, must } from '../base/assert.js';
import { ArenaReader, ArenaWriter } from './arena.js';
import { BatchApplier } from './batch_applier.js';
import { codeOf } from './binding_loader.js';
import { directoryBytes } from './directory_bytes.js';
import type { Database, RocksdbBinding } from './rocksdb_binding.js';
import type { LoadTarget, ScanPage } from './engine.js';
import { EngineError, type EngineErrorCode } from './engine_error.js';
import { getManyBytesMax, getManyKeysMax, messageBytesMax, openLoadersMax, openViewsMax } from './limits.js';
import { PackedRowsError, RowLoader } from './packed_rows.js';
import { countSlice, RocksdbView, scanNow } from './rocksdb_reader.js';
import {
  putDone,
  putError,
  putHandled,
  putNumbers,
  putPacked,
  putPage,
  putValues,
  readKeys,
  readOpenLoader,
  readPack,
  readRange,
  readScan,
  requestKind,
  type StorageSettings,
} from './rocksdb_protocol.js';
import { SizeMap } from './size_map.js';

/** Opens the database of a directory, made if it is not there, and finishes what a crash cut short. */
export async function openDatabase(binding: RocksdbBinding, settings: StorageSettings): Promise<Database> {
  const db = binding.db_init(settings.path);
  await new Promise<void>((resolve, reject) => {
    const options = {
      createIfMissing: true,
      compression: settings.compression,
      walCompression: false,
      cacheSize: settings.cacheBytes,
      parallelism: settings.backgroundJobs,
      ...(settings.compression
        ? ({ compaction: 'level', memtableMemoryBudget: settings.writeBufferBytes } as const)
        : {}),
    };
    binding.db_open(db, options, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  return db;
}

/**
 * The storage thread's side: takes messages of packed requests, does them in order, sends packed replies.
 *
 * Neighbouring writes are merged into one raw batch and neighbouring getMany into one multi-get; a write and a
 * read never change places. The syncs of a message are one barrier at its end, which covers more than
 * they asked for. Pages of views are the only replies that may overtake and be overtaken.
 */
export class Storage {
  private readonly binding: RocksdbBinding;
  private readonly db: Database;
  private readonly directory: string;
  private readonly applier: BatchApplier;
  private readonly sizes: SizeMap;
  private readonly views = new Map<number, RocksdbView>();
  private readonly loaders = new Map<number, RowLoader>();
  private readonly replies = new ArenaWriter();
  private readonly send: (arenas: ArrayBuffer[]) => void;
  private readonly closed: () => void;
  private failure: { code: EngineErrorCode; message: string } | null = null;

  /** Writes that were merged and wait for flushWrites(), and reads that wait for flushReads(). One of them is empty. */
  private writes: number[] = [];
  private reads: { id: number; count: number }[] = [];
  private readKeys: Buffer[] = [];
  private syncs: number[] = [];

  constructor(
    binding: RocksdbBinding,
    db: Database,
    directory: string,
    out: { readonly send: (arenas: ArrayBuffer[]) => void; readonly closed: () => void },
  ) {
    this.binding = binding;
    this.db = db;
    this.directory = directory;
    this.sizes = new SizeMap((start, end, slices) => countSlice(binding, db, start, end, slices));
    this.applier = new BatchApplier(binding, db, this.sizes);
    this.applier.redo();
    this.send = out.send;
    this.closed = out.closed;
  }

  handleMessage(arenas: readonly ArrayBuffer[]): void {
    for (const arena of arenas) {
      const input = new ArenaReader(arena);
      while (!input.done) this.handleRequest(input);
    }
    this.flushReads();
    this.flushWrites();
    this.flushSyncs();
    putHandled(this.replies);
    this.sendReplies();
  }

  private handleRequest(input: ArenaReader): void {
    const kind = input.u8();
    const id = input.u32();
    switch (kind) {
      case requestKind.write:
        this.handleWrite(id, input);
        return;
      case requestKind.getMany:
        this.handleGetMany(id, input);
        return;
      case requestKind.scan:
        this.handleScan(id, input);
        return;
      case requestKind.pack:
        this.handlePack(id, input);
        return;
      case requestKind.openLoader: {
        const targets = readOpenLoader(input);
        this.read(id, () => this.openLoader(id, targets));
        return;
      }
      case requestKind.load:
        this.handleLoad(id, input);
        return;
      case requestKind.finishLoader:
        this.handleFinishLoader(id, input.u32());
        return;
      case requestKind.closeLoader:
        this.loaders.delete(input.u32());
        putDone(this.replies, id);
        return;
      case requestKind.openView:
        this.read(id, () => {
          if (this.views.size >= openViewsMax) {
            throw new EngineError('tooManyViews', `${openViewsMax} views are open; close one first`);
          }
          this.views.set(id, new RocksdbView(this.binding, this.db));
          putDone(this.replies, id);
        });
        return;
      case requestKind.closeView:
        this.handleCloseView(id, input.u32());
        return;
      case requestKind.size: {
        const { start, end } = readRange(input);
        this.read(id, () => {
          const { bytes, keys, complete } = this.sizes.estimate(start, end);
          putNumbers(this.replies, id, bytes, keys, complete ? 1 : 0);
        });
        return;
      }
      case requestKind.middle: {
        const { start, end } = readRange(input);
        this.read(id, () => putValues(this.replies, id, [this.sizes.middle(start, end) ?? undefined], 0, 1));
        return;
      }
      case requestKind.diskBytes:
        this.read(id, () => putNumbers(this.replies, id, directoryBytes(this.directory)));
        return;
      case requestKind.sync:
        this.syncs.push(id);
        return;
      case requestKind.close:
        this.handleClose(id);
        return;
      default:
        assert(false, `a known request, not ${kind}`);
    }
  }

  private handleWrite(id: number, input: ArenaReader): void {
    const hasRanges = input.u8() === 1;
    const payload = input.slice(input.u32());
    this.flushReads();
    if (hasRanges) this.flushWrites();
    this.writes.push(id);
    if (this.failure !== null) return;
    this.guard(() => {
      if (hasRanges) this.applier.writeWithRanges(payload);
      else this.applier.merge(payload);
    });
    if (hasRanges || this.applier.full) this.flushWrites();
  }

  private openLoader(id: number, targets: readonly LoadTarget[]): void {
    if (this.loaders.size >= openLoadersMax) throw new EngineError('busy', `${openLoadersMax} loaders are open`);
    this.loaders.set(id, new RowLoader(targets, this.applier.put));
    putDone(this.replies, id);
  }

  /** Rows go into the batch that neighbouring writes go into. */
  private handleLoad(id: number, input: ArenaReader): void {
    const loaderId = input.u32();
    const chunk = input.slice(input.u32());
    this.flushReads();
    if (this.failure !== null) {
      this.finish(id);
      return;
    }
    const damage = this.loading(loaderId, (loader) => loader.load(chunk));
    if (damage === null) this.writes.push(id);
    else this.putReadError(id, damage);
    if (this.applier.full) this.flushWrites();
  }

  private handleFinishLoader(id: number, loaderId: number): void {
    this.read(id, () => {
      const damage = this.loading(loaderId, (loader) => putNumbers(this.replies, id, loader.finish()));
      this.loaders.delete(loaderId);
      if (damage !== null) throw damage;
    });
  }

  /** What is wrong with the bytes that the loader was given, which is the end of it; null: nothing. */
  private loading(loaderId: number, step: (loader: RowLoader) => void): EngineError | null {
    const loader = this.loaders.get(loaderId);
    if (loader === undefined) return new EngineError('closed', 'the loader is closed');
    const damage: EngineError[] = [];
    this.guard(() => {
      try {
        step(loader);
      } catch (error) {
        if (!(error instanceof PackedRowsError)) throw error;
        damage.push(new EngineError('corruption', error.message));
        this.loaders.delete(loaderId);
      }
    });
    return damage[0] ?? null;
  }

  private flushWrites(): void {
    if (this.writes.length === 0) return;
    if (this.failure === null && this.applier.dirty) this.guard(() => this.applier.flush(false));
    for (const id of this.writes) this.finish(id);
    this.writes = [];
  }

  private flushSyncs(): void {
    if (this.syncs.length === 0) return;
    if (this.failure === null) this.guard(() => this.applier.flush(true));
    for (const id of this.syncs) this.finish(id);
    this.syncs = [];
  }

  /** Runs a step of a write; its failure is the end of the engine. */
  private guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      this.failure = { code: codeOf(error), message: `a write to the engine failed: ${message}` };
    }
  }

  private finish(id: number): void {
    if (this.failure === null) putDone(this.replies, id);
    else putError(this.replies, id, this.failure.code, this.failure.message, true);
  }

  private handleGetMany(id: number, input: ArenaReader): void {
    this.flushWrites();
    const count = readKeys(input, this.readKeys);
    this.reads.push({ id, count });
    if (this.readKeys.length >= getManyKeysMax) this.flushReads();
  }

  private flushReads(): void {
    if (this.reads.length === 0) return;
    const { reads, readKeys: keys } = this;
    this.reads = [];
    this.readKeys = [];
    if (this.failure === null && reads.length > 1 && this.readTogether(reads, keys)) return;
    let from = 0;
    for (const { id, count } of reads) {
      const own = keys.slice(from, from + count);
      this.read(id, () => putValues(this.replies, id, this.multiGet(own), 0, count));
      from += count;
    }
  }

  /** All calls in one multi-get; false if it failed, and each has to be tried for itself. */
  private readTogether(reads: readonly { id: number; count: number }[], keys: readonly Buffer[]): boolean {
    let values: (Buffer | undefined)[];
    try {
      values = this.multiGet(keys);
    } catch {
      // Nothing is lost: each call is made again for itself and reports its own failure.
      return false;
    }
    let from = 0;
    for (const { id, count } of reads) {
      putValues(this.replies, id, values, from, count);
      from += count;
    }
    return true;
  }

  private multiGet(keys: readonly Buffer[]): (Buffer | undefined)[] {
    const values = this.binding.db_get_many_sync(this.db, keys, { highWaterMarkBytes: getManyBytesMax });
    let bytes = 0;
    for (const value of values) {
      // RocksDB gives up on a value (null) only once those before it have reached the limit.
      bytes += value === null ? getManyBytesMax : (value?.length ?? 0);
    }
    if (bytes > getManyBytesMax) {
      throw new EngineError('tooLarge', `the values of ${keys.length} keys exceed ${getManyBytesMax} bytes`);
    }
    return values as (Buffer | undefined)[];
  }

  private handleScan(id: number, input: ArenaReader): void {
    const { viewId, options } = readScan(input);
    if (viewId === 0) {
      this.read(id, () => putPage(this.replies, id, scanNow(this.binding, this.db, options)));
      return;
    }
    const view = must(this.views.get(viewId), 'an open view');
    if (this.failure !== null) {
      this.finish(id);
      return;
    }
    // The range is copied: the page is read after this message's arena is gone.
    const own = { ...options, start: Buffer.from(options.start), end: Buffer.from(options.end) };
    view.scan(own).then(
      (page) => this.sendPage(id, page),
      (error: unknown) => this.sendFailure(id, error),
    );
  }

  private handlePack(id: number, input: ArenaReader): void {
    const { viewId, tag, skip, options } = readPack(input);
    const view = must(this.views.get(viewId), 'an open view');
    if (this.failure !== null) {
      this.finish(id);
      return;
    }
    // As in handleScan().
    const own = { ...options, start: Buffer.from(options.start), end: Buffer.from(options.end) };
    view.scan(own).then(
      (page) => {
        putPacked(this.replies, id, page, tag, skip);
        this.sendReplies();
      },
      (error: unknown) => this.sendFailure(id, error),
    );
  }

  private sendPage(id: number, page: ScanPage): void {
    putPage(this.replies, id, page);
    this.sendReplies();
  }

  private sendFailure(id: number, error: unknown): void {
    this.putReadError(id, error);
    this.sendReplies();
  }

  /** A request that reads, in its place after the writes and reads before it. Its failure is its own. */
  private read(id: number, step: () => void): void {
    this.flushReads();
    this.flushWrites();
    if (this.failure !== null) {
      this.finish(id);
      return;
    }
    try {
      step();
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      this.putReadError(id, error);
    }
  }

  private putReadError(id: number, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    putError(this.replies, id, codeOf(error), message, false);
  }

  private handleCloseView(id: number, viewId: number): void {
    const view = must(this.views.get(viewId), 'an open view');
    this.views.delete(viewId);
    view.close().then(
      () => {
        putDone(this.replies, id);
        this.sendReplies();
      },
      (error: unknown) => this.sendFailure(id, error),
    );
  }

  /** The engine sends this when nothing else is under way: the views are idle and nobody uses the database. */
  private handleClose(id: number): void {
    this.flushReads();
    this.flushWrites();
    this.flushSyncs();
    const views = [...this.views.values()].map((view) => view.close());
    this.views.clear();
    void Promise.all(views).then(() => {
      this.binding.db_close(this.db, (error) => {
        if (error === null || this.failure !== null) putDone(this.replies, id);
        else this.putReadError(id, error);
        this.sendReplies();
        this.closed();
      });
    });
  }

  private sendReplies(): void {
    while (!this.replies.empty) this.send(this.replies.take(messageBytesMax));
  }
}
