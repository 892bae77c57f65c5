import { StoreState } from '../src/gen/skerry/v1/meta.js';
import type { ReplicaProgress, ShardReport, StoreReport } from '../src/gen/skerry/v1/placement.js';
import type { LeaderTable, Leadership } from './leader_table.js';
import { heldLoadMs, hotShardShare, hotShardWorkMin } from './limits.js';
import type { PlacementRules } from './rules/placement_rules.js';
import { plainRules } from './rules/placement_rules.js';
import { SlowStores } from './slow_stores.js';
import type { ClusterState } from './state/cluster_state.js';
import type { ShardRecord, StoreRecord } from './state/records.js';
import { epochIsNewer } from './state/records.js';
import type { Use } from './store_use.js';
import { StoreUse } from './store_use.js';
import { UnsteadyStores } from './unsteady_stores.js';

/** Times after which a silent store counts as disconnected and as down. */
export interface StoreTimes {
  readonly storeDisconnectMs: number;
  readonly storeDownMs: number;
}

/** What a shard's leader last said of it. */
export interface ShardStatus {
  readonly progress: readonly ReplicaProgress[];
  readonly approximateBytes: number;
  readonly approximateKeys: number;
  /** False: no leader has measured it yet. */
  readonly sizeKnown: boolean;
  readonly readsPerS: number;
  readonly writesPerS: number;
}

/** What a shard's former leader said of its load: the new one has yet to measure it. */
interface HeldLoad {
  readonly readsPerS: number;
  readonly writesPerS: number;
  readonly untilMs: number;
}

interface StoreObservation {
  readonly report: StoreReport;
  readonly atMs: number;
}

/**
 * What the placement leader knows of the cluster: the replicated state, and on top of it what stores report. None of
 * that is replicated: a new leader begins with the leaders that it mirrored and hears the rest within a session's first
 * frames. Pure: time is told by setTime().
 */
export class ClusterView {
  private readonly stateOf: () => ClusterState;
  readonly leaders: LeaderTable;
  readonly times: StoreTimes;
  private readonly sinceMs: number;
  private now: number;
  private readonly observations = new Map<number, StoreObservation>();
  /** When a store that was not heard yet came to be known here. */
  private readonly firstSeenMs = new Map<number, number>();
  private readonly statuses = new Map<number, ShardStatus>();
  /** Replicas that their stores have quarantined, with those stores. Replica ids are never used twice. */
  private readonly quarantined = new Map<number, { readonly storeId: number; readonly shardId: number }>();
  private readonly use = new StoreUse();
  private readonly slow = new SlowStores();
  private readonly unsteady = new UnsteadyStores();
  /** Rules that a dry run tries out, by keyspace. */
  private readonly rulesTried = new Map<number, PlacementRules>();
  private readonly heldLoads = new Map<number, HeldLoad>();

  /** sinceMs: when this view began; silence before it is held against no store. */
  constructor(options: { state: () => ClusterState; leaders: LeaderTable; times: StoreTimes; sinceMs: number }) {
    this.stateOf = options.state;
    this.leaders = options.leaders;
    this.times = options.times;
    this.sinceMs = options.sinceMs;
    this.now = options.sinceMs;
  }

  get state(): ClusterState {
    return this.stateOf();
  }

  get nowMs(): number {
    return this.now;
  }

  /** How long this view has been looking. */
  get ageMs(): number {
    return this.now - this.sinceMs;
  }

  setTime(nowMs: number): void {
    this.now = Math.max(this.now, nowMs);
  }

  /** The store was registered or changed: from now on it had the time to speak. */
  noticeStore(storeId: number): void {
    if (!this.firstSeenMs.has(storeId)) this.firstSeenMs.set(storeId, this.now);
  }

  /** Takes a store's report. Returns the shards of which a replica there was quarantined since the last one, or is not any more. */
  storeHeartbeat(storeId: number, report: StoreReport): number[] {
    if (this.observations.has(storeId) && !this.isConnected(storeId)) this.unsteady.cameBack(storeId, this.now);
    this.observations.set(storeId, { report, atMs: this.now });
    this.slow.heard(storeId, report.fsyncP99Us, this.now);
    const named = new Set(report.quarantined.map((r) => r.replicaId));
    const changed: number[] = [];
    for (const [replicaId, at] of this.quarantined) {
      if (at.storeId !== storeId || named.has(replicaId)) continue;
      this.quarantined.delete(replicaId);
      changed.push(at.shardId);
    }
    for (const { shardId, replicaId } of report.quarantined) {
      if (this.quarantined.has(replicaId)) continue;
      this.quarantined.set(replicaId, { storeId, shardId });
      changed.push(shardId);
    }
    return changed;
  }

