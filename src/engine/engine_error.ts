/**
 * Why an engine call failed.
 *
 *   unsupported  this platform has no RocksDB binary, or the processor is too old for it
 *   locked       another process has the directory open
 *   corruption   a file is damaged; packed rows are not whole or not of their range
 *   io           the file system said no (full disk, failed sync, missing rights)
 *   closed       the engine or view was closed
 *   busy         too many reads are waiting or loaders are open; try again later
 *   tooManyViews openViewsMax views are open
 *   tooLarge     the values of one getMany exceed getManyBytesMax
 *   stalled      writes were issued far faster than the engine takes them (writeBacklogBytesMax); fatal
 *   died         the storage thread ended by itself; fatal
 */
export type EngineErrorCode =
  'unsupported' | 'locked' | 'corruption' | 'io' | 'closed' | 'busy' | 'tooManyViews' | 'tooLarge' | 'stalled' | 'died';

/** Every rejection of an engine. `fatal`: the engine has latched it and takes no more calls but close(). */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: EngineErrorCode;
  readonly fatal: boolean;

  constructor(code: EngineErrorCode, message: string, options: { fatal?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fatal = options.fatal ?? false;
  }
}
