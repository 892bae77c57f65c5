import { assert, must } from '../../../src/base/assert.js';
import { hashSplitKeys } from '../../../src/base/encoded_key.js';
import { silentLogger } from '../../../src/base/logger.js';
import { Prng } from '../../../src/base/prng.js';
import type { Label, Replica, Shard } from '../../../src/gen/skerry/v1/meta.js';
import { Partitioning, ReplicaRole } from '../../../src/gen/skerry/v1/meta.js';
import type { ChangeReplicas, StoreCommand } from '../../../src/gen/skerry/v1/placement.js';
import { ClusterView } from '../../../placement/cluster_view.js';
import { placeInitially } from '../../../placement/initial_placement.js';
import { LeaderTable } from '../../../placement/leader_table.js';
import type { MoveLimits } from '../../../placement/move_limits.js';
import { moveLimitsDefault } from '../../../placement/move_limits.js';
import { IdPool } from '../../../placement/operators/id_pool.js';
import type { Operator } from '../../../placement/operators/operator.js';
import { Planner } from '../../../placement/planner.js';
import { plainRules } from '../../../placement/rules/placement_rules.js';
import { shardSizesDefault } from '../../../placement/shard_sizes.js';
import { ClusterState } from '../../../placement/state/cluster_state.js';
import { storeLoads } from '../../../placement/store_loads.js';

/** A store that exists as numbers only. */
export interface SimStore {
  readonly storeId: number;
  alive: boolean;
  capacityBytes: number;
  /** What its heartbeats say of its disk, microseconds. */
  syncP99Us: number;
}

/** What the shards of a keyspace are like, by their position. */
export interface ShardNature {
  readonly bytes?: (at: number) => number;
  readonly readsPerS?: (at: number) => number;
  readonly writesPerS?: (at: number) => number;
}

interface SimShard {
  shard: Shard;
  leaderStoreId: number;
  term: number;
  /** Ticks until a learner has caught up, by replica id. */
  readonly catchingUp: Map<number, number>;
  /** Ticks since its leader's store died. */
  electionTicks: number;
  readonly bytes: number;
  readonly readsPerS: number;
  readonly writesPerS: number;
}

const tickMs = 250;
const scheduleEveryTicks = 2;
const heartbeatEveryTicks = 4;
const catchUpTicks = 4;
/** Bytes of a snapshot that a store takes in per tick. */
const snapshotBytesPerTick = 16 * 1024 * 1024;
const electionTicks = 8;

export interface SimOptions {
  readonly seed?: number;
  readonly limits?: MoveLimits;
  readonly storeDownMs?: number;
  readonly timed?: (what: 'tick' | 'round', run: () => void) => void;
}

/** The planner with stores that carry out its commands, on a clock that the test turns. */
export class SimCluster {
  readonly state = new ClusterState();
  readonly view: ClusterView;
  readonly planner: Planner;
  readonly finished: Operator[] = [];
  readonly stores = new Map<number, SimStore>();
  readonly shards = new Map<number, SimShard>();
  /** Shards with a replica that is catching up, and shards whose leader's store died. */
  private readonly catchingUp = new Set<SimShard>();
  private readonly leaderless = new Set<SimShard>();
  /** Leaderships handed over by command. */
  transfers = 0;
  /** When the last operator ran. */
  lastBusyMs = 0;
  /** Replicas that were made on a store after the beginning, by shard. */
  readonly arrivals = new Map<number, number>();
  balancing = true;
  private readonly timed: NonNullable<SimOptions['timed']>;
  private readonly random: Prng;
  private readonly inbox: { readonly storeId: number; readonly command: StoreCommand }[] = [];
  private ticks = 0;

