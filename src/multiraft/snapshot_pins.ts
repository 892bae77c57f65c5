interface Pin {
  readonly index: number;
  /** Infinity while the snapshot is queued or on its way. */
  untilMs: number;
}

/**
 * Entries of one group that followers need after the snapshot that they are being given. Without
 * them a follower that took long to install would find them compacted and need the next snapshot, and so on.
 */
export class SnapshotPins {
  private pins: Map<number, Pin> | null = null;

  pin(replicaId: number, index: number): void {
    this.pins ??= new Map();
    this.pins.set(replicaId, { index, untilMs: Infinity });
  }

  /** The snapshot has arrived: kept until the follower has caught up or the time has come. */
  sent(replicaId: number, untilMs: number): void {
    const pin = this.pins?.get(replicaId);
    if (pin !== undefined) pin.untilMs = untilMs;
  }

  unpin(replicaId: number): void {
    this.pins?.delete(replicaId);
  }

  /** The lowest index whose followers may still be needed, Infinity if there is none. Forgets pins that are over. */
  lowest(nowMs: number, hasCaughtUp: (replicaId: number, index: number) => boolean): number {
    let lowest = Infinity;
    if (this.pins === null) return lowest;
    for (const [replicaId, pin] of this.pins) {
      const over = pin.untilMs <= nowMs || (pin.untilMs !== Infinity && hasCaughtUp(replicaId, pin.index));
      if (over) this.pins.delete(replicaId);
      else lowest = Math.min(lowest, pin.index);
    }
    return lowest;
  }
}
