import { must } from '../../src/base/assert.js';
import { silentLogger } from '../../src/base/logger.js';
import { Partitioning } from '../../src/gen/skerry/v1/meta.js';
import type { StoreSessionRequest } from '../../src/gen/skerry/v1/placement.js';
import { StoreSessionResponse } from '../../src/gen/skerry/v1/placement.js';
import { ClusterView } from '../../placement/cluster_view.js';
import { LeaderTable } from '../../placement/leader_table.js';
import { moveLimitsDefault } from '../../placement/move_limits.js';
import { IdPool } from '../../placement/operators/id_pool.js';
import type { Operator } from '../../placement/operators/operator.js';
import { Planner } from '../../placement/planner.js';
import { shardSizesDefault } from '../../placement/shard_sizes.js';
import { Scrubber } from '../../placement/scrub/scrubber.js';
import type { Verdict } from '../../placement/scrub/verdict.js';
import { ClusterState } from '../../placement/state/cluster_state.js';
import { epochIsNewer } from '../../placement/state/records.js';
import type { StoreWorld } from './store_world.js';

const tickMs = 100;
const times = { storeDisconnectMs: 3_000, storeDownMs: 600_000 };

/** The real planner behind the sessions of a world of stores, without a placement group. It repairs and never balances. */
export class PlannerDriver {
  readonly state = new ClusterState();
  readonly view: ClusterView;
  readonly finished: Operator[] = [];
  readonly scrubber: Scrubber;
  private readonly world: StoreWorld;
  private readonly planner: Planner;
  private heard = 0;

  constructor(world: StoreWorld, replicaCount: number, bytesPerSecond = 64 * 1024 * 1024, sizes = shardSizesDefault) {
    this.world = world;
    const state = (): ClusterState => this.state;
    this.view = new ClusterView({ state, leaders: new LeaderTable(), times, sinceMs: world.clock.nowMs });
    let nextId = 10_000;
    const ids = new IdPool((count) => {
      ids.give(nextId, count);
      nextId += count;
    });
    this.planner = new Planner({
      view: this.view,
      ids,
      limits: moveLimitsDefault,
      logger: silentLogger,
      sizes,
      balanceHindrance: () => ({ kind: 'switchedOff' }),
      send: (storeId, command) => {
        const frame = { ...StoreSessionResponse.create(), commands: [command] };
        this.world.placement.sessions.get(storeId)?.frame(frame);
      },
      finished: (operator) => this.finished.push(operator),
    });
    let nextCheckId = 2 ** 51;
    this.scrubber = new Scrubber({
      view: this.view,
      logger: silentLogger,
      bytesPerSecond,
      send: (storeId, command) => {
        const frame = { ...StoreSessionResponse.create(), commands: [command] };
        this.world.placement.sessions.get(storeId)?.frame(frame);
      },
      newCheckId: () => ++nextCheckId,
      ended: () => undefined,
    });
    const keyspace = { partitioning: Partitioning.RANGE, replicaCount, initialShards: 1, phase: 'ready' } as const;
    this.state.restoreKeyspace({ ...keyspace, keyspaceId: 1, name: 'ks' });
    this.state.restoreKeyspace({ ...keyspace, keyspaceId: 2, name: 'other', replicaCount: 1 });
  }

  /** Lets time pass in ticks of the planner until the condition holds. */
  async until(condition: () => boolean, what: string, maxMs = 60_000): Promise<void> {
    const endMs = this.world.clock.nowMs + maxMs;
    while (!condition()) {
      if (this.world.clock.nowMs >= endMs) throw new Error(`not within ${maxMs} ms of virtual time: ${what}`);
      await this.world.clock.advance(tickMs);
      this.tick();
    }
  }

  /** Compares a shard's replicas. */
  async verify(shardId: number): Promise<Verdict> {
    await this.until(() => this.state.shard(shardId) !== undefined, 'the shard is reported');
    const check = must(this.scrubber.request(shardId), 'a place in the queue');
    await this.until(() => check.verdict !== null, `a verdict on shard ${shardId}`, 600_000);
    return must(check.verdict, 'a verdict');
  }

  private tick(): void {
    this.view.setTime(this.world.clock.nowMs);
    const { frames } = this.world.placement;
    for (; this.heard < frames.length; this.heard++) this.hear(must(frames[this.heard], 'a frame'));
    this.planner.tick();
    this.scrubber.tick();
  }

  /** Shards that others took in. */
  private forgetGone(): void {
    for (const shardId of this.state.takeChanges().shards) {
      if (this.state.shard(shardId) !== undefined) continue;
      this.planner.shardGone(shardId);
      this.planner.controller.shardChanged(shardId);
      this.view.forgetShard(shardId);
    }
  }

  private hear(frame: StoreSessionRequest): void {
    const { storeId, store, shards, noLongerLed, results, checksums } = frame;
    if (this.state.store(storeId) === undefined) {
      const record = { storeId, address: `store-${storeId}`, labels: [], version: '', engine: '' };
      this.state.restoreStore({ ...record, state: 'up', directoryId: String(storeId) });
      this.view.noticeStore(storeId);
    }
    for (const shardId of store === undefined ? [] : this.view.storeHeartbeat(storeId, store)) {
      this.planner.shardChanged(shardId);
    }
    for (const report of shards) {
      const shard = must(report.shard, 'a shard');
      const epoch = must(shard.epoch, 'an epoch');
      this.view.shardReport(storeId, report);
      const known = this.state.shard(shard.shardId);
      if (known === undefined || epochIsNewer(epoch, known.epoch)) {
        this.state.apply({ kind: 'updateShards', shards: [shard] });
        this.forgetGone();
      }
      this.planner.shardChanged(shard.shardId);
    }
    for (const shardId of noLongerLed) this.view.noLongerLed(storeId, shardId);
    for (const { commandId, error } of results) {
      this.planner.controller.commandResult(commandId, error);
      this.scrubber.commandResult(commandId, error);
    }
    for (const checksum of checksums) this.scrubber.checksumReported(storeId, checksum);
  }
}