  /** timed: runs each tick and each round of the planner, so that a benchmark can look at its clock. */
  constructor(options: SimOptions = {}) {
    this.timed = options.timed ?? ((_what, run) => run());
    this.random = new Prng(options.seed ?? 1);
    this.view = new ClusterView({
      state: () => this.state,
      leaders: new LeaderTable(),
      times: { storeDisconnectMs: 3_000, storeDownMs: options.storeDownMs ?? 10_000 },
      sinceMs: 0,
    });
    const ids = new IdPool((count) => ids.give(this.apply({ kind: 'allocateIds', count }), count));
    this.planner = new Planner({
      view: this.view,
      ids,
      limits: options.limits ?? moveLimitsDefault,
      logger: silentLogger,
      sizes: shardSizesDefault,
      balanceHindrance: () => (this.balancing ? null : { kind: 'switchedOff' }),
      send: (storeId, command) => this.inbox.push({ storeId, command }),
      finished: (operator) => this.finished.push(operator),
    });
  }

  apply(command: Parameters<ClusterState['apply']>[0]): number {
    const outcome = this.state.apply(command);
    assert(outcome.ok, () => `refused: ${outcome.ok ? '' : outcome.error.message}`);
    const changes = this.state.takeChanges();
    for (const storeId of changes.stores) this.planner.storeChanged(storeId);
    for (const shardId of changes.shards) this.planner.shardChanged(shardId);
    return outcome.value;
  }

  addStore(labels: Record<string, string> = {}, capacityBytes = 1_000): number {
    const list: Label[] = Object.entries(labels).map(([key, value]) => ({ key, value }));
    const name = `store ${this.stores.size + 1}`;
    const storeId = this.apply({
      kind: 'registerStore',
      storeId: 0,
      address: name,
      labels: list,
      version: '',
      engine: 'sim',
      directoryId: name,
    });
    this.stores.set(storeId, { storeId, alive: true, capacityBytes, syncP99Us: 0 });
    this.heartbeat(must(this.stores.get(storeId), 'the store'));
    return storeId;
  }

  createKeyspace(shards: number, replicaCount = 3, nature: ShardNature = {}): void {
    const loads = [...storeLoads(this.view, this.planner.table).values()];
    const placed = must(
      placeInitially({ seed: 'sim', shards, rules: plainRules(replicaCount), loads }),
      'enough stores',
    );
    const keyspaceId = this.apply({
      kind: 'createKeyspace',
      name: `sim-${this.shards.size}`,
      partitioning: Partitioning.HASH,
      replicaCount,
      initialShards: shards,
    });
    const starts = hashSplitKeys(shards);
    const plans = starts.map((startKey, i) => ({
      startKey,
      endKey: starts[i + 1] ?? Buffer.alloc(0),
      storeIds: placed[i] ?? [],
    }));
    this.apply({ kind: 'addShards', keyspaceId, shards: plans });
    this.apply({ kind: 'markKeyspaceReady', keyspaceId });
    let at = 0;
    for (const shard of this.state.shardsIn(keyspaceId, noKey, noKey)) {
      const made: SimShard = {
        shard,
        leaderStoreId: must(shard.replicas[0], 'a replica').storeId,
        term: 6,
        catchingUp: new Map(),
        electionTicks: 0,
        bytes: nature.bytes?.(at) ?? 0,
        readsPerS: nature.readsPerS?.(at) ?? 0,
        writesPerS: nature.writesPerS?.(at) ?? 0,
      };
      at++;
      this.shards.set(shard.shardId, made);
      this.report(made);
    }
  }

  /** The store stops, with everything on it. */
  kill(storeId: number): void {
    must(this.stores.get(storeId), 'the store').alive = false;
    for (const shardId of this.view.leaders.ledBy(storeId)) {
      this.leaderless.add(must(this.shards.get(shardId), 'the shard'));
    }
  }

  /** It comes back with what it had. */
  revive(storeId: number): void {
    must(this.stores.get(storeId), 'the store').alive = true;
  }

  get nowMs(): number {
    return this.ticks * tickMs;
  }

