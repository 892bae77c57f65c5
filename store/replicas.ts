import { assert, must } from '../src/base/assert.js';
import type { Logger } from '../src/base/logger.js';
import type { Runtime } from '../src/base/runtime.js';
import type { Engine } from '../src/engine/engine.js';
import { replicaKey } from '../src/engine/keys.js';
import { ReplicaState } from '../src/gen/skerry/v1/kv.js';
import { Shard } from '../src/gen/skerry/v1/meta.js';
import type { Group, GroupSpec, MultiRaft } from '../src/multiraft/host.js';
import { ReplicaDataLostError } from '../src/multiraft/prepare_log.js';
import type { Message } from '../src/raft/message.js';
import { MsgType } from '../src/raft/message.js';
import type { SnapshotHeadInfo } from '../src/transport/transport.js';
import type { ChecksumRequest } from './checksums.js';
import { confStateOf, epochOf, replicaOn } from './descriptor.js';
import { dropReplica } from './drop_replica.js';
import { mergedShardsMax, wantedTombstoneMs } from './limits.js';
import type { HeldState } from './merges.js';
import { Merges } from './merges.js';
import { RangeIndex } from './range_index.js';
import { encodeReplicaRecord } from './records.js';
import { RangeClaims } from './range_claims.js';
import { SessionTable } from './session_table.js';
import type { ShardHost, SplitChild } from './shard_host.js';
import { initialPosition, ShardStateMachine } from './shard_state_machine.js';

/**
 * Every replica that this store has or had, and the ways in which one comes and goes:
 *
 *   placement creates a shard ─┐
 *   a split's right-hand side ─┼─▶ running ──removed, destroyed──▶ tombstone
 *   a leader's first message ──┘      │   or taken in by a neighbour  ▲
 *                                     └─its log is damaged─▶ quarantined ──replaced by placement
 *          an installation that cannot be finished ──────────────▲
 *
 * A quarantined replica has no peer. What is wrong with it is found again at every start (the damage mark of a log is durable, missing
 * entries stay missing, and so does a staged file), so it cannot come back; only its tombstone lets the log forget it.
 *
 * A replica's record is in the engine before its peer runs, and synced before the peer answers anything
 * (a split's child excepted: applying the split again makes it again). A tombstone keeps the replica's id, so that late messages do not bring it back.
 */
export interface ReplicaEvents {
  /** The shard's descriptor or leader changed, or its replica is new or gone. */
  changed(shardId: number): void;
  /** A replica applied a checksum command. */
  checksumWanted(request: ChecksumRequest): void;
  /** The engine failed, or a peer could not be started. */
  fatal(error: Error): void;
}

type Entry =
  | {
      readonly kind: 'running';
      readonly replicaId: number;
      readonly machine: ShardStateMachine;
      leaderlessSinceMs: number | null;
    }
  /** A leader's message asked for it; its record is being written. */
  | { readonly kind: 'arriving'; readonly replicaId: number }
  /** Taken by a replica whose peer is about to be started. */
  | { readonly kind: 'reserved'; readonly replicaId: number }
  /** It lost what it had promised, acknowledged or applied: it must neither vote nor serve, only be replaced. */
  | { readonly kind: 'quarantined'; readonly replicaId: number; readonly machine: ShardStateMachine }
  | { readonly kind: 'tombstone'; readonly replicaId: number; wantedAtMs?: number };

interface Arrival {
  readonly machine: ShardStateMachine;
  readonly fromHost: number;
  /** The entry that was made for it; another one in its place means that something else took the shard. */
  readonly entry: Entry;
}

export interface ReplicasOptions {
  readonly storeId: number;
  readonly engine: Engine;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly events: ReplicaEvents;
}

/** A shard that could not be created here. */
export interface CreateFailure {
  readonly shardId: number;
  readonly reason: 'NOT_A_MEMBER' | 'RANGE_OVERLAP' | 'REPLICA_GONE' | 'OTHER_REPLICA';
}

export class Replicas implements ShardHost {
  readonly storeId: number;
  readonly engine: Engine;
  readonly ranges = new RangeIndex();
  readonly merges = new Merges(this);
  private readonly runtime: Runtime;
  private readonly logger: Logger;
  private readonly events: ReplicaEvents;
  private readonly entries = new Map<number, Entry>();
  private readonly claims: RangeClaims;
  private multi: MultiRaft | null = null;
  /** Replicas that leaders' first messages ask for, until their records are synced. */
  private arrivals: Arrival[] = [];

