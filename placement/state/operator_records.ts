import { assert } from '../../src/base/assert.js';
import { operatorHistoryMax, recordedOperatorsMax } from '../limits.js';
import type { ShardTarget } from './records.js';

/** The present format of a record. A later one may have steps that this version does not know. */
export const operatorRecordFormat = 1;

/**
 * An operator as the placement group keeps it, so that the next leader goes on with it (operators/operator_journal.ts says
 * which ones, and operators/operator_record.ts what the fields mean; the state only keeps them). Times are of the wall
 * clock of the member that led: for people, and for rests that outlive a leader.
 */
export interface OperatorRecord {
  readonly format: number;
  readonly operatorId: number;
  readonly shardId: number;
  readonly kind: string;
  readonly source: string;
  /** Why it was made. */
  readonly planReason: string;
  readonly steps: readonly unknown[];
  readonly currentStep: number;
  readonly state: string;
  /** Why it was made; once it ended, why it ended. */
  readonly reason: string;
  readonly createdAtWallMs: number;
  /** 0: it runs. */
  readonly endedAtWallMs: number;
  /** A merge that is given up, and what the operator ends with. Absent: it goes ahead, or ended. */
  readonly takingBack?: { readonly to: 'canceled' | 'timeout'; readonly why: string };
  /** What the shard gets back as its target unless the operator succeeds (voters 0: none). Absent: the operator changes none. */
  readonly targetBefore?: Pick<ShardTarget, 'voters' | 'learnerStoreIds'>;
}

/** Operators that run, and the last that ended. Both bounded; an operator that ended does not begin again. */
export class OperatorRecords {
  private readonly runningById = new Map<number, OperatorRecord>();
  private readonly endedById = new Map<number, OperatorRecord>();

  get runningCount(): number {
    return this.runningById.size;
  }

  get endedCount(): number {
    return this.endedById.size;
  }

  get isFull(): boolean {
    return this.runningById.size >= recordedOperatorsMax;
  }

  get(operatorId: number): OperatorRecord | undefined {
    return this.runningById.get(operatorId) ?? this.endedById.get(operatorId);
  }

  isRunning(operatorId: number): boolean {
    return this.runningById.has(operatorId);
  }

  /** By id, which is the order in which they were made. */
  running(): OperatorRecord[] {
    return byId(this.runningById);
  }

  ended(): OperatorRecord[] {
    return byId(this.endedById);
  }

  /** One that runs and is as the record says now. False: it ended already, or there is no room for it. */
  put(record: OperatorRecord): boolean {
    assert(record.endedAtWallMs === 0, 'an operator that ended goes into the history');
    if (this.endedById.has(record.operatorId)) return false;
    if (!this.runningById.has(record.operatorId) && this.isFull) return false;
    this.runningById.set(record.operatorId, record);
    return true;
  }

  /** One that ended. The ids of those that leave the history for it. False: it was known to have ended. */
  end(record: OperatorRecord): readonly number[] | false {
    if (this.endedById.has(record.operatorId)) return false;
    this.runningById.delete(record.operatorId);
    this.endedById.set(record.operatorId, record);
    const dropped: number[] = [];
    while (this.endedById.size > operatorHistoryMax) {
      // By id and not by when they came, because rows are loaded by id: every member drops the same one.
      const oldest = Math.min(...this.endedById.keys());
      this.endedById.delete(oldest);
      dropped.push(oldest);
    }
    return dropped;
  }

  /** A loaded row. */
  restore(record: OperatorRecord): void {
    (record.endedAtWallMs === 0 ? this.runningById : this.endedById).set(record.operatorId, record);
  }
}

function byId(records: ReadonlyMap<number, OperatorRecord>): OperatorRecord[] {
  return [...records.values()].sort((a, b) => a.operatorId - b.operatorId);
}
