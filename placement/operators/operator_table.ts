import { assert } from '../../src/base/assert.js';
import { movedShardRestMs, operatorHistoryMax, transferredShardRestMs } from '../limits.js';
import type { Operator } from './operator.js';
import { effectOf, isFinished } from './operator.js';

/** Operators in flight, at most one per shard, and the last finished ones. */
export class OperatorTable {
  private readonly byShard = new Map<number, Operator>();
  private readonly byId = new Map<number, Operator>();
  private readonly finished: Operator[] = [];
  /** Until when shards that a scheduler has just moved, or whose leader it has, are left alone in that respect. */
  private readonly moveRests = new Map<number, number>();
  private readonly transferRests = new Map<number, number>();

  get size(): number {
    return this.byId.size;
  }

  running(): IterableIterator<Operator> {
    return this.byId.values();
  }

  onShard(shardId: number): Operator | undefined {
    return this.byShard.get(shardId);
  }

  byOperatorId(operatorId: number): Operator | undefined {
    return this.byId.get(operatorId);
  }

  /** Oldest first. */
  history(): readonly Operator[] {
    return this.finished;
  }

  add(operator: Operator): void {
    assert(!this.byShard.has(operator.plan.shardId), 'one operator per shard');
    this.byShard.set(operator.plan.shardId, operator);
    this.byId.set(operator.operatorId, operator);
  }

  finish(operator: Operator, nowMs: number): void {
    assert(isFinished(operator), 'only finished operators leave the table');
    this.byShard.delete(operator.plan.shardId);
    this.byId.delete(operator.operatorId);
    this.finished.push(operator);
    if (this.finished.length > operatorHistoryMax) this.finished.shift();
    if (operator.plan.source === 'scheduler') this.rest(operator, nowMs);
  }

  /** A scheduler may move the shard: nothing runs on it and it was not just moved. */
  mayMove(shardId: number, nowMs: number): boolean {
    return !this.byShard.has(shardId) && (this.moveRests.get(shardId) ?? -Infinity) <= nowMs;
  }

  /** A scheduler may transfer the shard's leader. */
  mayTransfer(shardId: number, nowMs: number): boolean {
    return !this.byShard.has(shardId) && (this.transferRests.get(shardId) ?? -Infinity) <= nowMs;
  }

  /** Drops rests that are over. */
  prune(nowMs: number): void {
    for (const rests of [this.moveRests, this.transferRests]) {
      // In order of time, since all rests of a kind are equally long.
      for (const [shardId, untilMs] of rests) {
        if (untilMs > nowMs) break;
        rests.delete(shardId);
      }
    }
  }

  private rest(operator: Operator, nowMs: number): void {
    const { shardId } = operator.plan;
    const moved = effectOf(operator.steps).adds.length > 0;
    const rests = moved ? this.moveRests : this.transferRests;
    rests.delete(shardId);
    rests.set(shardId, nowMs + (moved ? movedShardRestMs : transferredShardRestMs));
  }
}