  constructor(options: ReplicasOptions) {
    this.storeId = options.storeId;
    this.engine = options.engine;
    this.runtime = options.runtime;
    this.logger = options.logger;
    this.events = options.events;
    this.claims = new RangeClaims(options.runtime);
  }

  /** Gives it the host, which itself needs this object's callbacks. Once, before anything else. */
  attach(multi: MultiRaft): void {
    assert(this.multi === null, 'there is one host');
    this.multi = multi;
  }

  /** Replicas that run. */
  *machines(): IterableIterator<ShardStateMachine> {
    for (const entry of this.entries.values()) if (entry.kind === 'running') yield entry.machine;
  }

  machine(shardId: number): ShardStateMachine | undefined {
    const entry = this.entries.get(shardId);
    return entry?.kind === 'running' ? entry.machine : undefined;
  }

  /** The running peer; undefined while it is being started. */
  group(shardId: number): Group | undefined {
    return this.multi?.group(shardId);
  }

  /** Replicas without a leader for at least this long, those that cannot run, and those that know that they were removed. */
  leaderless(forMs: number): { readonly shardId: number; readonly replicaId: number }[] {
    const before = this.runtime.nowMs() - forMs;
    const found: { readonly shardId: number; readonly replicaId: number }[] = [];
    for (const [shardId, entry] of this.entries) {
      const { replicaId } = entry;
      if (entry.kind === 'quarantined') found.push({ shardId, replicaId });
      if (entry.kind !== 'running' || entry.machine.phase === 'removed') continue;
      if (entry.machine.phase === 'leaving') found.push({ shardId, replicaId });
      else if (entry.leaderlessSinceMs !== null && entry.leaderlessSinceMs <= before)
        found.push({ shardId, replicaId });
    }
    return found;
  }

  /** The descriptor that a replica here knows, quarantined or not; null: it is not here (any more). */
  descriptorHeld(shardId: number, replicaId: number): Shard | null {
    return this.heldEntry(shardId, replicaId)?.machine.shard ?? null;
  }

  /** Replicas that lost data to damage. */
  *quarantined(): IterableIterator<ShardStateMachine> {
    for (const entry of this.entries.values()) if (entry.kind === 'quarantined') yield entry.machine;
  }

  get quarantinedCount(): number {
    let count = 0;
    for (const entry of this.entries.values()) if (entry.kind === 'quarantined') count++;
    return count;
  }

  /**
   * Replicas that are gone from here for good although a leader still writes to them: its store was told too early that they
   * were removed. They can only be replaced, like quarantined ones.
   */
  *wantedTombstones(): IterableIterator<{ readonly shardId: number; readonly replicaId: number }> {
    const since = this.runtime.nowMs() - wantedTombstoneMs;
    for (const [shardId, entry] of this.entries) {
      const { replicaId } = entry;
      if (entry.kind === 'tombstone' && (entry.wantedAtMs ?? -Infinity) >= since) yield { shardId, replicaId };
    }
  }

  /** Notes a tombstone found on disk. */
  addTombstone(shardId: number, replicaId: number): void {
    this.entries.set(shardId, { kind: 'tombstone', replicaId });
  }

  /** Starts the peer of a replica whose record is in the engine. */
  async start(machine: ShardStateMachine, extra: Pick<GroupSpec, 'bootstrap' | 'campaign'> = {}): Promise<void> {
    const { shardId, replicaId } = machine;
    this.entries.set(shardId, { kind: 'running', replicaId, machine, leaderlessSinceMs: this.runtime.nowMs() });
    if (machine.phase !== 'uninitialized') this.ranges.set(machine.shard);
    this.merges.noted(machine);
    const spec = this.specOf(machine);
    try {
      await this.host().addGroup({ ...spec, ...extra });
    } catch (error) {
      if (!(error instanceof ReplicaDataLostError)) throw error;
      this.quarantine(shardId, replicaId, error.message);
    }
    this.events.changed(shardId);
  }

