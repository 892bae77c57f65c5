import type { RaftSettings } from '../raft/config.js';
import type { ApplyLoop } from './apply_loop.js';
import type { AwakeSet } from './awake_set.js';
import type { HostContext } from './context.js';
import type { HostLiveness } from './host_liveness.js';
import type { LogWriter } from './log_writer.js';
import type { Outbox } from './outbox.js';
import type { SnapshotInstaller } from './snapshot_installer.js';
import type { SnapshotSender } from './snapshot_sender.js';
import type { Turn } from './turn.js';

/** The host's parts that a peer hands its work to. */
export interface PeerParts {
  readonly host: HostContext;
  readonly settings: RaftSettings;
  readonly turn: Turn;
  readonly writer: LogWriter;
  readonly outbox: Outbox;
  readonly apply: ApplyLoop;
  readonly installer: SnapshotInstaller;
  readonly sender: SnapshotSender;
  readonly awake: AwakeSet;
  readonly liveness: HostLiveness;
  /** A context that no other read round has. */
  nextReadContext(): number;
}
