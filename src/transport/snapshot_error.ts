/**
 * Why a snapshot did not get through. `busy`: a limit on concurrent snapshots, here or there, try later.
 * `unreachable`: not connected. `refused`: the receiver said no or failed; its words are in the message.
 * `broken`: the stream ended early, or broke its rules. `timeout`: no progress. `source`: the sender could not
 * read it. `lost`: the stream broke and the receiver does not have what it had taken any more; a new snapshot is needed.
 * `closed`: the transport was closed.
 */
export type SnapshotErrorCode =
  'busy' | 'unreachable' | 'refused' | 'broken' | 'timeout' | 'source' | 'lost' | 'closed';

export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  readonly code: SnapshotErrorCode;

  constructor(code: SnapshotErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The stream ended before its snapshot, for no fault of either side's: the rest may go over another stream. */
export class SnapshotInterruptedError extends SnapshotError {
  constructor(message: string) {
    super('broken', message);
  }
}