  /** Turns the clock by a number of ticks of 250 ms. */
  run(ticks: number): void {
    for (let i = 0; i < ticks; i++) this.tick();
  }

  /** Runs until nothing is in flight and nothing new is planned for a while; the number of ticks, or -1. */
  runUntilQuiet(ticksMax: number, quietTicks = 40): number {
    let quiet = 0;
    for (let i = 0; i < ticksMax; i++) {
      this.tick();
      quiet = this.planner.table.size === 0 ? quiet + 1 : 0;
      if (quiet === quietTicks) return i;
    }
    return -1;
  }

  replicasPerStore(): Map<number, number> {
    return new Map([...this.stores.keys()].map((id) => [id, this.state.shardIdsOn(id).size]));
  }

  leadersPerStore(): Map<number, number> {
    return new Map([...this.stores.keys()].map((id) => [id, this.view.leaders.countOn(id)]));
  }

  private tick(): void {
    this.ticks++;
    this.view.setTime(this.ticks * tickMs);
    if (this.ticks % heartbeatEveryTicks === 0) {
      for (const store of this.stores.values()) if (store.alive) this.heartbeat(store);
    }
    const commands = this.inbox.splice(0);
    for (const { storeId, command } of commands) this.execute(storeId, command);
    for (const sim of this.leaderless) this.elect(sim);
    for (const sim of this.catchingUp) this.catchUp(sim);
    this.timed('tick', () => this.planner.tick());
    if (this.ticks % scheduleEveryTicks === 0) this.timed('round', () => this.planner.schedule());
    if (this.planner.table.size > 0) this.lastBusyMs = this.nowMs;
  }

  private heartbeat(store: SimStore): void {
    this.view.storeHeartbeat(store.storeId, {
      capacityBytes: store.capacityBytes,
      usedBytes: 0,
      replicaCount: 0,
      leaderCount: 0,
      snapshotsInFlight: 0,
      incarnation: 1,
      diskFull: false,
      fsyncP99Us: store.syncP99Us,
      quarantined: [],
      quarantinedCount: 0,
      diskStalled: false,
    });
  }

  private isAlive(storeId: number): boolean {
    return this.stores.get(storeId)?.alive === true;
  }

  private elect(sim: SimShard): void {
    if (this.isAlive(sim.leaderStoreId)) {
      this.leaderless.delete(sim);
      return;
    }
    if (++sim.electionTicks < electionTicks || !this.hasQuorum(sim)) return;
    const heirs = sim.shard.replicas.filter((r) => r.role === ReplicaRole.VOTER && this.isAlive(r.storeId));
    const heir = heirs[this.random.int(0, heirs.length - 1)];
    if (heir === undefined) return;
    this.leaderless.delete(sim);
    this.lead(sim, heir.storeId);
  }

  private catchUp(sim: SimShard): void {
    if (!this.isAlive(sim.leaderStoreId)) return;
    for (const [replicaId, left] of sim.catchingUp) {
      const storeId = sim.shard.replicas.find((r) => r.replicaId === replicaId)?.storeId;
      if (storeId !== undefined && !this.isAlive(storeId)) continue;
      if (left > 1) {
        sim.catchingUp.set(replicaId, left - 1);
        continue;
      }
      sim.catchingUp.delete(replicaId);
      this.report(sim);
    }
    if (sim.catchingUp.size === 0) this.catchingUp.delete(sim);
  }

  private hasQuorum(sim: SimShard): boolean {
    const voters = sim.shard.replicas.filter((r) => r.role === ReplicaRole.VOTER);
    return voters.filter((r) => this.isAlive(r.storeId)).length * 2 > voters.length;
  }

  private lead(sim: SimShard, storeId: number): void {
    sim.leaderStoreId = storeId;
    sim.term++;
    sim.electionTicks = 0;
    this.report(sim);
  }

