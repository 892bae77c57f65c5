import type { Logger } from '../src/base/logger.js';
import type { StoreCommand } from '../src/gen/skerry/v1/placement.js';
import { CheckContext } from './checkers/check_context.js';
import { checkShard } from './checkers/check_shard.js';
import type { Want } from './checkers/check_result.js';
import type { ClusterView } from './cluster_view.js';
import { checksPerTickMax, patrolPerTickMax, retriesPerTickMax } from './limits.js';
import type { Hindrance } from './hindrance.js';
import { describeHindrance } from './hindrance.js';
import type { MoveLimits } from './move_limits.js';
import { checkLimitReached } from './move_limits.js';
import { OperatorController } from './operators/controller.js';
import type { IdPool } from './operators/id_pool.js';
import type { Operator } from './operators/operator.js';
import { effectOf, isMerge } from './operators/operator.js';
import { OperatorTable } from './operators/operator_table.js';
import { balanceLeaders } from './schedulers/balance_leaders.js';
import { balanceReplicas } from './schedulers/balance_replicas.js';
import { Cursors } from './schedulers/cursors.js';
import { evictLeaders } from './schedulers/evict_leaders.js';
import { hotShards } from './schedulers/hot_shards.js';
import { scatterKeyspaces } from './schedulers/scatter_keyspaces.js';
import type { Scheduler, SchedulerContext } from './schedulers/scheduler.js';
import type { ShardSizes } from './shard_sizes.js';
import { addInFlight, storeLoads } from './store_loads.js';
import type { WhyContext } from './why.js';

export interface PlannerOptions {
  readonly view: ClusterView;
  readonly ids: IdPool;
  readonly limits: MoveLimits;
  readonly sizes: ShardSizes;
  readonly logger: Logger;
  /** Why schedulers rest (switched off, or outside of the balance windows); null: they do not. Repairs go on. */
  readonly balanceHindrance: () => Hindrance | null;
  readonly send: (storeId: number, command: StoreCommand) => void;
  /** See ControllerOptions. */
  readonly progressed?: (operator: Operator) => void;
  readonly finished: (operator: Operator) => void;
}

/** Repairs come first; of the schedulers, the cheap ones. */
const repairSchedulers: readonly Scheduler[] = [evictLeaders];
const balanceSchedulers: readonly Scheduler[] = [balanceReplicas, balanceLeaders, hotShards, scatterKeyspaces];

/** A shard that needs something and does not get it. */
export interface Blocked {
  readonly wants: Want;
  readonly hindrance: Hindrance;
}

/**
 * Decides what to do next: shards that changed are checked soon, all shards are checked in turn, and schedulers look at
 * the whole. Pure: the view tells the time, commands go out through `send`.
 *
 *   reports ─▶ view ─┬─▶ shards to check ─▶ checkers ──┐
 *                    └─▶ schedulers ───────────────────┴─▶ operators ─▶ commands to stores
 */
export class Planner {
  readonly table: OperatorTable;
  readonly controller: OperatorController;
  private readonly options: PlannerOptions;
  private readonly toCheck = new Set<number>();
  private patrol: IterableIterator<{ readonly shardId: number }> | null = null;
  /** Shards whose repair waits for a limit. */
  private readonly waiting = new Set<number>();
  private readonly blocked = new Map<number, Blocked>();
  private readonly cursors = new Cursors();
  private readonly downStores = new Set<number>();

  constructor(options: PlannerOptions) {
    this.options = options;
    this.table = new OperatorTable(options.sizes.restMs);
    const { view, ids, send, progressed, finished } = options;
    this.controller = new OperatorController({
      view,
      ids,
      send,
      table: this.table,
      ...(progressed === undefined ? {} : { progressed }),
      finished: (operator) => {
        this.toCheck.add(operator.plan.shardId);
        finished(operator);
      },
    });
  }

  /** What every part of placement wants now, and what holds it back (why.ts). */
  whyContext(): WhyContext {
    const hindrance: Hindrance | null = this.options.view.isSettled() ? null : { kind: 'unsettled' };
    return {
      checks: this.checkContext(),
      scheduling: this.schedulerContext(),
      balance: hindrance ?? this.options.balanceHindrance(),
      blockedOn: (shardId) => this.blocked.get(shardId),
    };
  }

  /** Why a shard that needs something does not get it; undefined: nothing holds it back. */
  blockedOn(shardId: number): Blocked | undefined {
    return this.blocked.get(shardId);
  }

  /** The same for people. */
  blockedReason(shardId: number): string | undefined {
    const found = this.blocked.get(shardId);
    if (found === undefined) return undefined;
    return `${found.wants.reason}; ${describeHindrance(found.hindrance, this.options.view.nowMs)}`;
  }

