import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A store's data directory:
 *
 *     identity     JSON: format version, cluster id, store id, directory id, starts so far
 *     lock         pid of the process that has it open
 *     raftlog/ engine/ staging/
 *
 * Opening it refuses a directory that another living process has open, one of another format
 * version, and one that does not look like a store's.
 */
export const directoryFormatVersion = 1;

export interface Identity {
  readonly formatVersion: number;
  /** 0: not registered yet. */
  readonly clusterId: number;
  readonly storeId: number;
  /** Random, made once, so that a repeated registration finds its id again. */
  readonly directoryId: string;
  /** Grows with every start. */
  readonly incarnation: number;
}

/** The directory cannot be used; the message says why and what to do. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError';
}

/** A living process has the directory open. */
export class DataDirectoryInUseError extends DataDirectoryError {}

export class DataDirectory {
  readonly path: string;
  private current: Identity;

  private constructor(path: string, identity: Identity) {
    this.path = path;
    this.current = identity;
  }

  /** Opens a directory, or makes one, and counts the start. */
  static open(path: string): DataDirectory {
    mkdirSync(path, { recursive: true });
    lock(path);
    try {
      const known = readIdentity(path);
      const fresh = {
        formatVersion: directoryFormatVersion,
        clusterId: 0,
        storeId: 0,
        directoryId: randomUUID(),
        incarnation: 0,
      };
      const directory = new DataDirectory(path, known ?? fresh);
      directory.update({ incarnation: directory.identity.incarnation + 1 });
      return directory;
    } catch (error) {
      unlinkSync(join(path, 'lock'));
      throw error;
    }
  }

  get identity(): Identity {
    return this.current;
  }

  get raftLogPath(): string {
    return join(this.path, 'raftlog');
  }

  get enginePath(): string {
    return join(this.path, 'engine');
  }

  get stagingPath(): string {
    return join(this.path, 'staging');
  }

  /** Writes a changed identity; it is on disk when this returns. */
  update(change: Partial<Identity>): void {
    this.current = { ...this.current, ...change };
    writeSynced(this.path, 'identity', `${JSON.stringify(this.current, null, 2)}\n`);
  }

  /** Lets others open the directory. */
  close(): void {
    unlinkSync(join(this.path, 'lock'));
  }
}

/**
 * Reads a directory's identity without opening it: nothing in it changes, the lock included. null: it never had one.
 * @throws DataDirectoryInUseError when a living process has it open; DataDirectoryError when its identity is damaged or of another format version
 */
export function peekDataDirectory(path: string): Identity | null {
  const holder = readHolder(join(path, 'lock'));
  if (holder !== null && (isAlive(holder) || holder.pid === process.pid)) {
    throw new DataDirectoryInUseError(`data directory ${path} is in use by process ${holder.pid}: stop it first`);
  }
  return readIdentity(path);
}

function readIdentity(path: string): Identity | null {
  let text: string;
  try {
    text = readFileSync(join(path, 'identity'), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new DataDirectoryError(`cannot read ${join(path, 'identity')}: ${(error as Error).message}`);
  }
  const identity = parseIdentity(text);
  if (identity === null) {
    throw new DataDirectoryError(
      `${join(path, 'identity')} is damaged: restore it, or start with an empty data directory`,
    );
  }
  if (identity.formatVersion !== directoryFormatVersion) {
    throw new DataDirectoryError(
      `data directory ${path} has format version ${identity.formatVersion}; this program reads version ${directoryFormatVersion}`,
    );
  }
  return identity;
}

function parseIdentity(text: string): Identity | null {
  try {
    const { formatVersion, clusterId, storeId, directoryId, incarnation } = JSON.parse(text) as Partial<Identity>;
    const numbers = [formatVersion, clusterId, storeId, incarnation];
    if (!numbers.every((n) => Number.isSafeInteger(n)) || typeof directoryId !== 'string') return null;
    return { formatVersion, clusterId, storeId, directoryId, incarnation } as Identity;
  } catch {
    // Not JSON: damaged, which the caller says.
    return null;
  }
}

function writeSynced(directory: string, name: string, content: string): void {
  const temporary = join(directory, `${name}.new`);
  const file = openSync(temporary, 'w');
  try {
    writeSync(file, content);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, join(directory, name));
  const handle = openSync(directory, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Takes the lock file, also from a process that is gone (its pid is free, or now belongs to a process that started later). */
function lock(directory: string): void {
  const path = join(directory, 'lock');
  for (;;) {
    try {
      const file = openSync(path, 'wx');
      try {
        writeSync(file, `${process.pid} ${startOf(process.pid)}\n`);
      } finally {
        closeSync(file);
      }
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = readHolder(path);
    if (holder !== null && isAlive(holder)) {
      throw new DataDirectoryInUseError(
        `data directory ${directory} is in use by process ${holder.pid}: stop it, or use another directory`,
      );
    }
    try {
      unlinkSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

interface Holder {
  readonly pid: number;
  readonly start: string;
}

function readHolder(path: string): Holder | null {
  try {
    const [pid = '', start = ''] = readFileSync(path, 'utf8').trim().split(' ');
    return Number.isSafeInteger(Number(pid)) && Number(pid) > 0 ? { pid: Number(pid), start } : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function isAlive({ pid, start }: Holder): boolean {
  // Our own pid can stand there only from an earlier life of the machine or container, or from this process itself.
  if (pid === process.pid) return start !== '' && start === startOf(pid) && start !== 'unknown';
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = startOf(pid);
  return start === 'unknown' || now === 'unknown' || now === start;
}

/** When a process started, in the kernel's ticks since boot; `unknown` where the system does not say. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; field 22 of the line is the 20th after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
