import { crc32 } from '../raftlog/checksum.js';
import type { Disk, DiskFile } from '../base/disk.js';
import type { SnapshotMeta } from '../raft/message.js';
import type { StagedSnapshot } from './host.js';
import { stagedBehindBytesMax, stagedChunkBytesMax, stagedHeaderBytesMax, stagedReadBytes } from './limits.js';

/*
 * A snapshot staged on disk before it is installed. Layout, little endian:
 *
 *     header   magic (4) version (4) length (4) crc32 (4)  then `length` bytes of JSON
 *     chunk    length (4) crc32 (4)                        then `length` bytes
 *     trailer  0xffffffff (4) chunks (8) bytes (8) crc32 of the 20 bytes before (4)
 *
 * The trailer is written and synced last: a file without a good one is not a snapshot.
 */
const magic = 0x534b5331;
const version = 1;
const headerPrefixBytes = 16;
const chunkPrefixBytes = 8;
const trailerBytes = 24;
const trailerMark = 0xffff_ffff;

/** A staged file that is not whole, or not one. */
export class StagedFileError extends Error {
  override readonly name = 'StagedFileError';
}

/** What a staged file says about itself. */
export interface StagedHeader {
  readonly groupId: number;
  readonly replicaId: number;
  readonly meta: SnapshotMeta;
  readonly descriptor: Buffer;
  readonly formatVersion: number;
}

/**
 * Writes one staged file. Nothing counts before finish() has resolved: chunks are written behind, those that gathered
 * during one write of the disk with the next one.
 */
export class StagedFileWriter {
  readonly path: string;
  private readonly disk: Disk;
  private readonly directory: string;
  private readonly file: DiskFile;
  private position = 0;
  private waiting: Buffer[] = [];
  /** Taken and not yet written. */
  private behindBytes = 0;
  private writing: Promise<void> | null = null;
  private failure: { readonly error: unknown } | null = null;
  private chunks = 0;
  private bytes = 0;
  private closed = false;
  /** finish() has resolved: the file is whoever asked for it's. */
  private handedOver = false;

  private constructor(disk: Disk, directory: string, path: string, file: DiskFile) {
    this.disk = disk;
    this.directory = directory;
    this.path = path;
    this.file = file;
  }

  static async create(disk: Disk, directory: string, name: string, header: StagedHeader): Promise<StagedFileWriter> {
    const path = `${directory}/${name}`;
    await disk.makeDirectory(directory);
    const file = await disk.open(path, { create: true });
    const writer = new StagedFileWriter(disk, directory, path, file);
    try {
      await file.truncate(0);
      writer.put(encodeHeader(header));
      await writer.settled();
    } catch (error) {
      await file.close();
      throw error;
    }
    return writer;
  }

  /**
   * Takes a chunk with its checksum; resolves when there is room for more, at most stagedBehindBytesMax behind.
   * Rejects with the first failure of the disk, of this chunk or of one before.
   */
  async write(chunk: Buffer, checksum = crc32(chunk, 0)): Promise<void> {
    if (chunk.length > stagedChunkBytesMax) throw new StagedFileError('a snapshot chunk is too large');
    const prefix = Buffer.allocUnsafe(chunkPrefixBytes);
    prefix.writeUInt32LE(chunk.length, 0);
    prefix.writeUInt32LE(checksum, 4);
    this.put([prefix, chunk]);
    this.chunks++;
    this.bytes += chunk.length;
    while (this.behindBytes > stagedBehindBytesMax && this.writing !== null) await this.writing;
    this.checkDisk();
  }

  /** Seals the file. Resolves once content and name are on disk. */
  async finish(): Promise<StagedSnapshot> {
    const trailer = Buffer.allocUnsafe(trailerBytes);
    trailer.writeUInt32LE(trailerMark, 0);
    trailer.writeDoubleLE(this.chunks, 4);
    trailer.writeDoubleLE(this.bytes, 12);
    trailer.writeUInt32LE(crc32(trailer.subarray(0, 20), 0), 20);
    this.put([trailer]);
    await this.settled();
    await this.file.datasync();
    await this.close();
    await this.disk.syncDirectory(this.directory);
    this.handedOver = true;
    return stagedSnapshot(this.disk, this.path, this.chunks, this.bytes);
  }

  /** Gives up: closes and removes the file. Nothing is left to do once finish() has resolved. */
  async abort(): Promise<void> {
    if (this.handedOver) return;
    this.waiting = [];
    while (this.writing !== null) await this.writing;
    await this.close();
    await this.disk.unlink(this.path);
  }

  /** Once: by the second time the descriptor may be another file's. */
  private async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.file.close();
  }

  private put(buffers: readonly Buffer[]): void {
    if (this.failure !== null) return;
    for (const buffer of buffers) {
      this.waiting.push(buffer);
      this.behindBytes += buffer.length;
    }
    this.writing ??= this.writeWaiting();
  }

  /** Everything that was put is written. */
  private async settled(): Promise<void> {
    while (this.writing !== null) await this.writing;
    this.checkDisk();
  }

  private checkDisk(): void {
    if (this.failure !== null) throw this.failure.error;
  }

  /** Never rejects: the failure is kept for whoever calls next. */
  private async writeWaiting(): Promise<void> {
    try {
      while (this.waiting.length > 0) {
        const buffers = this.waiting;
        this.waiting = [];
        await this.file.write(buffers, this.position);
        for (const { length } of buffers) {
          this.position += length;
          this.behindBytes -= length;
        }
      }
    } catch (error) {
      this.failure = { error };
      this.waiting = [];
    }
    this.writing = null;
  }
}