  /** The replica lost data: its peer is gone, or was not started. It stays as it is until it is told to have been replaced. */
  quarantine(shardId: number, replicaId: number, reason: string): void {
    const entry = this.entries.get(shardId);
    // One that was removed from its group is about to be dropped with its log.
    if (entry?.kind !== 'running' || entry.replicaId !== replicaId || entry.machine.phase === 'removed') return;
    this.setQuarantined(entry.machine, reason);
  }

  /** Takes in a replica found on disk that cannot be started, because what it held cannot be had again. */
  addQuarantined(machine: ShardStateMachine, reason: string): void {
    this.ranges.set(machine.shard);
    this.setQuarantined(machine, reason);
  }

  private setQuarantined(machine: ShardStateMachine, reason: string): void {
    const { shardId, replicaId } = machine;
    this.logger.error({ shardId, replicaId, reason }, 'a replica lost data; it is quarantined until it is replaced');
    this.entries.set(shardId, { kind: 'quarantined', replicaId, machine });
    this.events.changed(shardId);
  }

  /**
   * Makes the first replicas of new shards. Those that are here already stay as they are. Resolves when the
   * records are synced and the peers run.
   */
  async create(shards: readonly { readonly shard: Shard; readonly campaign: boolean }[]): Promise<CreateFailure[]> {
    const failures: CreateFailure[] = [];
    const made: { readonly machine: ShardStateMachine; readonly campaign: boolean }[] = [];
    const batch = this.engine.newBatch();
    for (const { shard, campaign } of shards) {
      const own = replicaOn(shard, this.storeId);
      const reason = own === undefined ? 'NOT_A_MEMBER' : this.obstacle(shard, own.replicaId);
      if (reason === 'PRESENT') continue;
      if (own === undefined || reason !== null) {
        failures.push({ shardId: shard.shardId, reason: reason ?? 'NOT_A_MEMBER' });
        continue;
      }
      this.reserve(shard.shardId, own.replicaId);
      // The range is taken from now on, so that two shards of one command cannot overlap either.
      this.ranges.set(shard);
      const machine = this.newMachine(shard, own.replicaId, new SessionTable());
      const record = { replicaId: own.replicaId, state: ReplicaState.NORMAL, shard };
      batch.put(
        replicaKey(shard.shardId),
        encodeReplicaRecord({ ...record, appliedIndex: initialPosition.index, appliedTerm: initialPosition.term }),
      );
      made.push({ machine, campaign });
    }
    if (made.length > 0) {
      await this.engine.write(batch);
      await this.engine.sync();
      await Promise.all(
        made.map(({ machine, campaign }) => this.start(machine, { bootstrap: initialPosition, campaign })),
      );
    }
    return failures;
  }

  private obstacle(shard: Shard, replicaId: number): CreateFailure['reason'] | 'PRESENT' | null {
    const entry = this.entries.get(shard.shardId);
    if (entry?.kind === 'tombstone' && entry.replicaId >= replicaId) return 'REPLICA_GONE';
    if (entry !== undefined && entry.kind !== 'tombstone') {
      if (entry.replicaId !== replicaId) return 'OTHER_REPLICA';
      if (!isUninitialized(entry)) return 'PRESENT';
    }
    const taken = this.ranges.overlapping(shard.keyspaceId, shard.startKey, shard.endKey, 1);
    return taken.length > 0 ? 'RANGE_OVERLAP' : null;
  }

  /** Takes the place of a shard here, from an uninitialized replica too: its peer is replaced when the new one starts. */
  reserve(shardId: number, replicaId: number): void {
    const entry = this.entries.get(shardId);
    if (entry?.kind === 'running') entry.machine.markRemoved();
    this.arrivals = this.arrivals.filter((arrival) => arrival.machine.shardId !== shardId);
    this.entries.set(shardId, { kind: 'reserved', replicaId });
  }

  /**
   * Drops a replica that is no longer a member. The tombstone is on disk before the log forgets the group, because a crash
   * must not leave a record without a log. False: no such replica, or it cannot be dropped right now.
   */
  async destroy(shardId: number, replicaId: number): Promise<boolean> {
    const entry = this.heldEntry(shardId, replicaId);
    if (entry === null) return false;
    const { machine } = entry;
    // An installation would go on writing; whoever wants the replica gone asks again.
    if (machine.phase === 'removed' || machine.phase === 'installing') return false;
    const initialized = machine.phase !== 'uninitialized';
    this.takeOut(machine);
    this.logger.info({ shardId, replicaId }, 'destroying a replica that is no longer a member');
    await this.writeTombstone(machine, initialized);
    await this.forget(machine);
    return true;
  }

