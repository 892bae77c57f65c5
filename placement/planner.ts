import type { Logger } from '../src/base/logger.js';
import type { StoreCommand } from '../src/gen/skerry/v1/placement.js';
import { checkShard } from './checkers/check_shard.js';
import type { ClusterView } from './cluster_view.js';
import { checksPerTickMax, patrolPerTickMax, retriesPerTickMax } from './limits.js';
import type { MoveLimits } from './move_limits.js';
import { limitReached } from './move_limits.js';
import { OperatorController } from './operators/controller.js';
import type { IdPool } from './operators/id_pool.js';
import type { Operator } from './operators/operator.js';
import { effectOf } from './operators/operator.js';
import { OperatorTable } from './operators/operator_table.js';
import { balanceLeaders } from './schedulers/balance_leaders.js';
import { balanceReplicas } from './schedulers/balance_replicas.js';
import { evictLeaders } from './schedulers/evict_leaders.js';
import type { Scheduler } from './schedulers/scheduler.js';
import type { StoreLoads } from './store_loads.js';
import { addInFlight, storeLoads } from './store_loads.js';

export interface PlannerOptions {
  readonly view: ClusterView;
  readonly ids: IdPool;
  readonly limits: MoveLimits;
  readonly logger: Logger;
  /** False: schedulers rest (switched off, or outside of the balance windows). Repairs go on. */
  readonly mayBalance: () => boolean;
  readonly send: (storeId: number, command: StoreCommand) => void;
  readonly finished: (operator: Operator) => void;
}

/** Repairs come first; of the schedulers, the cheap ones. */
const repairSchedulers: readonly Scheduler[] = [evictLeaders];
const balanceSchedulers: readonly Scheduler[] = [balanceReplicas, balanceLeaders];

/**
 * Decides what to do next: shards that changed are checked soon, all shards are checked in turn, and schedulers look at
 * the whole. Pure: the view tells the time, commands go out through `send`.
 *
 *   reports ─▶ view ─┬─▶ shards to check ─▶ checkers ──┐
 *                    └─▶ schedulers ───────────────────┴─▶ operators ─▶ commands to stores
 */
export class Planner {
  readonly table = new OperatorTable();
  readonly controller: OperatorController;
  private readonly options: PlannerOptions;
  private readonly toCheck = new Set<number>();
  private patrol: IterableIterator<{ readonly shardId: number }> | null = null;
  /** Shards whose repair waits for a limit. */
  private readonly waiting = new Set<number>();
  private readonly blockedReasons = new Map<number, string>();
  private readonly downStores = new Set<number>();

  constructor(options: PlannerOptions) {
    this.options = options;
    const { view, ids, send, finished } = options;
    this.controller = new OperatorController({
      view,
      ids,
      send,
      table: this.table,
      finished: (operator) => {
        this.toCheck.add(operator.plan.shardId);
        finished(operator);
      },
    });
  }

  /** Why a shard that needs repair is not repaired; undefined: nothing holds it back. */
  blockedReason(shardId: number): string | undefined {
    return this.blockedReasons.get(shardId);
  }

  get blockedCount(): number {
    return this.blockedReasons.size;
  }

  /** A report came, or the descriptor changed. */
  shardChanged(shardId: number): void {
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
    this.blockedReasons.delete(shardId);
  }

  /** Drives operators, then checks shards, as many as a tick may take. */
  tick(): void {
    const { view } = this.options;
    this.controller.tick();
    if (!view.isSettled()) return;
    this.noticeDownStores();
    this.takeWaiting();
    this.fillFromPatrol();
    const loads = storeLoads(view, this.table);
    let left = checksPerTickMax;
    for (const shardId of this.toCheck) {
      if (left-- === 0) break;
      this.toCheck.delete(shardId);
      this.check(shardId, loads);
    }
  }

  /** One round of the schedulers. */
  schedule(): void {
    if (!this.options.view.isSettled()) return;
    this.run(repairSchedulers);
    if (this.options.mayBalance()) this.run(balanceSchedulers);
  }

  private run(schedulers: readonly Scheduler[]): void {
    const { view, limits } = this.options;
    for (const scheduler of schedulers) {
      const loads = storeLoads(view, this.table);
      for (const plan of scheduler.schedule({ view, operators: this.table, limits, loads })) {
        if (!this.controller.admit(plan).ok) return;
      }
    }
  }

  private check(shardId: number, loads: StoreLoads): void {
    const { view, limits } = this.options;
    const shard = view.state.shard(shardId);
    if (shard === undefined || view.state.keyspace(shard.keyspaceId)?.phase !== 'ready') return;
    if (this.table.onShard(shardId) !== undefined) return;
    const result = checkShard(view, shard, loads);
    if (result.kind === 'blocked') {
      this.blockedReasons.set(shardId, result.reason);
      return;
    }
    this.blockedReasons.delete(shardId);
    if (result.kind === 'sound') return;
    const limit = limitReached(result.plan, loads, limits);
    if (limit !== null) {
      this.waiting.add(shardId);
      this.blockedReasons.set(shardId, `${result.plan.reason}; waiting for ${limit}`);
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
