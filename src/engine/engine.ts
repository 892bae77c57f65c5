/**
 * The KV engine interface.
 *
 * ORDER. Calls on one engine take effect in the order in which they are made: a read that is issued
 * after write() was called sees that write, whether or not its promise has settled. Apply and reads of a turn
 * need no waiting between them because of this.
 *
 * DURABILITY. write() resolves when the batch is visible and atomic against a process crash; it is NOT
 * yet on disk. sync() resolves when everything written before it was called is on disk. A failed
 * write or sync is fatal: the engine latches the error, every later call rejects with it. After a crash of
 * the machine the data is that of the last sync plus a prefix of the batches after it, each whole or absent,
 * those with deleteRange too.
 *
 * KEYS are 1 to 8192 bytes; those that begin with a zero byte are the engine's own and refused. Bounds of
 * ranges may be any bytes up to that length. Rejections are EngineError (engine_error.ts).
 */
export interface Engine {
  /** Name for status: 'rocksdb', 'memory'. */
  readonly kind: string;
  /** False once the engine has failed or close() was called. */
  readonly usable: boolean;
  /** How the values in the event loop's memory do; null: this engine keeps none there. */
  readonly cacheStats: CacheStats | null;
  newBatch(): EngineBatch;
  /**
   * Bytes of batches whose write() has not settled. Whoever writes without waiting slows down by it: past
   * writeBacklogBytesMax (limits.ts) the engine gives up with a fatal `stalled`.
   */
  readonly writeBacklogBytes: number;
  /** Applies the batch atomically. The batch belongs to the engine from then on; do not touch it again. */
  write(batch: EngineBatch): Promise<void>;
  /**
   * Takes what came into the batch so far as written: whoever asks from now on sees it. The batch stays the caller's, who may put more
   * into it and hold it again, and has to write() it when `complete` is called: before the engine does anything else that
   * the batch comes before (ORDER), which an engine without a memory of values takes to be at once. One batch is held at a time.
   */
  hold(batch: EngineBatch, complete: () => void): void;
  /** Has the batch that is held written, if there is one. */
  writeHeld(): void;
  /** A durability barrier over all earlier writes. */
  sync(): Promise<void>;
  /**
   * What getMany() would answer if asked now, when all of it is at hand; null: ask getMany(). Values are views: copy
   * what is kept for long.
   */
  getNow(keys: readonly Buffer[]): (Buffer | null)[] | null;
  /** Values in the order of the keys; null where there is none. Views into one buffer: copy what is kept for long. */
  getMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]>;
  /** One page of [start, end); an empty end is the end of the data. */
  scan(options: ScanOptions): Promise<ScanPage>;
  /**
   * A consistent view of the data as of all writes issued before this call. Must be closed; rejects
   * with `tooManyViews` when openViewsMax are open. Pages of a view may settle after later calls on the engine.
   */
  openView(): Promise<EngineView>;
  /**
   * Takes in packed rows (packed_rows.ts) of the named ranges, which the caller has emptied and whose keys nobody writes until
   * the loader is finished or closed. Rejects with `busy` when openLoadersMax are open.
   */
  openLoader(targets: readonly LoadTarget[]): Promise<EngineLoader>;
  /** What [start, end) holds, roughly; cheap. Each call counts a bounded slice at most (size_map.ts). */
  approximateSize(start: Buffer, end: Buffer): Promise<RangeSize>;
  /**
   * A key of [start, end), but not the first, with about half of the range's bytes before it; as cheap as
   * approximateSize and as exact. Null if fewer than two keys are known.
   */
  middleKey(start: Buffer, end: Buffer): Promise<Buffer | null>;
  /** Bytes that the engine's files take. */
  diskBytes(): Promise<number>;
  close(): Promise<void>;
}

export interface CacheStats {
  /** Values asked for by key that were at hand, and that were not. */
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly bytes: number;
}

export interface RangeSize {
  /** Bytes of keys and values, not compressed. */
  readonly bytes: number;
  readonly keys: number;
  /**
   * True: all of the range has been counted since the engine was opened, and the figures are close. False: they are
   * a lower bound that grows with each call. A small range is complete and exact with the first call.
   */
  readonly complete: boolean;
}

/** Collects writes. Keys and values are kept by reference until write(). */
export interface EngineBatch {
  /** Operations so far. */
  readonly count: number;
  /** Bytes of keys and values so far. */
  readonly bytes: number;
  put(key: Buffer, value: Buffer): void;
  delete(key: Buffer): void;
  /**
   * Deletes [start, end) as of this point of the batch, in order with its other operations and atomic with them; an
   * empty end is the end of the data. Cheap for any number of keys, but a batch with a range of more than
   * deleteRangePointsMax keys is written to disk twice (batch_applier.ts): do not mix bulk writes into it.
   */
  deleteRange(start: Buffer, end: Buffer): void;
}

export interface ScanOptions {
  readonly start: Buffer;
  readonly end: Buffer;
  readonly limit: number;
  /** The page ends early once it holds this many bytes; at least one row is returned if there is one. */
  readonly maxBytes: number;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
}

export interface ScanPage {
  /** Keys and values; values are empty buffers when keysOnly. */
  readonly rows: readonly { readonly key: Buffer; readonly value: Buffer }[];
  /** True: the range holds more rows beyond the last one. */
  readonly more: boolean;
}

/** A consistent view that stays as it is while the engine goes on. */
export interface EngineView {
  get(key: Buffer): Promise<Buffer | null>;
  scan(options: ScanOptions): Promise<ScanPage>;
  /** A page of rows as packed bytes, without a closing count (packed_rows.ts). */
  pack(options: PackOptions): Promise<PackedPage>;
  close(): Promise<void>;
}

export interface PackOptions {
  readonly start: Buffer;
  readonly end: Buffer;
  /** As of scan(). */
  readonly limit: number;
  readonly maxBytes: number;
  /** Goes before each row. */
  readonly tag: number;
  /** This many bytes at the beginning of each key are left out. */
  readonly skip: number;
  /** The most bytes of a chunk. */
  readonly chunkBytes: number;
}

export interface PackedPage {
  readonly chunks: readonly Buffer[];
  readonly rows: number;
  /** Where the next page begins; null: this was the last one. */
  readonly next: Buffer | null;
}

/** Where packed rows of one tag go: to the key of prefix ‖ the row's key, which must lie in [start, end). */
export interface LoadTarget {
  readonly tag: number;
  /** At most 9 bytes. */
  readonly prefix: Buffer;
  readonly start: Buffer;
  readonly end: Buffer;
  /** The length that keys of rows must have; default: any. */
  readonly keyBytes?: number;
}

/**
 * Rows on their way into the engine. Each write() is in order with the other calls and visible when it resolves; it is not one
 * atomic batch: until finish() and a sync() after it, a crash leaves any part of the rows.
 */
export interface EngineLoader {
  /** The next chunk, whatever its cuts. Rejects with `corruption`, not fatal, if the bytes cannot be; that ends the loader. */
  write(chunk: Buffer): Promise<void>;
  /** The number of rows, once all are visible. Rejects with `corruption` unless the closing count was there and right. */
  finish(): Promise<number>;
  /** Gives up. What was written stays. */
  close(): Promise<void>;
}
