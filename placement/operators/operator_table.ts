import { assert } from '../../src/base/assert.js';
import type { Hindrance } from '../hindrance.js';
import { failedReshapeRestMs, movedShardRestMs, operatorHistoryMax, transferredShardRestMs } from '../limits.js';
import { shardSizesDefault } from '../shard_sizes.js';
import type { Operator } from './operator.js';
import { effectOf, isFinished, shardsOf } from './operator.js';

/** Operators in flight, at most one per shard, and the last finished ones. */
export class OperatorTable {
  private readonly byShard = new Map<number, Operator>();
  private readonly byId = new Map<number, Operator>();
  private readonly finished: Operator[] = [];
  /** Until when shards that a scheduler has just moved, or whose leader it has, are left alone in that respect. */
  private readonly moveRests = new Map<number, number>();
  private readonly transferRests = new Map<number, number>();
  /** The same for shards that were split or merged, by whomever. */
  private readonly reshapeRests = new Map<number, number>();
  private readonly reshapeRestMs: number;

  /** reshapeRestMs: how long a shard that was split or merged is left alone in that respect. */
  constructor(reshapeRestMs = shardSizesDefault.restMs) {
    this.reshapeRestMs = reshapeRestMs;
  }

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
    assert(!shardsOf(operator.plan).some((shardId) => this.byShard.has(shardId)), 'one operator per shard');
    for (const shardId of shardsOf(operator.plan)) this.byShard.set(shardId, operator);
    this.byId.set(operator.operatorId, operator);
  }

  finish(operator: Operator, nowMs: number): void {
    assert(isFinished(operator), 'only finished operators leave the table');
    for (const shardId of shardsOf(operator.plan)) this.byShard.delete(shardId);
    this.byId.delete(operator.operatorId);
    this.remember(operator, nowMs);
  }

  /** Takes one that ended into the history, and lets its shard rest from then on. */
  remember(operator: Operator, endedAtMs: number): void {
    this.finished.push(operator);
    if (this.finished.length > operatorHistoryMax) this.finished.shift();
    if (operator.plan.source === 'scheduler') this.rest(operator, endedAtMs);
    this.restReshaped(operator, endedAtMs);
  }

  /** Why a scheduler may not move the shard now: something runs on it or it was just moved. Null: it may. */
  moveHindrance(shardId: number, nowMs: number): Hindrance | null {
    return this.hindrance(shardId, this.moveRests, nowMs);
  }

  /** Why a scheduler may not transfer the shard's leader now. */
  transferHindrance(shardId: number, nowMs: number): Hindrance | null {
    return this.hindrance(shardId, this.transferRests, nowMs);
  }

  /** Why the shard may not be split or merged without being asked now. */
  reshapeHindrance(shardId: number, nowMs: number): Hindrance | null {
    return this.hindrance(shardId, this.reshapeRests, nowMs);
  }

  private hindrance(shardId: number, rests: ReadonlyMap<number, number>, nowMs: number): Hindrance | null {
    const operator = this.byShard.get(shardId);
    if (operator !== undefined) return { kind: 'operatorRunning', operatorId: operator.operatorId };
    const untilMs = rests.get(shardId) ?? -Infinity;
    return untilMs > nowMs ? { kind: 'resting', untilMs } : null;
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
    // These differ in length, and are few.
    for (const [shardId, untilMs] of this.reshapeRests) if (untilMs <= nowMs) this.reshapeRests.delete(shardId);
  }

  private rest(operator: Operator, nowMs: number): void {
    const { shardId } = operator.plan;
    const moved = effectOf(operator.steps).adds.length > 0;
    const rests = moved ? this.moveRests : this.transferRests;
    rests.delete(shardId);
    rests.set(shardId, nowMs + (moved ? movedShardRestMs : transferredShardRestMs));
  }

  /** Both halves of a split; what a store refused is tried again sooner. */
  private restReshaped({ plan, steps, state }: Operator, nowMs: number): void {
    const untilMs =
      nowMs + (state === 'success' ? this.reshapeRestMs : Math.min(failedReshapeRestMs, this.reshapeRestMs));
    for (const step of steps) {
      if (step.kind === 'mergeShards') for (const id of shardsOf(plan)) this.reshapeRests.set(id, untilMs);
      if (step.kind !== 'splitShard') continue;
      this.reshapeRests.set(plan.shardId, untilMs);
      this.reshapeRests.set(step.newShardId, untilMs);
    }
  }
}
