import type { Disk } from '../base/disk.js';
import type { SnapshotHeadInfo, SnapshotSink } from '../transport/transport.js';
import { isRunning, type HostContext } from './context.js';
import type { SnapshotInstaller } from './snapshot_installer.js';
import type { Peer } from './peer.js';
import { StagedFileWriter } from './staging.js';

/** Why a snapshot is not taken; goes back to its sender. */
export class SnapshotRefusedError extends Error {
  override readonly name = 'SnapshotRefusedError';
}

/** Finds the peer that a snapshot is for, making one where the store wants it. */
export type PeerFor = (fromHost: number, head: SnapshotHeadInfo) => Peer | null;

/**
 * Stages incoming snapshots on disk, and gives each to its group's core once it is whole and synced. One
 * per group and a few per host at a time.
 */
export class SnapshotReceiver {
  private readonly host: HostContext;
  private readonly disk: Disk;
  private readonly directory: string;
  private readonly installer: SnapshotInstaller;
  private readonly peerFor: PeerFor;
  private readonly receiving = new Set<number>();
  private count = 0;

  constructor(host: HostContext, disk: Disk, directory: string, installer: SnapshotInstaller, peerFor: PeerFor) {
    this.host = host;
    this.disk = disk;
    this.directory = directory;
    this.installer = installer;
    this.peerFor = peerFor;
  }

  /** @throws SnapshotRefusedError when this host does not want it, or not now */
  async receive(fromHost: number, head: SnapshotHeadInfo): Promise<SnapshotSink> {
    const { groupId, message, descriptor, formatVersion } = head;
    const meta = message.snapshot;
    if (!isRunning(this.host)) throw new SnapshotRefusedError('the host is closing');
    if (meta === null) throw new SnapshotRefusedError('a snapshot without its position');
    if (this.receiving.has(groupId)) throw new SnapshotRefusedError('another snapshot of the group is being received');
    if (this.receiving.size >= this.host.options.limits.snapshotsReceiving) {
      throw new SnapshotRefusedError('too many snapshots are being received');
    }
    this.checkWanted(fromHost, head);
    this.receiving.add(groupId);
    try {
      this.count++;
      const name = `${String(groupId)}-${String(meta.index)}-${String(meta.term)}-${String(this.count)}.staged`;
      const header = { groupId, replicaId: message.to, meta, descriptor, formatVersion };
      const writer = await StagedFileWriter.create(this.disk, this.directory, name, header);
      return this.sinkOf(fromHost, head, writer);
    } catch (error) {
      this.receiving.delete(groupId);
      throw error;
    }
  }

  private sinkOf(fromHost: number, head: SnapshotHeadInfo, writer: StagedFileWriter): SnapshotSink {
    return {
      write: (chunk, crc32) => writer.write(chunk, crc32),
      finish: async () => {
        try {
          const staged = await writer.finish();
          const snapshot = { head, staged };
          try {
            this.checkWanted(fromHost, head).deliverSnapshot(fromHost, snapshot);
          } catch (error) {
            this.installer.discard(snapshot);
            throw error;
          }
        } finally {
          this.receiving.delete(head.groupId);
        }
      },
      abort: async () => {
        this.receiving.delete(head.groupId);
        await writer.abort();
      },
    };
  }

  private checkWanted(fromHost: number, head: SnapshotHeadInfo): Peer {
    if (!isRunning(this.host)) throw new SnapshotRefusedError('the host is closing');
    const peer = this.peerFor(fromHost, head);
    if (peer === null) throw new SnapshotRefusedError('the group is not here');
    if (peer.replicaId !== head.message.to) throw new SnapshotRefusedError('the snapshot is for another replica');
    if (peer.term() > head.message.term) throw new SnapshotRefusedError('the snapshot comes from an earlier term');
    const readVersion = peer.stateMachine.snapshotFormatVersion;
    if (head.formatVersion !== readVersion) {
      throw new SnapshotRefusedError(
        `the snapshot has format version ${String(head.formatVersion)}; this host reads ${String(readVersion)}`,
      );
    }
    if (peer.hasSnapshot) throw new SnapshotRefusedError('a snapshot is being installed');
    if (this.host.callbacks.acceptSnapshot?.(head.groupId, head) === false) {
      throw new SnapshotRefusedError('the snapshot overlaps another replica');
    }
    return peer;
  }
}
