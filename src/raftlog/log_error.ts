/** What is wrong with a log, or why a call to it cannot be served. */
export type RaftLogErrorCode =
  /** The log was closed. */
  | 'closed'
  /** A write or a sync failed earlier; the process must end. */
  | 'failed'
  /** The log's files have reached their bound. Nothing was taken; compactions and drops make room. */
  | 'full'
  /** The directory to inspect holds no Raft log. */
  | 'noLog'
  /** A segment between the first one needed and the newest is not there. */
  | 'segmentMissing'
  /** A segment's file name, size or identity is not what its header says: renamed, cut, or of another log. */
  | 'segmentForeign'
  /** Both copies of a segment's header are damaged. */
  | 'segmentHeaderDamaged'
  /** Written by a version of Skerry that this one does not know. */
  | 'formatVersion'
  /** An entry's checksum does not fit what was read. */
  | 'entryDamaged'
  /** The entries asked for are not in the log. */
  | 'entriesGone';

/** An error of the Raft log. `code` is stable, the message is for people. */
export class RaftLogError extends Error {
  override readonly name = 'RaftLogError';
  readonly code: RaftLogErrorCode;

  constructor(code: RaftLogErrorCode, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}
