/**
 * The KV engine of a store: an ordered map of bytes with atomic batches, on RocksDB or in memory.
 *
 *     event loop                                      storage thread
 *     ──────────                                      ──────────────
 *     RocksdbEngine  (rocksdb_engine.ts)              Storage  (storage.ts)
 *       write, getMany, scan, sync … are packed         neighbouring writes ─▶ one raw batch   (batch_applier.ts)
 *       into an arena (arena.ts) as they are called     neighbouring getMany ─▶ one multi-get
 *       └─ one message per turn, at most two under      scans, views                           (rocksdb_reader.ts)
 *          way; the rest gathers ──────────────────▶    sizes of ranges                        (size_map.ts)
 *                                                       └─ one reply per message
 *       promises settle  ◀──────────────────────────       values packed into an arena
 *
 * RocksDB's writes run on the calling thread, stalls and syncs included; that is why it has a thread of its own. A hop
 * costs some tens of microseconds, whatever it carries, so everything is batched: what is asked for while the
 * thread is busy leaves in one message. Arenas change hands by transfer. Keys and values are copied once on the way
 * in (into the arena; RocksDB makes its own copy) and once on the way out.
 *
 * States of an engine:  open ──close()──▶ closing ──everything answered──▶ closed
 *                        └──a write or sync fails, the thread dies──▶ failed ──close()──▶ closed
 *
 * What holds:
 *   - Requests are done in the order of the calls. Only pages of views may settle out of order.
 *   - A batch is all or nothing, also after a crash, also with deleteRange (batch_applier.ts says how).
 *   - After a crash of the machine the data is that of the last sync() and a prefix of later batches.
 *   - After a failed write nothing is answered but by that failure, and onFatal has been called once.
 *   - The database is used by one thread, and closed by it when nothing else is asked for or under way: the binding
 *     would end the process otherwise. After close() every call rejects with `closed`.
 *   - RocksDB may open damaged logs with a shorter prefix and no error. The engine cannot tell; the store must compare
 *     each shard's applied index with the start of the Raft log when it opens.
 *
 * The memory engine (memory_engine.ts) keeps the same promises on a copy-on-write sorted map, and crash() gives
 * what a crash may leave. The contract test (test/engine/engine_contract.ts) runs against all of them.
 *
 * CachedEngine (cached_engine.ts) goes before any of them and answers reads by key from the event loop's own memory where it
 * can, without the hop; value_cache.ts says what is kept and why it is never stale.
 *
 * The development engine (rocksdb_dev_engine.ts) is RocksDB by way of the older package `rocksdb`, for systems
 * that the default binding has no binary for. It runs only where the configuration names it, and keeps less of the above: that
 * package is known to acknowledge writes that a full or failing disk lost.
 *
 * Missing: sizes from RocksDB's own file metadata (the binding has no call
 * for it, hence the counts in size_map.ts, which start anew when the engine is opened); a write buffer size without compression (the binding ties the two).
 */
export { CachedEngine, type CachedEngineOptions } from './cached_engine.js';
export type {
  CacheStats,
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
export { EngineError, type EngineErrorCode } from './engine_error.js';
export { MemoryEngine, type MemoryEngineOptions } from './memory_engine.js';
export { openRocksdbDevEngine } from './rocksdb_dev_engine.js';
export { openRocksdbEngine, type RocksdbEngineOptions } from './rocksdb_engine.js';