  /** From now on nothing is applied to it or served by it. */
  takeOut(machine: ShardStateMachine): void {
    machine.markRemoved();
    this.ranges.delete(machine.shardId);
    this.merges.noted(machine);
  }

  /** Its tombstone is on disk: its log goes, too. */
  async forget({ shardId, replicaId }: ShardStateMachine): Promise<void> {
    await this.host().removeGroup(shardId);
    this.entries.set(shardId, { kind: 'tombstone', replicaId });
    this.claims.release(shardId);
    this.events.changed(shardId);
  }

  held(shardId: number): HeldState | undefined {
    const entry = this.entries.get(shardId);
    if (entry === undefined) return undefined;
    const machine = entry.kind === 'running' || entry.kind === 'quarantined' ? entry.machine : null;
    return { kind: entry.kind, replicaId: entry.replicaId, machine };
  }

  private heldEntry(shardId: number, replicaId: number): Extract<Entry, { machine: ShardStateMachine }> | null {
    const entry = this.entries.get(shardId);
    if (entry?.kind !== 'running' && entry?.kind !== 'quarantined') return null;
    return entry.replicaId === replicaId ? entry : null;
  }

  private async writeTombstone(machine: ShardStateMachine, initialized: boolean): Promise<void> {
    const batch = this.engine.newBatch();
    const shard = initialized ? machine.shard : Shard.fromPartial({ shardId: machine.shardId });
    dropReplica(batch, shard, machine.replicaId);
    await this.engine.write(batch);
    await this.engine.sync();
  }

  // What the shards' state machines ask.

  reserveChild(shardId: number, replicaId: number): boolean {
    const entry = this.entries.get(shardId);
    if (entry?.kind === 'tombstone' && entry.replicaId >= replicaId) return false;
    // Messages of the new shard's other replicas may have come before the split; then the replica waits for it.
    const here = entry !== undefined && entry.kind !== 'tombstone';
    if (here && (entry.replicaId !== replicaId || !isUninitialized(entry))) return false;
    this.reserve(shardId, replicaId);
    return true;
  }

  /**
   * Starts the new shard's replica once the split is on disk. Its log must not begin before: a power cut could leave
   * a log with votes and acknowledged entries of a shard that the engine does not know.
   */
  splitDone(child: SplitChild): void {
    this.ranges.set(child.shard);
    // What the parent serves has changed.
    this.group(child.parentShardId)?.voidLease();
    const begin = async (): Promise<void> => {
      await this.engine.sync();
      const campaign = this.group(child.parentShardId)?.isLeader() ?? false;
      const machine = this.newMachine(child.shard, child.replicaId, child.sessions);
      await this.start(machine, { bootstrap: initialPosition, campaign });
    };
    begin().catch((error: unknown) => this.fail(error));
  }

  takeChecksum(request: ChecksumRequest): void {
    this.events.checksumWanted(request);
  }

  descriptorChanged(machine: ShardStateMachine): void {
    if (machine.phase === 'removed') {
      this.ranges.delete(machine.shardId);
    } else {
      this.ranges.set(machine.shard);
      this.claims.release(machine.shardId);
    }
    this.merges.noted(machine);
    if (machine.isMerging) {
      this.group(machine.shardId)?.voidLease();
      // A target here may have waited for this one.
      this.host().retryHeld();
    }
    this.events.changed(machine.shardId);
  }

  leaderChanged(machine: ShardStateMachine, leaderId: number): void {
    const entry = this.entries.get(machine.shardId);
    if (entry?.kind !== 'running' || entry.machine !== machine) return;
    if (leaderId !== 0) entry.leaderlessSinceMs = null;
    else entry.leaderlessSinceMs ??= this.runtime.nowMs();
    this.events.changed(machine.shardId);
  }

  // What the host asks.

