/** One row that a batch writes; null deletes it. */
export interface RowChange {
  readonly key: Buffer;
  readonly value: Buffer | null;
}

/**
 * What the entries of one engine batch did to a shard's rows and sessions up to some entry. A checksum is of the
 * state right after its entry, which no engine view shows: the engine holds what came before the batch, and after it
 * what the batch's later entries did, too. View and changes together are that state.
 */
export class RowChanges {
  /** Index that the shard had applied before the batch. */
  readonly baseIndex: number;
  private readonly byKey: Map<string, RowChange>;

  constructor(baseIndex: number, byKey: ReadonlyMap<string, RowChange> = new Map<string, RowChange>()) {
    this.baseIndex = baseIndex;
    this.byKey = new Map(byKey);
  }

  note(key: Buffer, value: Buffer | null): void {
    // latin1 gives each byte string its own JavaScript string.
    this.byKey.set(key.toString('latin1'), { key, value });
  }

  /** As of now: later notes do not change it. */
  copy(): RowChanges {
    return new RowChanges(this.baseIndex, this.byKey);
  }

  /** The changes in [start, end), ascending. */
  within(start: Buffer, end: Buffer): RowChange[] {
    const found = [...this.byKey.values()].filter(
      ({ key }) => Buffer.compare(key, start) >= 0 && Buffer.compare(key, end) < 0,
    );
    return found.sort((a, b) => Buffer.compare(a.key, b.key));
  }
}
