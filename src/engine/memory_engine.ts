import { assert } from '../base/assert.js';
import { BatchLoader, packPage } from './batch_loader.js';
import type {
  Engine,
  EngineBatch,
  EngineLoader,
  EngineView,
  LoadTarget,
  RangeSize,
  ScanOptions,
  ScanPage,
} from './engine.js';
import { EngineError } from './engine_error.js';
import {
  engineKeyBytesMax,
  getManyBytesMax,
  getManyKeysMax,
  openLoadersMax,
  openViewsMax,
  unsyncedBatchesMax,
} from './limits.js';
import { deleteOp, deleteRangeOp, OpBatch, putOp } from './op_batch.js';
import { assertScan } from './scan_options.js';
import { SortedMap } from './sorted_map.js';

export interface MemoryEngineOptions {
  /**
   * When a call's promise settles. It is handed a function and must run it later, in the order of the calls; by
   * default it is run at once. The effect of a call never waits for it, except that of sync().
   */
  readonly settle?: (run: () => void) => void;
  /** As in the RocksDB engine; needed where failWrites() is used. */
  readonly onFatal?: (error: Error) => void;
}

/** A write as it was taken: its own copies of keys and values. */
interface WrittenBatch {
  readonly sequence: number;
  readonly ops: readonly { readonly kind: number; readonly key: Buffer; readonly value: Buffer }[];
  readonly bytes: number;
}

/**
 * The engine in memory, deterministic: the same calls give the same answers in the same order. It keeps the state
 * as of the last sync and the batches since then, so that crash() can lose what a crash may lose.
 * It has no I/O and takes the same limits as the RocksDB engine.
 */
export class MemoryEngine implements Engine {
  readonly kind = 'memory';
  readonly cacheStats = null;
  private readonly options: MemoryEngineOptions;
  private current: SortedMap;
  /** The state that survives every crash, and the batches written after it, oldest first. */
  private durable: SortedMap;
  private unsynced: WrittenBatch[] = [];
  private sequence = 0;
  private openViews = 0;
  private openLoaders = 0;
  private backlogBytes = 0;
  private failure: EngineError | null = null;
  private failNext: EngineError | null = null;
  private closed = false;
  private dead = false;

  constructor(options: MemoryEngineOptions = {}, rows: SortedMap = new SortedMap()) {
    this.options = options;
    this.current = rows;
    this.durable = rows.copy();
  }

  get usable(): boolean {
    return !this.dead && this.refusal() === null;
  }

  /** Everything that was written, as a reader sees it now; for checks. */
  get contents(): SortedMap {
    return this.current;
  }

  get writeBacklogBytes(): number {
    return this.backlogBytes;
  }

  /**
   * The power fails: a new engine with the state as of the last sync plus the first few of the batches after it, as many as
   * `random` (a float in [0, 1)) chooses. This engine is dead: none of its promises settles any more.
   */
  crash(random: () => number): MemoryEngine {
    const kept = Math.floor(random() * (this.unsynced.length + 1));
    const rows = this.durable.copy();
    for (const batch of this.unsynced.slice(0, kept)) applyTo(rows, batch);
    this.dead = true;
    return new MemoryEngine(this.options, rows);
  }

  /** Opens what a closed engine left: all of it, as closing syncs. */
  reopen(): MemoryEngine {
    assert(this.closed && this.failure === null, 'the engine was closed');
    return new MemoryEngine(this.options, this.current.copy());
  }

  /** The next write or sync fails as on a broken disk. */
  failWrites(): void {
    this.failNext = new EngineError('io', 'the disk is broken', { fatal: true });
  }

  newBatch(): EngineBatch {
    return new OpBatch();
  }

  write(batch: EngineBatch): Promise<void> {
    assert(batch instanceof OpBatch, 'the batch is of this engine');
    batch.seal();
    const error = this.refusal() ?? this.brokenDisk();
    if (error !== null) return this.reject(error);
    const written = copyOf(batch, ++this.sequence);
    applyTo(this.current, written);
    this.unsynced.push(written);
    if (this.unsynced.length > unsyncedBatchesMax) {
      const oldest = this.unsynced.shift();
      if (oldest !== undefined) applyTo(this.durable, oldest);
    }
    this.backlogBytes += written.bytes;
    return this.answer(() => void (this.backlogBytes -= written.bytes));
  }

  /** Nothing is at hand that could answer before the batch is written. */
  hold(_batch: EngineBatch, complete: () => void): void {
    complete();
  }

  writeHeld(): void {
    // Nothing is held.
  }

  sync(): Promise<void> {
    const error = this.refusal() ?? this.brokenDisk();
    if (error !== null) return this.reject(error);
    const state = this.current.copy();
    const upTo = this.sequence;
    return this.answer(() => {
      const first = this.unsynced.findIndex((batch) => batch.sequence > upTo);
      if (first === 0) return;
      this.unsynced = first < 0 ? [] : this.unsynced.slice(first);
      this.durable = state;
    });
  }

