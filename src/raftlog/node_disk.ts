import * as fs from 'node:fs';
import * as fsPromises from 'node:fs/promises';
import { assert } from '../base/assert.js';
import type { Disk, DiskFile } from '../base/disk.js';

/** Buffers that one writev takes; the kernel's limit (IOV_MAX) is 1024. */
const writevBuffersMax = 1024;

/** Opens an existing file for reading alone: whatever is tried on it, the kernel lets nothing change. */
export async function openReadOnly(path: string): Promise<DiskFile> {
  return new NodeFile(await openFd(path, fs.constants.O_RDONLY), false);
}

function openFd(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, 0o644, (error, fd) => (error === null ? resolve(fd) : reject(error)));
  });
}

/** The real file system. The calls that run per batch use node:fs callbacks: less work per call than its promises. */
export class NodeDisk implements Disk {
  async open(path: string, options: { create: boolean }): Promise<DiskFile> {
    const flags = fs.constants.O_RDWR | (options.create ? fs.constants.O_CREAT : 0);
    return new NodeFile(await openFd(path, flags), true);
  }

  async list(directory: string): Promise<string[]> {
    try {
      return (await fsPromises.readdir(directory)).sort();
    } catch (error) {
      if (isNotFound(error)) return [];
      throw error;
    }
  }

  /** Makes the directory and those above it; their names are on disk when it resolves. */
  async makeDirectory(directory: string): Promise<void> {
    const first = await fsPromises.mkdir(directory, { recursive: true });
    if (first === undefined) return;
    const parts = directory.split('/');
    for (let n = parts.length - 1; n >= 0; n--) {
      const path = parts.slice(0, n + 1).join('/');
      const parent = parts.slice(0, n).join('/') || (directory.startsWith('/') ? '/' : '.');
      await this.syncDirectory(parent);
      if (path === first || parent === '/' || parent === '.') break;
    }
  }

  rename(from: string, to: string): Promise<void> {
    return fsPromises.rename(from, to);
  }

  unlink(path: string): Promise<void> {
    return fsPromises.unlink(path);
  }

  async syncDirectory(directory: string): Promise<void> {
    const handle = await fsPromises.open(directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async space(path: string): Promise<{ freeBytes: number; totalBytes: number }> {
    const s = await fsPromises.statfs(path);
    return { freeBytes: s.bavail * s.bsize, totalBytes: s.blocks * s.bsize };
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

class NodeFile implements DiskFile {
  private readonly fd: number;
  /** The same file, opened so that each write is synced (O_DSYNC); null: there is none. Opened when first needed. */
  private syncedFd: Promise<number | null> | null;
  private closed = false;

  constructor(fd: number, isWritable: boolean) {
    this.fd = fd;
    this.syncedFd = isWritable ? null : Promise.resolve(null);
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.descriptor(), (error, stats) => (error === null ? resolve(stats.size) : reject(error)));
    });
  }

  write(buffers: readonly Buffer[], position: number): Promise<void> {
    return this.writeAll(this.fd, buffers, position);
  }

  /** One call of the thread pool where there is O_DSYNC: a batch that is written and synced apart waits for it twice. */
  async writeThrough(buffers: readonly Buffer[], position: number): Promise<void> {
    this.syncedFd ??= openSynced(this.descriptor());
    const fd = await this.syncedFd;
    if (fd !== null) return this.writeAll(fd, buffers, position);
    await this.write(buffers, position);
    await this.datasync();
  }

  private async writeAll(fd: number, buffers: readonly Buffer[], position: number): Promise<void> {
    let rest = buffers.filter((b) => b.length > 0);
    let at = position;
    while (rest.length > 0) {
      this.checkOpen();
      const some = rest.length > writevBuffersMax ? rest.slice(0, writevBuffersMax) : rest;
      const taken = await writeSome(fd, some, at);
      at += taken;
      rest = skipBytes(rest, taken);
    }
  }

  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    const buffer = into?.subarray(0, length) ?? Buffer.allocUnsafeSlow(length);
    let filled = 0;
    while (filled < length) {
      const bytes = await this.readSome(buffer, filled, length - filled, position + filled);
      if (bytes === 0) break;
      filled += bytes;
    }
    return filled === length ? buffer : buffer.subarray(0, filled);
  }

  datasync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.descriptor(), (error) => (error ? reject(error) : resolve()));
    });
  }

  truncate(length: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.descriptor(), length, (error) => (error ? reject(error) : resolve()));
    });
  }

  async close(): Promise<void> {
    this.checkOpen();
    this.closed = true;
    const synced = await this.syncedFd;
    if (synced !== null) await closeFd(synced);
    await closeFd(this.fd);
  }

  /** A closed descriptor's number is the next opened file's: what is done to it is done to that one. */
  private checkOpen(): void {
    assert(!this.closed, 'a file is closed once, and not used after that');
  }

  private descriptor(): number {
    this.checkOpen();
    return this.fd;
  }

  private readSome(buffer: Buffer, offset: number, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.descriptor(), buffer, offset, length, position, (error, bytes) =>
        error ? reject(error) : resolve(bytes),
      );
    });
  }
}

/** Opens an open file once more with O_DSYNC. Null where the system has no way to: whoever asked writes and syncs apart. */
async function openSynced(fd: number): Promise<number | null> {
  if (process.platform !== 'linux') return null;
  // By its descriptor: a segment's name changes while it is open.
  return openFd(`/proc/self/fd/${fd}`, fs.constants.O_WRONLY | fs.constants.O_DSYNC).catch(() => null);
}

function closeFd(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(fd, (error) => (error ? reject(error) : resolve()));
  });
}

/** One positioned write; the kernel may take fewer bytes than offered. */
function writeSome(fd: number, buffers: Buffer[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, written: number): void => {
      if (error !== null) reject(error);
      else if (written === 0) reject(new Error('write took no bytes'));
      else resolve(written);
    };
    const only = buffers[0];
    if (buffers.length === 1 && only !== undefined) fs.write(fd, only, 0, only.length, position, done);
    else fs.writev(fd, buffers, position, done);
  });
}

/** The buffers without their first `bytes` bytes. */
function skipBytes(buffers: readonly Buffer[], bytes: number): Buffer[] {
  const rest: Buffer[] = [];
  let skip = bytes;
  for (const buffer of buffers) {
    if (skip >= buffer.length) skip -= buffer.length;
    else {
      rest.push(skip > 0 ? buffer.subarray(skip) : buffer);
      skip = 0;
    }
  }
  return rest;
}
