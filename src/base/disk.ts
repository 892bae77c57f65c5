/**
 * The disk as a parameter: what the Raft log and snapshot staging need of a file system. The real
 * one is NodeDisk; the simulator has a twin that loses and tears what was not synced.
 *
 * Durability: bytes written are on disk after datasync() of the same file resolved; a created,
 * renamed or unlinked name is on disk after syncDirectory() of its directory resolved. After a
 * failed datasync or writeThrough the state of the file is unknown: the caller must give up, never retry.
 */
export interface Disk {
  /** Opens for reading and writing; `create` makes the file if it is not there. */
  open(path: string, options: { create: boolean }): Promise<DiskFile>;
  /** Names in a directory, sorted; an absent directory has none. */
  list(directory: string): Promise<string[]>;
  makeDirectory(directory: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  syncDirectory(directory: string): Promise<void>;
  /** Free and total bytes of the file system that holds path. */
  space(path: string): Promise<{ freeBytes: number; totalBytes: number }>;
}

export interface DiskFile {
  size(): Promise<number>;
  /** Writes all buffers one after the other from `position` on; resolves when all bytes are taken. */
  write(buffers: readonly Buffer[], position: number): Promise<void>;
  /**
   * Writes as write() does, and syncs these bytes (and the size, if it grew), but nothing else of the file: they are on disk
   * when it resolves. Until then they may be there, or be torn, like any written bytes.
   */
  writeThrough(buffers: readonly Buffer[], position: number): Promise<void>;
  /**
   * Reads up to `length` bytes; fewer only at the end of the file. `into`, at least that long, is memory that may be used for
   * the result: for whoever reads much and keeps none of it.
   */
  read(position: number, length: number, into?: Buffer): Promise<Buffer>;
  datasync(): Promise<void>;
  truncate(length: number): Promise<void>;
  /** Once, and nothing is done to the file after that: both are assertions, because its descriptor may be another file's by then. */
  close(): Promise<void>;
}
