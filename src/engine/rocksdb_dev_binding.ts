import { EngineError } from './engine_error.js';

/** What the development engine uses of the package `rocksdb` 5.2.1 (an abstract-leveldown store; it has no types of its own). */
type Done = (error?: Error | null) => void;

export interface DevIterator {
  /** No key at the end. Not to be called before the last call is answered. */
  next(callback: (error: Error | null | undefined, key?: Buffer, value?: Buffer) => void): void;
  seek(target: Buffer): void;
  end(callback: Done): void;
}

export type DevOperation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer };

export interface DevDatabase {
  open(
    options: { createIfMissing: boolean; compression: boolean; cacheSize: number; writeBufferSize: number },
    callback: Done,
  ): void;
  close(callback: Done): void;
  batch(operations: readonly DevOperation[], options: { sync: boolean }, callback: Done): void;
  getMany(
    keys: readonly Buffer[],
    options: { asBuffer: boolean },
    callback: (error: Error | null | undefined, values?: (Buffer | undefined)[]) => void,
  ): void;
  /** Sees the database as it was when the iterator was made. */
  iterator(options: {
    gte?: Buffer;
    lt?: Buffer;
    reverse: boolean;
    values: boolean;
    highWaterMark: number;
  }): DevIterator;
}

type DevModule = (location: string) => DevDatabase;

/** Not a literal: the package is optional, and has no types. */
const packageName: string = 'rocksdb';

/** Loads the package; EngineError `unsupported` where it is not installed or has no binary for this system. */
export async function loadDevBinding(name = packageName): Promise<DevModule> {
  try {
    const module = (await import(name)) as { default: DevModule };
    return module.default;
  } catch (error) {
    const platform = `${process.platform}-${process.arch}`;
    const reason = error instanceof Error ? error.message : String(error);
    throw new EngineError(
      'unsupported',
      `the development engine cannot run on this ${platform} system: the optional package "${name}" could not be ` +
        `loaded (${reason}); install it, or use the default engine ("kind: rocksdb") where that has a binary`,
      { cause: error },
    );
  }
}