  /** Its store found that it lost data: it neither votes nor serves any more, and can only be replaced. */
  isQuarantined(replicaId: number): boolean {
    return this.quarantined.has(replicaId);
  }

  /** Takes a shard's report. `leaderChanged`: routes changed; `descriptorNewer`: the descriptor must be proposed. */
  shardReport(storeId: number, report: ShardReport): { leaderChanged: boolean; descriptorNewer: boolean } {
    const given = report.shard;
    if (given?.epoch === undefined) return { leaderChanged: false, descriptorNewer: false };
    const known = this.leaders.get(given.shardId);
    if (known !== undefined && report.term < known.term) return { leaderChanged: false, descriptorNewer: false };
    this.holdLoad(given.shardId, storeId);
    const leaderChanged = this.leaders.set(given.shardId, {
      leaderReplicaId: report.leaderReplicaId,
      leaderStoreId: storeId,
      term: report.term,
    });
    const { progress } = report;
    // A new leader has yet to measure: what the one before said holds until then.
    const { approximateBytes, approximateKeys, sizeKnown } = report.sizeKnown
      ? report
      : (this.statuses.get(given.shardId) ?? report);
    const { readsPerS, writesPerS } = this.loadWithHeld(given.shardId, report);
    this.statuses.set(given.shardId, {
      progress,
      approximateBytes,
      approximateKeys,
      sizeKnown,
      readsPerS,
      writesPerS,
    });
    const record = this.state.shard(given.shardId);
    this.shardChanged(given.shardId);
    return { leaderChanged, descriptorNewer: record === undefined || epochIsNewer(given.epoch, record.epoch) };
  }

  /** A load that was measured by the store that led until now counts on for a while. */
  private holdLoad(shardId: number, leaderStoreId: number): void {
    const status = this.statuses.get(shardId);
    if (status === undefined || status.readsPerS + status.writesPerS === 0) return;
    if (this.leaders.get(shardId)?.leaderStoreId === leaderStoreId) return;
    const { readsPerS, writesPerS } = status;
    this.heldLoads.set(shardId, { readsPerS, writesPerS, untilMs: this.now + heldLoadMs });
  }

  private loadWithHeld(shardId: number, report: ShardReport): Pick<ShardStatus, 'readsPerS' | 'writesPerS'> {
    const held = this.heldLoads.get(shardId);
    if (held === undefined) return report;
    if (held.untilMs <= this.now) {
      this.heldLoads.delete(shardId);
      return report;
    }
    return {
      readsPerS: Math.max(held.readsPerS, report.readsPerS),
      writesPerS: Math.max(held.writesPerS, report.writesPerS),
    };
  }

  /** The shard's replicas, leader, size or load may be others than before: counts them anew. */
  shardChanged(shardId: number): void {
    const shard = this.state.shard(shardId);
    const status = this.statuses.get(shardId);
    if (shard === undefined || status === undefined) {
      this.use.forget(shardId);
      return;
    }
    this.use.count(shardId, {
      replicas: shard.replicas,
      leaderStoreId: this.leaders.get(shardId)?.leaderStoreId ?? 0,
      bytes: status.approximateBytes,
      readsPerS: status.readsPerS,
      writesPerS: status.writesPerS,
    });
  }

  /** True when the route changed. */
  noLongerLed(storeId: number, shardId: number): boolean {
    const changed = this.leaders.resign(shardId, storeId);
    if (changed) this.shardChanged(shardId);
    return changed;
  }

  /** What the shards on a store add up to. */
  useOf(storeId: number): Use {
    return this.use.on(storeId);
  }

  /** Operations per second that the shard's leader serves. */
  workOf(shardId: number): number {
    const status = this.statuses.get(shardId);
    return status === undefined ? 0 : status.readsPerS + status.writesPerS;
  }

  /** It carries so much of its leader's work that moving it is a question of load, not of counts. */
  isHot(shardId: number): boolean {
    const work = this.workOf(shardId);
    if (work < hotShardWorkMin) return false;
    return work >= hotShardShare * this.use.on(this.leaders.get(shardId)?.leaderStoreId ?? 0).work;
  }

  /** What is wanted of the shard's replicas. */
  rulesOf(shard: ShardRecord): PlacementRules {
    const voters = this.state.target(shard.shardId)?.voters;
    const rules = this.rulesTried.get(shard.keyspaceId) ?? this.state.keyspace(shard.keyspaceId)?.rules;
    if (rules === undefined) return plainRules(this.state.wantedVoters(shard));
    return voters === undefined ? rules : { ...rules, voters };
  }

  /** Runs `use` as if the keyspace had these rules. */
  withRules<T>(keyspaceId: number, rules: PlacementRules, use: () => T): T {
    this.rulesTried.set(keyspaceId, rules);
    try {
      return use();
    } finally {
      this.rulesTried.delete(keyspaceId);
    }
  }

