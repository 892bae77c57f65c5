import { assert } from '../../src/base/assert.js';
import type { Disk, DiskFile } from '../../src/base/disk.js';
import { Prng } from '../../src/base/prng.js';
import type { Runtime } from '../../src/base/runtime.js';

/** Bytes that a disk writes as a whole: a torn write leaves whole sectors, old or new. */
const sectorBytes = 512;

export type DiskOperation =
  | 'open'
  | 'size'
  | 'list'
  | 'makeDirectory'
  | 'rename'
  | 'unlink'
  | 'syncDirectory'
  | 'write'
  | 'read'
  | 'datasync'
  | 'truncate'
  | 'close';

/** The machine is off: what every call on a disk gets after powerCut() or once crashAfter has run out. */
export class PowerLoss extends Error {
  override readonly name = 'PowerLoss';

  constructor() {
    super('the power is off');
  }
}

interface Write {
  readonly kind: 'write';
  readonly position: number;
  readonly bytes: Buffer;
}

/** One unsynced change to a file's contents. */
type Change = Write | { readonly kind: 'truncate'; readonly length: number };

class Inode {
  /** What reads see (the page cache). */
  current: Buffer = Buffer.alloc(0);
  /** What survives a power cut. */
  durable: Buffer = Buffer.alloc(0);
  unsynced: Change[] = [];
}

function applyTo(content: Buffer, change: Change): Buffer {
  if (change.kind === 'truncate') {
    if (change.length <= content.length) return Buffer.from(content.subarray(0, change.length));
    return Buffer.concat([content, Buffer.alloc(change.length - content.length)]);
  }
  const end = change.position + change.bytes.length;
  const target = end > content.length ? Buffer.concat([content, Buffer.alloc(end - content.length)]) : content;
  change.bytes.copy(target, change.position);
  return target;
}

/** One unsynced change to names. */
type NameChange =
  | { readonly kind: 'link'; readonly path: string; readonly inode: Inode }
  | { readonly kind: 'unlink'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string };

function applyName(names: Map<string, Inode>, change: NameChange): void {
  if (change.kind === 'link') names.set(change.path, change.inode);
  else if (change.kind === 'unlink') names.delete(change.path);
  else {
    const inode = names.get(change.from);
    if (inode === undefined) return;
    names.delete(change.from);
    names.set(change.to, inode);
  }
}

function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

export interface MemoryDiskOptions {
  readonly prng?: Prng;
  readonly totalBytes?: number;
  /** How long an operation takes, on the clock of the process that mounted the disk. Else they take no time. */
  readonly latencyMs?: (operation: DiskOperation, path: string) => number;
}

/**
 * A disk in memory that can lose its power. Everything happens in call order, and depends on nothing but the calls and the
 * Prng, so a run with one seed is the same every time.
 *
 * After powerCut(): contents are what was synced, plus any subset, sector by sector, of what was written since; names are
 * those of the last directory sync, plus some of the changes since, in order. Handles of before are dead.
 * A datasync made to fail drops dirty bytes as Linux does: reads still see them, a later sync does not write them.
 */
export class MemoryDisk implements Disk {
  /** Called before each operation takes effect: throw to make it fail, return a promise to hold it back. */
  intercept: ((operation: DiskOperation, path: string) => Promise<void> | void) | null = null;
  /** Operations that change something and are still let through; the power goes before the next. */
  crashAfter: number = Number.POSITIVE_INFINITY;
  /** Operations that change something, so far. */
  changes = 0;
  readonly counts = new Map<DiskOperation, number>();
  private names = new Map<string, Inode>();
  private durableNames = new Map<string, Inode>();
  private nameChanges: NameChange[] = [];
  private readonly prng: Prng;
  /** The disk's size; below what is used, nothing grows any more. */
  totalBytes: number;
  private runtime: Runtime | null = null;
  private readonly options: MemoryDiskOptions;
  /** Grows with every power cut; handles of an older one are dead. */
  private life = 0;

  constructor(options: MemoryDiskOptions = {}) {
    this.options = options;
    this.prng = options.prng ?? new Prng(1);
    this.totalBytes = options.totalBytes ?? 2 ** 40;
  }

  /** Turns the power off and on again. */
  powerCut(): void {
    this.life++;
    this.crashAfter = Number.POSITIVE_INFINITY;
    const kept = this.prng.int(0, this.nameChanges.length);
    for (const change of this.nameChanges.slice(0, kept)) applyName(this.durableNames, change);
    this.nameChanges = [];
    this.names = new Map(this.durableNames);
    for (const inode of new Set(this.names.values())) this.loseUnsynced(inode);
  }

  /** The process dies but the machine stays up: handles are dead, the page cache is not. */
  killProcess(): void {
    this.life++;
    this.crashAfter = Number.POSITIVE_INFINITY;
  }

