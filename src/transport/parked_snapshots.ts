import type { Logger } from '../base/logger.js';
import type { Runtime, TimerHandle } from '../base/runtime.js';
import { snapshotParkedMs, snapshotsParkedMax } from './limits.js';
import type { IncomingSnapshot } from './snapshot_receive.js';

interface Parked {
  readonly incoming: IncomingSnapshot;
  readonly timer: TimerHandle;
}

/**
 * Half-received snapshots whose stream broke. Each keeps what its sink has taken for snapshotParkedMs, so that its
 * sender, who keeps the same view of its state, need not begin again. One per group: another snapshot of the group,
 * of a new leader or of a sender that began again, throws it away. Past snapshotsParkedMax the oldest goes.
 */
export class ParkedSnapshots {
  private readonly runtime: Runtime;
  private readonly logger: Logger;
  /** By group, the oldest first. */
  private readonly parked = new Map<number, Parked>();
  /** Sinks that are being thrown away. */
  private readonly aborting = new Set<Promise<void>>();

  constructor(runtime: Runtime, logger: Logger) {
    this.runtime = runtime;
    this.logger = logger;
  }

  park(incoming: IncomingSnapshot): void {
    const { groupId, chunks } = incoming;
    this.drop(groupId, 'replaced');
    const timer = this.runtime.after(snapshotParkedMs, () => this.drop(groupId, 'its sender did not come back'));
    this.parked.set(groupId, { incoming, timer });
    this.logger.info({ groupId, chunks }, 'snapshot stream broke; what came is kept for a while');
    const [oldest] = this.parked.keys();
    if (this.parked.size > snapshotsParkedMax && oldest !== undefined) this.drop(oldest, 'too many are kept');
  }

  /** What there is of this snapshot, null if nothing. What there is of another one of its group is thrown away first. */
  async take(key: string, groupId: number): Promise<IncomingSnapshot | null> {
    const parked = this.parked.get(groupId);
    if (parked?.incoming.key === key) {
      parked.timer.cancel();
      this.parked.delete(groupId);
      return parked.incoming;
    }
    this.drop(groupId, 'another one came');
    await Promise.all(this.aborting);
    return null;
  }

  /** Throws everything away. */
  async close(): Promise<void> {
    for (const groupId of [...this.parked.keys()]) this.drop(groupId, 'the transport is closed');
    await Promise.all(this.aborting);
  }

  private drop(groupId: number, reason: string): void {
    const parked = this.parked.get(groupId);
    if (parked === undefined) return;
    parked.timer.cancel();
    this.parked.delete(groupId);
    const { incoming } = parked;
    this.logger.info({ groupId, chunks: incoming.chunks, reason }, 'half a snapshot is thrown away');
    const aborted = incoming.sink.abort().catch((error: unknown) => {
      this.logger.warn({ groupId, error: String(error) }, 'half a snapshot could not be removed');
    });
    this.aborting.add(aborted);
    void aborted.then(() => this.aborting.delete(aborted));
  }
}