  leaderOf(shardId: number): Leadership | undefined {
    const leadership = this.leaders.get(shardId);
    return leadership === undefined || leadership.leaderReplicaId === 0 ? undefined : leadership;
  }

  /** The leader, if its store can be reached. */
  liveLeaderOf(shardId: number): Leadership | undefined {
    const leadership = this.leaderOf(shardId);
    return leadership !== undefined && this.isConnected(leadership.leaderStoreId) ? leadership : undefined;
  }

  status(shardId: number): ShardStatus | undefined {
    return this.statuses.get(shardId);
  }

  /** Progress of one replica; undefined: its leader has not spoken of it. */
  progressOf(shardId: number, replicaId: number): ReplicaProgress | undefined {
    return this.statuses.get(shardId)?.progress.find((p) => p.replicaId === replicaId);
  }

  /** The replica follows its leader closely. */
  isCaughtUp(shardId: number, replicaId: number): boolean {
    if (this.quarantined.has(replicaId)) return false;
    const progress = this.progressOf(shardId, replicaId);
    return progress !== undefined && !progress.pending && !progress.down;
  }

  report(storeId: number): StoreReport | undefined {
    return this.observations.get(storeId)?.report;
  }

  /** Milliseconds since the store was heard, or -1. */
  heartbeatAgeMs(storeId: number): number {
    const seen = this.observations.get(storeId);
    return seen === undefined ? -1 : this.now - seen.atMs;
  }

  private silenceMs(storeId: number): number {
    return this.now - (this.observations.get(storeId)?.atMs ?? this.firstSeenMs.get(storeId) ?? this.sinceMs);
  }

  /** Heard of lately, by this view. */
  isConnected(storeId: number): boolean {
    return this.observations.has(storeId) && this.silenceMs(storeId) <= this.times.storeDisconnectMs;
  }

  /** Silent for so long that its replicas are to be rebuilt elsewhere. */
  isDown(storeId: number): boolean {
    return this.state.store(storeId)?.state === 'tombstone' || this.silenceMs(storeId) > this.times.storeDownMs;
  }

  /** Connected, wanted, and with room: may be given replicas. */
  acceptsReplicas(store: StoreRecord): boolean {
    return store.state === 'up' && this.isConnected(store.storeId) && this.report(store.storeId)?.diskFull !== true;
  }

  /** Connected, wanted, and with a disk that syncs in time: may be given leaders. */
  acceptsLeaders(store: StoreRecord): boolean {
    const { storeId } = store;
    if (store.state !== 'up' || !this.isConnected(storeId) || this.isStalled(storeId)) return false;
    return !this.slow.has(storeId) && !this.isUnsteady(storeId);
  }

  /** Its disk has not synced for so long that it gave its leaderships away. */
  isStalled(storeId: number): boolean {
    return this.report(storeId)?.diskStalled === true;
  }

  /** It went away and came back too often lately to be given leaders. */
  isUnsteady(storeId: number): boolean {
    return this.unsteady.has(storeId, this.now);
  }

  /** Its disk has been slow for a while. */
  isSlow(storeId: number): boolean {
    return this.slow.has(storeId);
  }

  storeState(store: StoreRecord): StoreState {
    if (store.state === 'tombstone') return StoreState.TOMBSTONE;
    if (store.state === 'draining') return StoreState.DRAINING;
    if (store.state === 'maintenance') return StoreState.MAINTENANCE;
    if (this.isDown(store.storeId)) return StoreState.DOWN;
    // A store that was never heard has not disconnected until it had the time to speak.
    return this.silenceMs(store.storeId) > this.times.storeDisconnectMs ? StoreState.DISCONNECTED : StoreState.UP;
  }

  /** Every store had the time to report: from here on, silence means something. */
  isSettled(): boolean {
    if (this.now - this.sinceMs > this.times.storeDisconnectMs) return true;
    for (const store of this.state.stores()) {
      if (store.state !== 'tombstone' && !this.observations.has(store.storeId)) return false;
    }
    return true;
  }

  /** Forgets what was said of shards that the state does not hold any more. */
  forgetShard(shardId: number): void {
    this.statuses.delete(shardId);
    this.heldLoads.delete(shardId);
    this.use.forget(shardId);
    this.leaders.forget(shardId);
  }

  /** A shard is sound when each of its replicas follows a leader that can be reached. */
  isHealthy(shard: ShardRecord): boolean {
    return (
      this.liveLeaderOf(shard.shardId) !== undefined &&
      shard.replicas.every((r) => this.isConnected(r.storeId) && this.isCaughtUp(shard.shardId, r.replicaId))
    );
  }
}
