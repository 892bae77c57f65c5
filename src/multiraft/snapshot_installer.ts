import type { Disk } from '../base/disk.js';
import type { SnapshotMeta } from '../raft/message.js';
import type { SnapshotHeadInfo } from '../transport/transport.js';
import type { HostContext } from './context.js';
import type { StagedSnapshot } from './host.js';
import type { Peer } from './peer.js';

/** A snapshot that is completely staged, with the message that the core decides about. */
export interface StagedForInstall {
  readonly head: SnapshotHeadInfo;
  readonly staged: StagedSnapshot;
}

/**
 * Installs staged snapshots and removes staged files.
 *
 * ORDER. The state machine first, durably; then the log's reset; then the acknowledgement. A crash between the
 * first two leaves an applied position beyond the log, which the group's next start sets right (prepare_log.ts).
 */
export class SnapshotInstaller {
  private readonly host: HostContext;
  private readonly disk: Disk;
  /** Files that are being removed; close() waits for them. */
  private readonly removing = new Set<Promise<void>>();

  constructor(host: HostContext, disk: Disk) {
    this.host = host;
    this.disk = disk;
  }

  /** Calls the state machine before it returns; `done` once the state machine has it on disk. */
  install(peer: Peer, meta: SnapshotMeta, snapshot: StagedForInstall, done: () => void): Promise<void> {
    const { descriptor } = snapshot.head;
    return peer.stateMachine.installSnapshot(meta, descriptor, snapshot.staged).then(
      () => {
        this.discard(snapshot);
        if (this.host.failed) return;
        this.host.counters.snapshotsReceived++;
        try {
          done();
        } catch (error) {
          this.host.fail(error);
        }
      },
      (error: unknown) => this.host.fail(error),
    );
  }

  /** Removes a staged file that is not needed any more. One that stays behind is removed by the store's next start. */
  discard(snapshot: StagedForInstall): void {
    const { path } = snapshot.staged;
    const removed = this.disk.unlink(path).catch((error: unknown) => {
      this.host.logger.warn({ err: error, path }, 'staged snapshot could not be removed');
    });
    this.removing.add(removed);
    void removed.then(() => this.removing.delete(removed));
  }

  async close(): Promise<void> {
    await Promise.all(this.removing);
  }
}