  /**
   * The disk as one process sees it: its calls fail once the power was cut or the process killed. Without a mount of its own, a
   * dead process's unfinished work would go on beside its successor.
   */
  mount(runtime: Runtime | null = null): Disk {
    this.runtime = runtime;
    const life = this.life;
    const alive = async <T>(call: () => Promise<T>): Promise<T> => {
      if (life !== this.life) throw new PowerLoss();
      return call();
    };
    return {
      open: (path, options) => alive(() => this.open(path, options)),
      list: (path) => alive(() => this.list(path)),
      makeDirectory: (path) => alive(() => this.makeDirectory(path)),
      rename: (from, to) => alive(() => this.rename(from, to)),
      unlink: (path) => alive(() => this.unlink(path)),
      syncDirectory: (path) => alive(() => this.syncDirectory(path)),
      space: () => alive(() => this.space()),
    };
  }

  /** Bytes of all files. */
  usedBytes(): number {
    let bytes = 0;
    for (const inode of this.names.values()) bytes += inode.current.length;
    return bytes;
  }

  /** A disk with the same contents, all of it synced. */
  clone(): MemoryDisk {
    const twin = new MemoryDisk(this.options);
    for (const [path, inode] of this.names) {
      const copy = new Inode();
      copy.current = Buffer.from(inode.current);
      copy.durable = Buffer.from(inode.current);
      twin.names.set(path, copy);
    }
    twin.durableNames = new Map(twin.names);
    return twin;
  }

  paths(): string[] {
    return [...this.names.keys()].sort();
  }

  /** A file's bytes as reads see them; changes to the buffer change the file, synced. */
  contents(path: string): Buffer {
    const inode = this.inode(path);
    inode.durable = inode.current;
    inode.unsynced = [];
    return inode.current;
  }

  async open(path: string, options: { create: boolean }): Promise<DiskFile> {
    const wait = this.begin('open', path, options.create);
    if (wait !== null) await wait;
    let inode = this.names.get(path);
    if (inode === undefined) {
      if (!options.create) throw notFound(path);
      inode = new Inode();
      this.change({ kind: 'link', path, inode });
    }
    return this.handle(path, inode);
  }

  async list(directory: string): Promise<string[]> {
    const wait = this.begin('list', directory, false);
    if (wait !== null) await wait;
    const found = [...this.names.keys()].filter((path) => directoryOf(path) === directory);
    return found.map((path) => path.slice(directory.length + 1)).sort();
  }

  /** Directories are not modelled: any path may hold files. */
  async makeDirectory(directory: string): Promise<void> {
    const wait = this.begin('makeDirectory', directory, false);
    if (wait !== null) await wait;
  }

  async rename(from: string, to: string): Promise<void> {
    const wait = this.begin('rename', from, true);
    if (wait !== null) await wait;
    if (!this.names.has(from)) throw notFound(from);
    this.change({ kind: 'rename', from, to });
  }

  async unlink(path: string): Promise<void> {
    const wait = this.begin('unlink', path, true);
    if (wait !== null) await wait;
    if (!this.names.has(path)) throw notFound(path);
    this.change({ kind: 'unlink', path });
  }

  async syncDirectory(directory: string): Promise<void> {
    const wait = this.begin('syncDirectory', directory, true);
    if (wait !== null) await wait;
    const rest: NameChange[] = [];
    for (const change of this.nameChanges) {
      const path = change.kind === 'rename' ? change.to : change.path;
      if (directoryOf(path) === directory) applyName(this.durableNames, change);
      else rest.push(change);
    }
    this.nameChanges = rest;
  }

  space(): Promise<{ freeBytes: number; totalBytes: number }> {
    return Promise.resolve({ freeBytes: this.totalBytes - this.usedBytes(), totalBytes: this.totalBytes });
  }

  private handle(path: string, inode: Inode): DiskFile {
    const life = this.life;
    let closed = false;
    const begin = (operation: DiskOperation, changes: boolean): Promise<void> | null => {
      assert(!closed, () => `${path} is closed once, and not used after that: ${operation}`);
      // Also when it fails: the descriptor is gone all the same.
      closed = operation === 'close';
      if (life !== this.life) throw new PowerLoss();
      return this.begin(operation, path, changes);
    };
    return {
      size: async () => {
        const wait = begin('size', false);
        if (wait !== null) await wait;
        return inode.current.length;
      },
      read: async (position, length) => {
        const wait = begin('read', false);
        if (wait !== null) await wait;
        return Buffer.from(inode.current.subarray(position, position + length));
      },
      write: async (buffers, position) => {
        const bytes = Buffer.concat(buffers);
        const wait = begin('write', true);
        if (wait !== null) await wait;
        this.takeWrite(inode, bytes, position);
      },
      // As the kernel does it: the bytes are seen and may be torn first, and are synced then. So its two steps count as two.
      writeThrough: async (buffers, position) => {
        const bytes = Buffer.concat(buffers);
        let wait = begin('write', true);
        if (wait !== null) await wait;
        const change = this.takeWrite(inode, bytes, position);
        try {
          wait = begin('datasync', true);
          if (wait !== null) await wait;
        } catch (error) {
          if (life === this.life && !(error instanceof PowerLoss)) this.dropDirty(inode);
          throw error;
        }
        this.syncOne(inode, change);
      },
      truncate: async (length) => {
        const wait = begin('truncate', true);
        if (wait !== null) await wait;
        inode.current = applyTo(inode.current, { kind: 'truncate', length });
        inode.unsynced.push({ kind: 'truncate', length });
      },
      datasync: async () => {
        // What is written while the sync runs is not part of it.
        const covered = inode.unsynced.length;
        try {
          const wait = begin('datasync', true);
          if (wait !== null) await wait;
        } catch (error) {
          if (life === this.life && !(error instanceof PowerLoss)) this.dropDirty(inode);
          throw error;
        }
        for (const change of inode.unsynced.splice(0, covered)) inode.durable = applyTo(inode.durable, change);
      },
      close: async () => {
        const wait = begin('close', false);
        if (wait !== null) await wait;
      },
    };
  }