  get blockedCount(): number {
    return this.blocked.size;
  }

  /** A report came, or the descriptor changed. */
  shardChanged(shardId: number): void {
    this.options.view.shardChanged(shardId);
    this.controller.shardChanged(shardId);
    if (this.table.onShard(shardId) === undefined) this.toCheck.add(shardId);
  }

  /** A store's state changed: its shards are looked at before the patrol comes around to them. */
  storeChanged(storeId: number): void {
    for (const shardId of this.options.view.state.shardIdsOn(storeId)) this.toCheck.add(shardId);
  }

  shardGone(shardId: number): void {
    this.toCheck.delete(shardId);
    this.waiting.delete(shardId);
    this.blocked.delete(shardId);
  }

  /** Drives operators, then checks shards, as many as a tick may take. */
  tick(): void {
    const { view } = this.options;
    this.controller.tick();
    if (!view.isSettled()) return;
    this.noticeDownStores();
    this.takeWaiting();
    this.fillFromPatrol();
    const context = this.checkContext();
    let left = checksPerTickMax;
    for (const shardId of this.toCheck) {
      if (left-- === 0) break;
      this.toCheck.delete(shardId);
      this.check(shardId, context);
    }
  }

  /** One round of the schedulers. */
  schedule(): void {
    if (!this.options.view.isSettled()) return;
    this.run(repairSchedulers);
    if (this.options.balanceHindrance() === null) this.run(balanceSchedulers);
  }

  private run(schedulers: readonly Scheduler[]): void {
    for (const scheduler of schedulers) {
      for (const plan of scheduler.schedule(this.schedulerContext()).plans) {
        if (!this.controller.admit(plan).ok) return;
      }
    }
  }

  private checkContext(): CheckContext {
    const { view, sizes } = this.options;
    return new CheckContext(view, storeLoads(view, this.table), this.table, sizes);
  }

  private schedulerContext(): SchedulerContext {
    const { view, limits } = this.options;
    this.cursors.refill();
    return { view, operators: this.table, limits, loads: storeLoads(view, this.table), cursors: this.cursors };
  }

  private check(shardId: number, context: CheckContext): void {
    const { view, loads } = context;
    const shard = view.state.shard(shardId);
    if (shard === undefined || view.state.keyspace(shard.keyspaceId)?.phase !== 'ready') return;
    if (this.table.onShard(shardId) !== undefined) return;
    const result = checkShard(context, shard);
    if (result.kind === 'blocked') {
      this.blocked.set(shardId, result);
      return;
    }
    this.blocked.delete(shardId);
    if (result.kind !== 'plan') return;
    const { kind, reason } = result.plan;
    const hindrance = checkLimitReached(result.plan, loads, this.options.limits, this.table);
    // Nothing is wrong with a shard that could be merged: the patrol comes by again.
    if (hindrance !== null && isMerge(result.plan)) return;
    if (hindrance !== null) {
      this.waiting.add(shardId);
      this.blocked.set(shardId, { wants: { kind, reason }, hindrance });
      return;
    }
    if (this.controller.admit(result.plan).ok) addInFlight(loads, view, shardId, effectOf(result.plan.steps));
  }

  private noticeDownStores(): void {
    const { view, logger } = this.options;
    for (const store of view.state.stores()) {
      const down = store.state !== 'tombstone' && view.isDown(store.storeId);
      if (down === this.downStores.has(store.storeId)) continue;
      if (down) {
        this.downStores.add(store.storeId);
        logger.warn({ storeId: store.storeId }, 'store is down; its replicas are rebuilt elsewhere');
        this.storeChanged(store.storeId);
      } else {
        this.downStores.delete(store.storeId);
      }
    }
  }

  /** Those that wait longest first: a Set keeps the order in which they came. */
  private takeWaiting(): void {
    let left = retriesPerTickMax;
    for (const shardId of this.waiting) {
      if (left-- === 0) break;
      this.waiting.delete(shardId);
      this.toCheck.add(shardId);
    }
  }

  private fillFromPatrol(): void {
    const { state } = this.options.view;
    let left = Math.min(patrolPerTickMax, checksPerTickMax - this.toCheck.size);
    if (left > 0) this.patrol ??= state.shards();
    while (left > 0 && this.patrol !== null) {
      const next = this.patrol.next();
      // The end of a pass ends this tick's share; iterators of a Map see changes, so a pass misses nothing.
      if (next.done === true) this.patrol = null;
      else this.toCheck.add(next.value.shardId);
      left--;
    }
  }
}
