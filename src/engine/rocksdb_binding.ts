/**
 * The native functions of @nxtedition/rocksdb 12.2.12 that the storage thread uses (its binding.cc is the source; it has
 * no types of its own). Not to be used: `unsafe` reads, whose buffers end the process if they outlive the database.
 */
interface Opaque<Name extends string> {
  readonly __opaque: Name;
}
export type Database = Opaque<'database'>;
export type RawBatch = Opaque<'batch'>;
export type RawIterator = Opaque<'iterator'>;

export interface OpenOptions {
  createIfMissing: boolean;
  /** zstd with a trained dictionary on all levels; false leaves RocksDB's own default, which is none here. */
  compression: boolean;
  walCompression: boolean;
  /** Block cache bytes; an unsigned 32-bit integer. */
  cacheSize: number;
  /** 'level' keeps L0 and the base level uncompressed, the others zstd, and obeys memtableMemoryBudget. */
  compaction?: 'level' | 'universal';
  memtableMemoryBudget?: number;
  /** Background threads for flushes and compactions. */
  parallelism?: number;
}

export interface IteratorOptions {
  gte?: Buffer;
  lt?: Buffer;
  reverse: boolean;
  values: boolean;
  /** nextv stops once it has read more than this. */
  highWaterMarkBytes: number;
  keyEncoding: 'buffer';
  valueEncoding: 'buffer';
}

/** key, value, key, value …; a value is undefined where the iterator reads keys only. */
export interface RowsResult {
  rows: (Buffer | undefined)[];
  finished: boolean;
}

export interface RocksdbBinding {
  db_init(path: string): Database;
  db_open(db: Database, options: OpenOptions, callback: (error: Error | null) => void): void;
  /** Calling it while anything of this database is in use, or using anything afterwards, is a segmentation fault. */
  db_close(db: Database, callback: (error: Error | null) => void): void;
  /** undefined: no such key. null: the values exceed highWaterMarkBytes. */
  db_get_many_sync(
    db: Database,
    keys: readonly Uint8Array[],
    options: { highWaterMarkBytes: number } | null,
  ): (Buffer | undefined | null)[];
  /** One range tombstone, written at once, outside any batch, not synced. */
  db_clear(db: Database, options: { gte: Buffer; lt: Buffer }): void;
  db_get_property(db: Database, name: string): string;
  batch_init(): RawBatch;
  batch_put(batch: RawBatch, key: Uint8Array, value: Uint8Array, options: null): void;
  batch_del(batch: RawBatch, key: Uint8Array, options: null): void;
  batch_clear(batch: RawBatch): void;
  batch_write(db: Database, batch: RawBatch, options: { sync: boolean } | null): void;
  iterator_init(db: Database, options: IteratorOptions): RawIterator;
  iterator_seek(iterator: RawIterator, target: Buffer): void;
  iterator_nextv(
    iterator: RawIterator,
    rows: number,
    callback: (error: Error | null, result: RowsResult) => void,
  ): void;
  iterator_nextv_sync(iterator: RawIterator, rows: number): RowsResult;
  iterator_close(iterator: RawIterator): void;
}
