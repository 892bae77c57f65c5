import type { Disk } from '../src/base/disk.js';
import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { Engine } from '../src/engine/engine.js';
import type { RaftLog } from '../src/raftlog/raft_log.js';
import { diskWatchMs } from './limits.js';

export interface DiskWatchParts {
  readonly disk: Disk;
  readonly engine: Engine;
  readonly raftLog: RaftLog;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly dataDirectory: string;
  readonly diskReserveBytes: number;
}

/**
 * How much of the reserve is left: `full` below all of it, `critical` below half of it.
 *
 *   full       clients' writes are refused, and snapshots; deletes, reads, membership changes and what leaders elsewhere send go on
 *   critical   entries of leaders elsewhere are not taken either; the rest is for votes, deletes, compaction and opening again
 */
export type DiskRoom = 'enough' | 'full' | 'critical';

/** Looks at the free space now and then. What was refused is taken again by itself once there is room. */
export class DiskWatch {
  totalBytes = 0;
  usedBytes = 0;
  private readonly parts: DiskWatchParts;
  private readonly setRoom: (room: DiskRoom) => void;
  private timer: TimerHandle | null = null;
  private room: DiskRoom = 'enough';

  constructor(parts: DiskWatchParts, setRoom: (room: DiskRoom) => void) {
    this.parts = parts;
    this.setRoom = setRoom;
  }

  async start(): Promise<void> {
    await this.look();
    this.timer = this.parts.runtime.every(diskWatchMs, () => {
      this.look().catch((error: unknown) => {
        if (this.timer !== null) this.parts.logger.warn({ err: error }, 'cannot tell how full the disk is');
      });
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private async look(): Promise<void> {
    const { disk, engine, raftLog, logger, dataDirectory, diskReserveBytes } = this.parts;
    const { freeBytes, totalBytes } = await disk.space(dataDirectory);
    this.totalBytes = totalBytes;
    const log = raftLog.stats();
    this.usedBytes = (await engine.diskBytes()) + log.diskBytes;
    const reserveLeft = freeBytes / Math.max(1, diskReserveBytes);
    const scarce = diskReserveBytes > 0 && reserveLeft < this.limit(1, 'full');
    const critical = diskReserveBytes > 0 && reserveLeft < this.limit(0.5, 'critical');
    const room = critical ? 'critical' : scarce || log.underPressure ? 'full' : 'enough';
    if (room === this.room) return;
    this.room = room;
    if (scarce) logger.error({ room, freeBytes, diskReserveBytes }, 'the disk is nearly full: writes are refused');
    else if (room === 'full') {
      const { diskBytes, diskBytesMax, liveBytes } = log;
      logger.error({ diskBytes, diskBytesMax, liveBytes }, 'the Raft log is near its size bound: writes are refused');
    } else logger.info({ freeBytes }, 'the disk has room again');
    this.setRoom(room);
  }

  /** A little hysteresis, so that a disk at a limit does not flap. */
  private limit(share: number, room: DiskRoom): number {
    const within = this.room === room || this.room === 'critical';
    return within ? share * 1.1 : share;
  }
}