  private execute(storeId: number, { commandId, command }: StoreCommand): void {
    if (!this.isAlive(storeId)) return;
    assert(command !== undefined, 'a command');
    if (command.$case === 'transferLeader') {
      const sim = must(this.shards.get(command.value.shardId), 'the shard');
      const heir = sim.shard.replicas.find((r) => r.replicaId === command.value.toReplicaId);
      if (sim.leaderStoreId === storeId && heir !== undefined && this.isAlive(heir.storeId)) {
        this.transfers++;
        this.lead(sim, heir.storeId);
      }
    } else if (command.$case === 'changeReplicas') {
      const sim = must(this.shards.get(command.value.shardId), 'the shard');
      const sameEpoch = sim.shard.epoch?.confVer === command.value.epoch?.confVer;
      if (sim.leaderStoreId === storeId && sameEpoch && this.hasQuorum(sim)) this.change(sim, command.value);
    }
    this.planner.controller.commandResult(commandId, undefined);
  }

  private change(sim: SimShard, change: ChangeReplicas): void {
    const replicas = change.changes.length === 0 ? leaveJoint(sim.shard.replicas) : this.changed(sim, change);
    const epoch = must(sim.shard.epoch, 'an epoch');
    sim.shard = { ...sim.shard, replicas, epoch: { ...epoch, confVer: epoch.confVer + 1 } };
    this.apply({ kind: 'updateShards', shards: [sim.shard] });
    if (!replicas.some((r) => r.storeId === sim.leaderStoreId)) {
      const heir = must(
        replicas.find((r) => r.role === ReplicaRole.VOTER && this.isAlive(r.storeId)),
        'an heir',
      );
      this.lead(sim, heir.storeId);
    }
    this.report(sim);
  }

  private changed(sim: SimShard, { changes, joint }: ChangeReplicas): Replica[] {
    const replicas = sim.shard.replicas.map((r) => ({ ...r }));
    for (const { role, replicaId, storeId } of changes) {
      const at = replicas.findIndex((r) => r.replicaId === replicaId);
      const present = replicas[at];
      if (role === ReplicaRole.UNSPECIFIED) {
        if (joint && present !== undefined) present.role = ReplicaRole.OUTGOING_VOTER;
        else if (at !== -1) replicas.splice(at, 1);
      } else if (present === undefined) {
        replicas.push({ replicaId, storeId, role });
        sim.catchingUp.set(replicaId, catchUpTicks + Math.ceil(sim.bytes / snapshotBytesPerTick));
        this.catchingUp.add(sim);
        this.arrivals.set(sim.shard.shardId, (this.arrivals.get(sim.shard.shardId) ?? 0) + 1);
      } else {
        present.role = joint ? ReplicaRole.INCOMING_VOTER : role;
      }
    }
    return replicas;
  }

  private report(sim: SimShard): void {
    const leader = must(
      sim.shard.replicas.find((r) => r.storeId === sim.leaderStoreId),
      'the leader',
    );
    this.view.shardReport(sim.leaderStoreId, {
      shard: sim.shard,
      leaderReplicaId: leader.replicaId,
      term: sim.term,
      progress: sim.shard.replicas.map((r) => ({
        replicaId: r.replicaId,
        down: false,
        pending: sim.catchingUp.has(r.replicaId),
        matchIndex: 0,
      })),
      approximateBytes: sim.bytes,
      approximateKeys: 0,
      sizeKnown: true,
      readsPerS: sim.readsPerS,
      writesPerS: sim.writesPerS,
    });
    this.planner.shardChanged(sim.shard.shardId);
  }
}

const noKey = Buffer.alloc(0);

function leaveJoint(replicas: readonly Replica[]): Replica[] {
  return replicas
    .filter((r) => r.role !== ReplicaRole.OUTGOING_VOTER)
    .map((r) => (r.role === ReplicaRole.INCOMING_VOTER ? { ...r, role: ReplicaRole.VOTER } : r));
}
