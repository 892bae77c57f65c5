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

/** Looks at the free space now and then. Below the reserve the store refuses writes, so that it can still compact and open again. */
export class DiskWatch {
  totalBytes = 0;
  usedBytes = 0;
  private readonly parts: DiskWatchParts;
  private readonly setFull: (full: boolean) => void;
  private timer: TimerHandle | null = null;
  private full = false;

  constructor(parts: DiskWatchParts, setFull: (full: boolean) => void) {
    this.parts = parts;
    this.setFull = setFull;
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
    this.usedBytes = (await engine.diskBytes()) + raftLog.stats().diskBytes;
    // A little hysteresis, so that a disk at the limit does not flap.
    const full = freeBytes < (this.full ? diskReserveBytes * 1.1 : diskReserveBytes);
    if (full === this.full) return;
    this.full = full;
    if (full) logger.error({ freeBytes, diskReserveBytes }, 'the disk is nearly full: writes are refused');
    else logger.info({ freeBytes }, 'the disk has room again');
    this.setFull(full);
  }
}
