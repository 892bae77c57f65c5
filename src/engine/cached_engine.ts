import { assert } from '../base/assert.js';
import type {
  CacheStats,
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
import { getManyBytesMax, getManyKeysMax } from './limits.js';
import { deleteOp, deleteRangeOp, OpBatch, putOp } from './op_batch.js';
import { ValueCache } from './value_cache.js';

export interface CachedEngineOptions {
  /** Memory of the cache, all of it; at least cacheBytesMin. */
  readonly bytes: number;
  /** Which keys are worth keeping; default: all. */
  readonly keeps?: (key: Buffer) => boolean;
}

/** A batch that is not written yet. */
interface Held {
  readonly batch: OpBatch;
  /** Operations that the cache knows. */
  readonly noted: number;
  readonly complete: () => void;
}

/**
 * Any engine with a cache of values before it, in the memory of the event loop. Reads by key that it can answer take no
 * way to the storage thread.
 *
 * Nothing is seen earlier or later than without it: a write is seen by whoever asks after write() was called
 * (the engine's ORDER), so the cache takes each batch when write() or hold() is called, and what the cache can not answer has the batch that is held written first. Once the engine has failed or is closed nothing
 * is answered from memory, either. Scans and views do not use it.
 */
export class CachedEngine implements Engine {
  private readonly inner: Engine;
  private readonly cache: ValueCache;
  private readonly keeps: (key: Buffer) => boolean;
  /** Ranges that rows are being loaded into. */
  private readonly loading = new Set<readonly LoadTarget[]>();
  private held: Held | null = null;
  private hits = 0;
  private misses = 0;

  constructor(inner: Engine, options: CachedEngineOptions) {
    this.inner = inner;
    this.cache = new ValueCache(options.bytes);
    this.keeps = options.keeps ?? (() => true);
  }

  get kind(): string {
    return this.inner.kind;
  }

  get usable(): boolean {
    return this.inner.usable;
  }

  get cacheStats(): CacheStats {
    const { hits, misses } = this;
    return { hits, misses, entries: this.cache.size, bytes: this.cache.bytes };
  }

  get writeBacklogBytes(): number {
    return this.inner.writeBacklogBytes;
  }

  newBatch(): EngineBatch {
    return this.inner.newBatch();
  }

  write(batch: EngineBatch): Promise<void> {
    assert(batch instanceof OpBatch, 'the batch is of this engine');
    if (this.held?.batch !== batch) this.writeHeld();
    const noted = this.held?.noted ?? 0;
    this.held = null;
    const written = this.inner.write(batch);
    this.noteFrom(batch, noted);
    return written;
  }

  hold(batch: EngineBatch, complete: () => void): void {
    assert(batch instanceof OpBatch, 'the batch is of this engine');
    assert(this.held === null || this.held.batch === batch, 'one batch is held at a time');
    this.noteFrom(batch, this.held?.noted ?? 0);
    this.held = { batch, noted: batch.count, complete };
  }

  writeHeld(): void {
    const { held } = this;
    if (held === null) return;
    held.complete();
    assert(this.held !== held, 'whoever holds a batch writes it when it is asked for');
  }

  sync(): Promise<void> {
    this.writeHeld();
    return this.inner.sync();
  }

  getNow(keys: readonly Buffer[]): (Buffer | null)[] | null {
    if (!this.inner.usable) return null;
    const values = new Array<Buffer | null>(keys.length);
    let bytes = 0;
    for (let i = 0; i < keys.length; i++) {
      const value = this.cache.get(keyAt(keys, i));
      if (value === undefined) return null;
      values[i] = value;
      bytes += value === null ? 0 : value.length;
    }
    if (bytes > getManyBytesMax) return null;
    this.hits += keys.length;
    return values;
  }

  getMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    assert(keys.length <= getManyKeysMax, 'a getMany is bounded');
    if (!this.inner.usable) return this.inner.getMany(keys);
    const values: (Buffer | null | undefined)[] = keys.map((key) => this.cache.get(key));
    const missing = keys.filter((_, i) => values[i] === undefined);
    this.misses += missing.length;
    this.hits += keys.length - missing.length;
    return this.complete(values, missing);
  }

  /** Asks for what is missing, at once, and keeps it. */
  private async complete(
    values: readonly (Buffer | null | undefined)[],
    missing: readonly Buffer[],
  ): Promise<(Buffer | null)[]> {
    if (missing.length > 0) this.writeHeld();
    const { stamp } = this.cache;
    // The caller may use its buffers again as soon as it has asked.
    const kept = missing.map((key) => (this.keeps(key) ? Buffer.from(key) : null));
    const found = missing.length === 0 ? [] : await this.inner.getMany(missing);
    let bytes = 0;
    let next = 0;
    const all = values.map((known) => {
      const value = known === undefined ? (found[next++] ?? null) : known;
      bytes += value === null ? 0 : value.length;
      return value;
    });
    if (bytes > getManyBytesMax) {
      throw new EngineError('tooLarge', `the values of ${values.length} keys exceed ${getManyBytesMax} bytes`);
    }
    kept.forEach((key, i) => {
      if (key !== null && !this.isLoading(key)) this.cache.fill(key, found[i] ?? null, stamp);
    });
    return all;
  }

  scan(options: ScanOptions): Promise<ScanPage> {
    this.writeHeld();
    return this.inner.scan(options);
  }

  openView(): Promise<EngineView> {
    this.writeHeld();
    return this.inner.openView();
  }

  /** While rows come in behind the cache's back, it keeps nothing of their ranges. */
  async openLoader(targets: readonly LoadTarget[]): Promise<EngineLoader> {
    this.writeHeld();
    const loader = await this.inner.openLoader(targets);
    for (const { start, end } of targets) this.cache.dropRange(start, end);
    this.loading.add(targets);
    const over = (): void => {
      if (this.loading.delete(targets)) this.cache.refuseFills();
    };
    return {
      write: (chunk) => loader.write(chunk),
      finish: () => loader.finish().finally(over),
      close: () => {
        over();
        return loader.close();
      },
    };
  }

  approximateSize(start: Buffer, end: Buffer): Promise<RangeSize> {
    return this.inner.approximateSize(start, end);
  }

  middleKey(start: Buffer, end: Buffer): Promise<Buffer | null> {
    return this.inner.middleKey(start, end);
  }

  diskBytes(): Promise<number> {
    return this.inner.diskBytes();
  }

  close(): Promise<void> {
    this.writeHeld();
    return this.inner.close();
  }

  private isLoading(key: Buffer): boolean {
    for (const targets of this.loading) {
      for (const { start, end } of targets) {
        if (Buffer.compare(key, start) >= 0 && Buffer.compare(key, end) < 0) return true;
      }
    }
    return false;
  }

  private noteFrom(batch: OpBatch, first: number): void {
    batch.visit(first, (kind, key, value) => this.note(kind, key, value));
  }

  private note(kind: number, key: Buffer, value: Buffer): void {
    if (kind === deleteRangeOp) this.cache.dropRange(key, value);
    else if (!this.keeps(key)) return;
    else if (this.isLoading(key)) this.cache.forget(key);
    else if (kind === putOp) this.cache.put(key, value);
    else {
      assert(kind === deleteOp, 'a known operation');
      this.cache.put(key, null);
    }
  }
}

function keyAt(keys: readonly Buffer[], i: number): Buffer {
  const key = keys[i];
  assert(key !== undefined, 'a key for each position');
  return key;
}
