import type { Epoch } from '../../src/gen/skerry/v1/meta.js';
import type { ShardRecord } from './records.js';

/** A shard that lost its majority for good, and the replica that was chosen to go on alone. */
export interface RecoveryRecord {
  readonly shardId: number;
  readonly replicaId: number;
  readonly storeId: number;
  /** The shard's epoch from then on. */
  readonly epoch: Epoch;
  readonly term: number;
}

/**
 * Recoveries under way. The choice is made once and agreed on before the store hears of it: two replicas of one shard
 * that both went on alone would be two shards with the same keys.
 */
export class RecoveryTable {
  private readonly byShard = new Map<number, RecoveryRecord>();

  get size(): number {
    return this.byShard.size;
  }

  get(shardId: number): RecoveryRecord | undefined {
    return this.byShard.get(shardId);
  }

  /** In the order in which they were asked for. */
  all(): IterableIterator<RecoveryRecord> {
    return this.byShard.values();
  }

  put(record: RecoveryRecord): void {
    this.byShard.set(record.shardId, record);
  }

  /** True when the shard's descriptor shows that its recovery has ended. */
  settle({ shardId, epoch }: Pick<ShardRecord, 'shardId' | 'epoch'>): boolean {
    const record = this.byShard.get(shardId);
    return record !== undefined && epoch.confVer >= record.epoch.confVer && this.byShard.delete(shardId);
  }
}