  /** Only this write is synced. Older unsynced ones must not undo it when they are torn: they may not overlap it. */
  private syncOne(inode: Inode, change: Write): void {
    const at = inode.unsynced.indexOf(change);
    const end = change.position + change.bytes.length;
    const older = inode.unsynced.slice(0, Math.max(0, at));
    if (older.some((c) => c.kind === 'truncate' || (c.position < end && c.position + c.bytes.length > change.position)))
      throw new Error('a write-through over bytes that are not synced is not modelled');
    if (at < 0) return;
    inode.unsynced.splice(at, 1);
    inode.durable = applyTo(inode.durable, change);
  }

  private takeWrite(inode: Inode, bytes: Buffer, position: number): Write {
    const growth = Math.max(0, position + bytes.length - inode.current.length);
    if (growth > 0 && this.usedBytes() + growth > this.totalBytes) {
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    }
    const change: Write = { kind: 'write', position, bytes };
    inode.current = applyTo(inode.current, change);
    inode.unsynced.push(change);
    return change;
  }

  /** Every operation starts here. Null: it may take effect now; this spares plain runs most of their promises. */
  private begin(operation: DiskOperation, path: string, changes: boolean): Promise<void> | null {
    if (this.intercept !== null || this.options.latencyMs !== undefined)
      return this.beginLater(operation, path, changes);
    this.take(operation, changes);
    return null;
  }

  private async beginLater(operation: DiskOperation, path: string, changes: boolean): Promise<void> {
    const life = this.life;
    const { runtime } = this;
    const { latencyMs } = this.options;
    if (runtime !== null && latencyMs !== undefined) {
      await new Promise<void>((resolve) => void runtime.after(latencyMs(operation, path), resolve));
    }
    if (life !== this.life) throw new PowerLoss();
    await this.intercept?.(operation, path);
    if (life !== this.life) throw new PowerLoss();
    this.take(operation, changes);
  }

  private take(operation: DiskOperation, changes: boolean): void {
    this.counts.set(operation, (this.counts.get(operation) ?? 0) + 1);
    if (this.crashAfter <= 0) throw new PowerLoss();
    if (!changes) return;
    this.crashAfter--;
    this.changes++;
  }

  private change(change: NameChange): void {
    applyName(this.names, change);
    this.nameChanges.push(change);
  }

  /** What a failed sync leaves behind: some sectors made it, the rest never will unless written again. */
  private dropDirty(inode: Inode): void {
    const seen = inode.current;
    this.loseUnsynced(inode);
    inode.current = Buffer.from(seen);
  }

  private loseUnsynced(inode: Inode): void {
    // All, nothing, or each sector by a coin: the three ways in which real disks lose writes.
    const keep = [0, 0.5, 1][this.prng.int(0, 2)] ?? 0;
    for (const change of inode.unsynced) {
      if (change.kind === 'truncate') {
        if (this.prng.chance(keep)) inode.durable = applyTo(inode.durable, change);
      } else this.tear(inode, change.bytes, change.position, keep);
    }
    inode.unsynced = [];
    inode.current = Buffer.from(inode.durable);
  }

  private tear(inode: Inode, bytes: Buffer, position: number, keep: number): void {
    for (let at = position; at < position + bytes.length;) {
      const end = Math.min(position + bytes.length, (Math.floor(at / sectorBytes) + 1) * sectorBytes);
      if (this.prng.chance(keep)) {
        const part = bytes.subarray(at - position, end - position);
        inode.durable = applyTo(inode.durable, { kind: 'write', position: at, bytes: part });
      }
      at = end;
    }
  }

  private inode(path: string): Inode {
    const inode = this.names.get(path);
    if (inode === undefined) throw notFound(path);
    return inode;
  }
}

function notFound(path: string): Error {
  return Object.assign(new Error(`ENOENT: no such file, ${path}`), { code: 'ENOENT' });
}