/**
 * Opens a staged file again, for a store that crashed while it was being installed.
 * @throws StagedFileError when the file is not whole, or not there
 */
export async function openStagedSnapshot(
  disk: Disk,
  path: string,
): Promise<{ header: StagedHeader; staged: StagedSnapshot }> {
  const file = await disk.open(path, { create: false }).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new StagedFileError(`${path} is not there`, { cause: error });
    }
    throw error;
  });
  try {
    const { header } = await readHeader(file);
    const size = await file.size();
    const trailer = await file.read(Math.max(0, size - trailerBytes), trailerBytes);
    if (trailer.length !== trailerBytes || trailer.readUInt32LE(0) !== trailerMark) {
      throw new StagedFileError(`${path} has no end`);
    }
    if (trailer.readUInt32LE(20) !== crc32(trailer.subarray(0, 20), 0))
      throw new StagedFileError(`${path} has a bad end`);
    const chunks = trailer.readDoubleLE(4);
    const bytes = trailer.readDoubleLE(12);
    return { header, staged: stagedSnapshot(disk, path, chunks, bytes) };
  } finally {
    await file.close();
  }
}

function stagedSnapshot(disk: Disk, path: string, chunks: number, bytes: number): StagedSnapshot {
  return { path, chunks, bytes, read: () => readChunks(disk, path, chunks) };
}

/** Chunks in order, read in blocks; the next block is read while the chunks of the last one are used. */
async function* readChunks(disk: Disk, path: string, chunks: number): AsyncIterable<Buffer> {
  const file = await disk.open(path, { create: false });
  let ahead: Promise<Buffer> | null = null;
  try {
    let { end: position } = await readHeader(file);
    let left = chunks;
    let length = stagedReadBytes;
    while (left > 0) {
      const block: Buffer = await (ahead ?? file.read(position, length));
      const { found, used, wanted } = wholeChunks(block, left, path);
      if (found.length === 0 && block.length < length) throw new StagedFileError(`${path} ends before its last chunk`);
      left -= found.length;
      position += used;
      length = Math.max(stagedReadBytes, wanted);
      ahead = left === 0 ? null : file.read(position, length);
      // Whoever takes the block hears of its failure.
      ahead?.catch(() => undefined);
      yield* found;
    }
  } finally {
    await ahead?.catch(() => undefined);
    await file.close();
  }
}

/** The chunks that lie in a block, checked, and how many bytes a block must have for the chunk that comes next. */
function wholeChunks(block: Buffer, limit: number, path: string): { found: Buffer[]; used: number; wanted: number } {
  const found: Buffer[] = [];
  let used = 0;
  while (found.length < limit && used + chunkPrefixBytes <= block.length) {
    const length = block.readUInt32LE(used);
    if (length > stagedChunkBytesMax) throw new StagedFileError(`${path} ends before its last chunk`);
    const start = used + chunkPrefixBytes;
    if (start + length > block.length) return { found, used, wanted: chunkPrefixBytes + length };
    const chunk = block.subarray(start, start + length);
    if (crc32(chunk, 0) !== block.readUInt32LE(used + 4)) throw new StagedFileError(`${path} has a damaged chunk`);
    found.push(chunk);
    used = start + length;
  }
  return { found, used, wanted: chunkPrefixBytes };
}

function encodeHeader(header: StagedHeader): Buffer[] {
  const body = Buffer.from(JSON.stringify({ ...header, descriptor: header.descriptor.toString('base64') }));
  if (body.length > stagedHeaderBytesMax) throw new StagedFileError('a snapshot descriptor is too large');
  const prefix = Buffer.allocUnsafe(headerPrefixBytes);
  prefix.writeUInt32LE(magic, 0);
  prefix.writeUInt32LE(version, 4);
  prefix.writeUInt32LE(body.length, 8);
  prefix.writeUInt32LE(crc32(body, 0), 12);
  return [prefix, body];
}

async function readHeader(file: DiskFile): Promise<{ header: StagedHeader; end: number }> {
  const prefix = await file.read(0, headerPrefixBytes);
  if (prefix.length !== headerPrefixBytes || prefix.readUInt32LE(0) !== magic) {
    throw new StagedFileError('not a staged snapshot');
  }
  if (prefix.readUInt32LE(4) !== version) throw new StagedFileError('a staged snapshot of another version');
  const length = prefix.readUInt32LE(8);
  if (length > stagedHeaderBytesMax) throw new StagedFileError('a staged snapshot with a damaged header');
  const body = await file.read(headerPrefixBytes, length);
  if (body.length !== length || crc32(body, 0) !== prefix.readUInt32LE(12)) {
    throw new StagedFileError('a staged snapshot with a damaged header');
  }
  // The checksum vouches for the shape: these are the bytes that encodeHeader made.
  const fields = JSON.parse(body.toString()) as Omit<StagedHeader, 'descriptor'> & { descriptor: string };
  return {
    header: { ...fields, descriptor: Buffer.from(fields.descriptor, 'base64') },
    end: headerPrefixBytes + length,
  };
}
