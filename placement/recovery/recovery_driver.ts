import type { TypedError } from '../../src/base/wire_errors.js';
import type { StoreCommand } from '../../src/gen/skerry/v1/placement.js';
import { recoveriesPerTickMax, recoveryResendMs } from '../limits.js';
import type { ClusterState } from '../state/cluster_state.js';
import type { RecoveryRecord } from '../state/recovery_table.js';

export interface RecoveryDriverOptions {
  readonly state: () => ClusterState;
  readonly nowMs: () => number;
  readonly send: (storeId: number, command: StoreCommand) => void;
  readonly newId: () => number;
}

interface Sent {
  commandId: number;
  atMs: number;
  refusal: string;
}

/**
 * Tells the chosen replicas to go on alone, again and again until their shards' descriptors show that they did. Everything that it needs is in
 * the replicated state, so that a new placement leader goes on with it.
 */
export class RecoveryDriver {
  private readonly options: RecoveryDriverOptions;
  private readonly sent = new Map<number, Sent>();
  /** Where the last tick stopped, so that some that their stores refuse do not hold up the others. */
  private cursor: IterableIterator<RecoveryRecord> | null = null;

  constructor(options: RecoveryDriverOptions) {
    this.options = options;
  }

  tick(): void {
    const { state, nowMs, send, newId } = this.options;
    const { recoveries } = state();
    for (const shardId of this.sent.keys()) if (recoveries.get(shardId) === undefined) this.sent.delete(shardId);
    this.cursor ??= recoveries.all();
    for (let left = recoveriesPerTickMax; left > 0; left--) {
      const next = this.cursor.next();
      if (next.done === true) {
        this.cursor = null;
        return;
      }
      const { shardId, replicaId, storeId, epoch, term } = next.value;
      const before = this.sent.get(shardId);
      if (before !== undefined && nowMs() - before.atMs < recoveryResendMs) continue;
      const commandId = newId();
      this.sent.set(shardId, { commandId, atMs: nowMs(), refusal: before?.refusal ?? '' });
      const value = { shardId, replicaId, epoch: { ...epoch }, term };
      send(storeId, { commandId, command: { $case: 'forceReplica', value } });
    }
  }

  commandResult(commandId: number, error: TypedError | undefined): void {
    if (error === undefined) return;
    for (const sent of this.sent.values()) if (sent.commandId === commandId) sent.refusal = error.message;
  }

  /** What the shard's store said last; empty: nothing. */
  refusalOf(shardId: number): string {
    return this.sent.get(shardId)?.refusal ?? '';
  }
}