  /**
   * A leader's message for a shard that is not here makes an uninitialized replica, once its record is
   * synced; the message itself is dropped, leaders repeat themselves.
   */
  unknownGroup(fromHost: number, groupId: number, message: Message): null {
    const fromLeader =
      message.type === MsgType.MsgApp || message.type === MsgType.MsgHeartbeat || message.type === MsgType.MsgSnap;
    const present = this.entries.get(groupId);
    const older = present !== undefined && present.kind !== 'tombstone' && present.replicaId < message.to;
    if (fromLeader && older) {
      // A store has one replica of a shard at a time: a later one in use means that ours was removed.
      void this.destroy(groupId, present.replicaId).catch((error: unknown) => this.fail(error));
      return null;
    }
    if (fromLeader && present?.kind === 'tombstone' && present.replicaId === message.to) {
      present.wantedAtMs = this.runtime.nowMs();
      return null;
    }
    const wanted = present === undefined || (present.kind === 'tombstone' && present.replicaId < message.to);
    if (!fromLeader || !wanted || message.to === 0) return null;
    const entry: Entry = { kind: 'arriving', replicaId: message.to };
    this.entries.set(groupId, entry);
    const machine = new ShardStateMachine(this, {
      replicaId: message.to,
      shard: Shard.fromPartial({ shardId: groupId }),
      phase: 'uninitialized',
      applied: { index: 0, term: 0 },
      sessions: new SessionTable(),
    });
    if (this.arrivals.length === 0) {
      this.runtime.nextTurn(() => void this.admitArrivals().catch((error: unknown) => this.fail(error)));
    }
    this.arrivals.push({ machine, fromHost, entry });
    return null;
  }

  /** One batch and one sync for all replicas that a turn's messages asked for. */
  private async admitArrivals(): Promise<void> {
    const { arrivals } = this;
    this.arrivals = [];
    if (arrivals.length === 0) return;
    const batch = this.engine.newBatch();
    for (const { machine, fromHost } of arrivals) {
      const { shardId, replicaId, shard } = machine;
      this.logger.info({ shardId, replicaId, fromHost }, 'a leader on another store wants a replica here');
      batch.put(replicaKey(shardId), encodeReplicaRecord({ replicaId, state: ReplicaState.UNINITIALIZED, shard }));
    }
    await this.engine.write(batch);
    await this.engine.sync();
    for (const { machine, entry } of arrivals) {
      // Otherwise a split took the place meanwhile; its record was written after this one.
      if (this.entries.get(machine.shardId) === entry) await this.start(machine);
    }
  }

  /** Refuses a snapshot whose range another replica here still has: that one must be split or removed first. */
  acceptSnapshot(groupId: number, head: SnapshotHeadInfo): boolean {
    if (this.entries.get(groupId)?.kind !== 'running') return false;
    if (this.merges.awaitsTarget(groupId)) return false;
    const shard = Shard.decode(head.descriptor);
    const others = this.ranges
      .overlapping(shard.keyspaceId, shard.startKey, shard.endKey, 2 + mergedShardsMax)
      .filter((range) => range.shardId !== groupId && !this.merges.maySwallow(shard, range.shardId));
    if (others.length > 0 || !this.claims.claim(groupId, shard)) {
      this.logger.info(
        { shardId: groupId, overlaps: others.map((r) => r.shardId) },
        'a snapshot must wait for its range',
      );
      return false;
    }
    return true;
  }

  /** A vote request by a replica that is not a member here: it was probably removed and has not heard. */
  stranger(groupId: number, message: Message): { confVer: number; version: number } | null {
    const machine = this.machine(groupId);
    if (machine?.phase !== 'normal' || machine.hostOf(message.from) !== 0) return null;
    return epochOf(machine.shard);
  }

  private newMachine(shard: Shard, replicaId: number, sessions: SessionTable): ShardStateMachine {
    return new ShardStateMachine(this, { replicaId, shard, phase: 'normal', applied: initialPosition, sessions });
  }

  private specOf(machine: ShardStateMachine): GroupSpec {
    return {
      groupId: machine.shardId,
      replicaId: machine.replicaId,
      stateMachine: machine,
      applied: machine.applied,
      confState: confStateOf(machine.shard),
    };
  }

  private host(): MultiRaft {
    return must(this.multi, 'the host is attached before replicas come and go');
  }

  fail(error: unknown): void {
    this.events.fatal(error instanceof Error ? error : new Error(String(error)));
  }
}

/** True when only a leader's messages are known of the replica. */
function isUninitialized(entry: Entry): boolean {
  return entry.kind === 'arriving' || (entry.kind === 'running' && entry.machine.phase === 'uninitialized');
}