  /** As in the RocksDB engine, nothing: what is kept at hand is cached_engine.ts's business. */
  getNow(): null {
    return null;
  }

  getMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    assert(keys.length <= getManyKeysMax, 'a getMany is bounded');
    const error = this.refusal();
    if (error !== null) return this.reject(error);
    const values = keys.map((key) => this.current.get(key));
    const bytes = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    if (bytes > getManyBytesMax) {
      const message = `the values of ${keys.length} keys exceed ${getManyBytesMax} bytes`;
      return this.reject(new EngineError('tooLarge', message));
    }
    return this.answer(() => values);
  }

  scan(options: ScanOptions): Promise<ScanPage> {
    return this.scanRows(this.current, options);
  }

  openView(): Promise<EngineView> {
    const error = this.refusal();
    if (error !== null) return this.reject(error);
    if (this.openViews >= openViewsMax) {
      return this.reject(new EngineError('tooManyViews', `${openViewsMax} views are open; close one first`));
    }
    this.openViews++;
    const rows = this.current.copy();
    let open = true;
    const scan = (options: ScanOptions): Promise<ScanPage> =>
      open ? this.scanRows(rows, options) : this.reject(new EngineError('closed', 'the view is closed'));
    const view: EngineView = {
      scan,
      pack: (options) => packPage(scan, options),
      get: async (key) => {
        const end = Buffer.concat([key, Buffer.from([0])]);
        const page = await scan({ start: key, end, limit: 1, maxBytes: 1, reverse: false, keysOnly: false });
        return page.rows[0]?.value ?? null;
      },
      close: () => {
        if (open) this.openViews--;
        open = false;
        return this.answer(() => undefined);
      },
    };
    return this.answer(() => view);
  }

  openLoader(targets: readonly LoadTarget[]): Promise<EngineLoader> {
    const error = this.refusal();
    if (error !== null) return this.reject(error);
    if (this.openLoaders >= openLoadersMax) {
      return this.reject(new EngineError('busy', `${openLoadersMax} loaders are open`));
    }
    this.openLoaders++;
    const loader = new BatchLoader(this, targets, () => this.openLoaders--);
    return this.answer(() => loader);
  }

  approximateSize(start: Buffer, end: Buffer): Promise<RangeSize> {
    assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
    const error = this.refusal();
    if (error !== null) return this.reject(error);
    const size = this.current.measure(start, end);
    return this.answer(() => ({ ...size, complete: true }));
  }

  middleKey(start: Buffer, end: Buffer): Promise<Buffer | null> {
    assert(start.length <= engineKeyBytesMax && end.length <= engineKeyBytesMax, 'range bounds are engine keys');
    const error = this.refusal();
    if (error !== null) return this.reject(error);
    const middle = this.current.middle(start, end);
    return this.answer(() => middle);
  }

  diskBytes(): Promise<number> {
    const error = this.refusal();
    if (error !== null) return this.reject(error);
    const { bytes } = this.current;
    return this.answer(() => bytes);
  }

  close(): Promise<void> {
    this.closed = true;
    return this.answer(() => undefined);
  }

  private scanRows(rows: SortedMap, options: ScanOptions): Promise<ScanPage> {
    assertScan(options);
    const error = this.refusal();
    if (error !== null) return this.reject(error);
    const page = rows.page(options);
    return this.answer(() => page);
  }

  private refusal(): EngineError | null {
    if (this.failure !== null) return this.failure;
    return this.closed ? new EngineError('closed', 'the engine is closed') : null;
  }

  private brokenDisk(): EngineError | null {
    if (this.failNext === null) return null;
    this.failure = this.failNext;
    this.options.onFatal?.(this.failure);
    return this.failure;
  }

  private answer<T>(result: () => T): Promise<T> {
    return new Promise((resolve) => this.settle(() => resolve(result())));
  }

  private reject<T>(error: EngineError): Promise<T> {
    return new Promise((_, reject) => this.settle(() => reject(error)));
  }

  private settle(run: () => void): void {
    const unlessDead = (): void => {
      if (!this.dead) run();
    };
    if (this.options.settle === undefined) unlessDead();
    else this.options.settle(unlessDead);
  }
}

function copyOf(batch: OpBatch, sequence: number): WrittenBatch {
  const ops = batch.kinds.map((kind, i) => ({
    kind,
    key: Buffer.from(batch.keys[i] ?? ''),
    value: Buffer.from(batch.values[i] ?? ''),
  }));
  return { sequence, ops, bytes: batch.bytes };
}

function applyTo(rows: SortedMap, batch: WrittenBatch): void {
  for (const { kind, key, value } of batch.ops) {
    if (kind === putOp) rows.put(key, value);
    else if (kind === deleteOp) rows.delete(key);
    else {
      assert(kind === deleteRangeOp, 'a known operation');
      rows.deleteRange(key, value);
    }
  }
}
