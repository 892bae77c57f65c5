import { assert, must, unreachable } from '../../src/base/assert.js';
import { inRange } from '../../src/base/encoded_key.js';
import type { TypedError } from '../../src/base/wire_errors.js';
import {
  alreadyExists,
  failedPrecondition,
  keyspaceNotFound,
  serverIsBusy,
  shardNotFound,
  storeNotFound,
} from '../../src/base/wire_errors.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import { storesMax } from '../limits.js';
import type { CommandOutcome, PlacementCommand, ShardPlan } from './commands.js';
import { MemberTable } from './member_table.js';
import { MergedShards } from './merged_shards.js';
import { MetadataTable } from './metadata_table.js';
import { RangeIndex } from './range_index.js';
import type { KeyspaceRecord, MetaRecord, ShardRecord, ShardTarget, StoreRecord, StoredStoreState } from './records.js';
import { epochIsNewer, toShardRecord } from './records.js';

/** Ids of the rows that commands touched since takeChanges(). */
export interface StateChanges {
  meta: boolean;
  readonly stores: Set<number>;
  readonly keyspaces: Set<number>;
  readonly shards: Set<number>;
  readonly targets: Set<number>;
  /** Keys of the metadata table. */
  readonly metadata: Set<string>;
  /** Ids of placement members. */
  readonly members: Set<number>;
}

function noChanges(): StateChanges {
  return {
    meta: false,
    stores: new Set(),
    keyspaces: new Set(),
    shards: new Set(),
    targets: new Set(),
    metadata: new Set(),
    members: new Set(),
  };
}

type Command<K extends PlacementCommand['kind']> = Extract<PlacementCommand, { kind: K }>;

function done(value: number): CommandOutcome {
  return { ok: true, value };
}

function refuse(error: TypedError): CommandOutcome {
  return { ok: false, error };
}

/**
 * What the placement group agrees on: cluster id, stores, keyspaces, shards with their epochs, and ids. Pure: the
 * same commands in the same order make the same state on every member. Who leads a shard and how a store feels is not
 * in here; that is observed anew by every leader (cluster_view.ts).
 */
export class ClusterState {
  readonly metadata = new MetadataTable();
  readonly members = new MemberTable();
  private meta = firstMeta;
  private readonly storesById = new Map<number, StoreRecord>();
  private readonly storeIdByDirectory = new Map<string, number>();
  private readonly storeIdByAddress = new Map<string, number>();
  private readonly keyspacesById = new Map<number, KeyspaceRecord>();
  private readonly keyspaceIdByName = new Map<string, number>();
  private readonly shardsById = new Map<number, ShardRecord>();
  private readonly merged = new MergedShards();
  private readonly targetsByShard = new Map<number, ShardTarget>();
  private readonly ranges = new Map<number, RangeIndex>();
  private readonly shardIdsByStore = new Map<number, Set<number>>();
  /** Replicas by keyspace and store. */
  private readonly replicaCounts = new Map<number, Map<number, number>>();
  private changes = noChanges();

  get clusterId(): number {
    return this.meta.clusterId;
  }

  get metaRecord(): MetaRecord {
    return this.meta;
  }

  get shardCount(): number {
    return this.shardsById.size;
  }

  store(storeId: number): StoreRecord | undefined {
    return this.storesById.get(storeId);
  }

  stores(): IterableIterator<StoreRecord> {
    return this.storesById.values();
  }

  keyspace(keyspaceId: number): KeyspaceRecord | undefined {
    return this.keyspacesById.get(keyspaceId);
  }

  keyspaceByName(name: string): KeyspaceRecord | undefined {
    const id = this.keyspaceIdByName.get(name);
    return id === undefined ? undefined : this.keyspacesById.get(id);
  }

  keyspaces(): IterableIterator<KeyspaceRecord> {
    return this.keyspacesById.values();
  }

  shard(shardId: number): ShardRecord | undefined {
    return this.shardsById.get(shardId);
  }

  /** The shard that a shard which was merged away is a part of, as far as that is still remembered. */
  holderOf(mergedShardId: number): ShardRecord | undefined {
    return this.shardsById.get(this.merged.holderOf(mergedShardId) ?? 0);
  }

  shards(): IterableIterator<ShardRecord> {
    return this.shardsById.values();
  }

  target(shardId: number): ShardTarget | undefined {
    return this.targetsByShard.get(shardId);
  }

  targets(): IterableIterator<ShardTarget> {
    return this.targetsByShard.values();
  }

  /** Voters that this shard should have. */
  wantedVoters(shard: ShardRecord): number {
    return (
      this.targetsByShard.get(shard.shardId)?.voters ?? this.keyspacesById.get(shard.keyspaceId)?.replicaCount ?? 0
    );
  }

  /** Shards with a replica on the store. */
  shardIdsOn(storeId: number): ReadonlySet<number> {
    return this.shardIdsByStore.get(storeId) ?? emptySet;
  }

  /** Replicas of the keyspace on the store. */
  replicasOf(keyspaceId: number, storeId: number): number {
    return this.replicaCounts.get(keyspaceId)?.get(storeId) ?? 0;
  }

  shardCountOf(keyspaceId: number): number {
    return this.ranges.get(keyspaceId)?.size ?? 0;
  }

  /** The shard that holds an encoded key; undefined in a gap (between the two reports of a split's halves). */
  shardAt(keyspaceId: number, encodedKey: Uint8Array): ShardRecord | undefined {
    const id = this.ranges.get(keyspaceId)?.floor(encodedKey);
    const shard = id === undefined ? undefined : this.shardsById.get(id);
    return shard !== undefined && inRange(encodedKey, shard.startKey, shard.endKey) ? shard : undefined;
  }

  /** The shard that comes before a start key in its keyspace. */
  shardBefore(keyspaceId: number, startKey: Uint8Array): ShardRecord | undefined {
    const id = this.ranges.get(keyspaceId)?.before(startKey);
    return id === undefined ? undefined : this.shardsById.get(id);
  }

  /** Shards that share keys with [start, end), in order; empty bounds are open. */
  *shardsIn(keyspaceId: number, start: Uint8Array, end: Uint8Array): IterableIterator<ShardRecord> {
    for (const id of this.ranges.get(keyspaceId)?.from(start) ?? []) {
      const shard = must(this.shardsById.get(id), 'a shard of the range index');
      if (end.length > 0 && Buffer.compare(shard.startKey, end) >= 0) return;
      if (shard.endKey.length > 0 && Buffer.compare(shard.endKey, start) <= 0) continue;
      yield shard;
    }
  }

  /** The rows touched since the last call. */
  takeChanges(): StateChanges {
    const taken = this.changes;
    this.changes = noChanges();
    return taken;
  }

  apply(command: PlacementCommand): CommandOutcome {
    switch (command.kind) {
      case 'bootstrap':
        return this.bootstrap(command);
      case 'registerStore':
        return this.registerStore(command);
      case 'setStoreState':
        return this.setStoreState(command.storeId, command.state);
      case 'createKeyspace':
        return this.createKeyspace(command);
      case 'addShards':
        return this.addShards(command);
      case 'abandonKeyspace':
        return this.abandonKeyspace(command.keyspaceId);
      case 'setKeyspaceRules':
        return this.setKeyspaceRules(command);
      case 'markKeyspaceReady':
        return this.markKeyspaceReady(command.keyspaceId);
      case 'updateShards':
        return done(command.shards.filter((shard) => this.updateShard(shard)).length);
      case 'allocateIds':
        return done(this.allocate(command.count));
      case 'setShardTarget':
        return this.setShardTarget(command);
      case 'setMetadata':
        return this.setMetadata(command);
      case 'deleteMetadata':
        return this.deleteMetadata(command);
      case 'putMember':
        return this.putMember(command.memberId, command.address);
      case 'removeMember':
        return this.removeMember(command.memberId);
      case 'forgetMember':
        return this.forgetMember(command.memberId);
      default:
        return unreachable(command);
    }
  }

  private bootstrap(command: Command<'bootstrap'>): CommandOutcome {
    if (this.meta.clusterId === 0) this.setMeta({ clusterId: command.clusterId });
    return done(this.meta.clusterId);
  }

  private registerStore(command: Command<'registerStore'>): CommandOutcome {
    const known = command.storeId === 0 ? this.storeIdByDirectory.get(command.directoryId) : command.storeId;
    const before = known === undefined ? undefined : this.storesById.get(known);
    if (known !== undefined && before === undefined) return refuse(storeNotFound(known));
    if (before?.state === 'tombstone') {
      return refuse(failedPrecondition('STORE_TOMBSTONE', `store ${before.storeId} was removed from the cluster`));
    }
    if (before !== undefined && before.directoryId !== command.directoryId) {
      const message = `store ${before.storeId} is registered with another data directory`;
      return refuse(failedPrecondition('DIRECTORY_MISMATCH', message));
    }
    if (before === undefined && this.storesById.size >= storesMax) {
      return refuse(serverIsBusy('placement.stores', 60_000));
    }
    const other = this.storesById.get(this.storeIdByAddress.get(command.address) ?? 0);
    if (other !== undefined && other.storeId !== before?.storeId) {
      // A store that moved to another port leaves its old address behind until it registers again: the newcomer wins.
      this.putStore({ ...other, address: '' });
    }
    const storeId = before?.storeId ?? this.meta.nextStoreId;
    if (before === undefined) this.setMeta({ nextStoreId: storeId + 1 });
    this.putStore({
      storeId,
      address: command.address,
      labels: command.labels,
      state: before?.state ?? 'up',
      version: command.version,
      engine: command.engine,
      directoryId: command.directoryId,
    });
    return done(storeId);
  }

  private setStoreState(storeId: number, state: StoredStoreState): CommandOutcome {
    const store = this.storesById.get(storeId);
    if (store === undefined) return refuse(storeNotFound(storeId));
    if (store.state === state) return done(storeId);
    if (store.state === 'tombstone') {
      return refuse(failedPrecondition('STORE_TOMBSTONE', `store ${storeId} was removed from the cluster`));
    }
    if (state === 'tombstone' && (store.state !== 'draining' || this.shardIdsOn(storeId).size > 0)) {
      return refuse(failedPrecondition('STORE_NOT_EMPTY', `store ${storeId} must be drained before it is removed`));
    }
    this.putStore({ ...store, state });
    return done(storeId);
  }

  private createKeyspace(command: Command<'createKeyspace'>): CommandOutcome {
    if (this.keyspaceIdByName.has(command.name))
      return refuse(alreadyExists(`keyspace ${JSON.stringify(command.name)}`));
    const keyspaceId = this.meta.nextKeyspaceId;
    this.setMeta({ nextKeyspaceId: keyspaceId + 1 });
    const { name, partitioning, replicaCount, initialShards } = command;
    this.putKeyspace({ keyspaceId, name, partitioning, replicaCount, initialShards, phase: 'planning' });
    return done(keyspaceId);
  }

  private addShards(command: Command<'addShards'>): CommandOutcome {
    const keyspace = this.keyspacesById.get(command.keyspaceId);
    if (keyspace === undefined) return refuse(keyspaceNotFound('', command.keyspaceId));
    if (keyspace.phase !== 'planning') {
      return refuse(failedPrecondition('KEYSPACE_PLANNED', `keyspace ${keyspace.keyspaceId} has all of its shards`));
    }
    for (const plan of command.shards) this.putShard(this.shardOf(keyspace, plan));
    const count = this.shardCountOf(keyspace.keyspaceId);
    assert(count <= keyspace.initialShards, 'a keyspace gets as many shards as were announced');
    if (count === keyspace.initialShards) this.putKeyspace({ ...keyspace, phase: 'creating' });
    return done(count);
  }

  private shardOf(keyspace: KeyspaceRecord, plan: ShardPlan): ShardRecord {
    const shardId = this.allocate(1 + plan.storeIds.length);
    return {
      shardId,
      keyspaceId: keyspace.keyspaceId,
      partitioning: keyspace.partitioning,
      startKey: plan.startKey,
      endKey: plan.endKey,
      epoch: { confVer: 1, version: 1 },
      replicas: plan.storeIds.map((storeId, i) => ({ replicaId: shardId + 1 + i, storeId, role: ReplicaRole.VOTER })),
      merge: undefined,
    };
  }

  private abandonKeyspace(keyspaceId: number): CommandOutcome {
    const keyspace = this.keyspacesById.get(keyspaceId);
    if (keyspace === undefined) return refuse(keyspaceNotFound('', keyspaceId));
    if (keyspace.phase !== 'planning') {
      return refuse(failedPrecondition('KEYSPACE_PLANNED', `keyspace ${keyspaceId} has all of its shards`));
    }
    for (const shard of [...this.shardsIn(keyspaceId, emptyKey, emptyKey)]) this.dropShard(shard);
    this.ranges.delete(keyspaceId);
    this.keyspacesById.delete(keyspaceId);
    this.keyspaceIdByName.delete(keyspace.name);
    this.changes.keyspaces.add(keyspaceId);
    return done(keyspaceId);
  }

  private setKeyspaceRules({ keyspaceId, rules }: Command<'setKeyspaceRules'>): CommandOutcome {
    const keyspace = this.keyspacesById.get(keyspaceId);
    if (keyspace === undefined) return refuse(keyspaceNotFound('', keyspaceId));
    this.putKeyspace({ ...keyspace, rules, replicaCount: rules.voters });
    return done(keyspaceId);
  }

  private markKeyspaceReady(keyspaceId: number): CommandOutcome {
    const keyspace = this.keyspacesById.get(keyspaceId);
    if (keyspace === undefined) return refuse(keyspaceNotFound('', keyspaceId));
    if (keyspace.phase === 'creating') this.putKeyspace({ ...keyspace, phase: 'ready' });
    return done(keyspaceId);
  }

  /** True when the descriptor was taken. A late or repeated report is not an error: reports race with each other. */
  private updateShard(given: Shard): boolean {
    const shard = toShardRecord(given);
    if (shard === null || !this.keyspacesById.has(shard.keyspaceId)) return false;
    const before = this.shardsById.get(shard.shardId);
    if (before !== undefined && !epochIsNewer(shard.epoch, before.epoch)) return false;
    if (before !== undefined && before.keyspaceId !== shard.keyspaceId) return false;
    if (before === undefined && this.isTakenIn(shard)) return false;
    for (const { shardId } of shard.merge?.merged ?? []) {
      const gone = this.shardsById.get(shardId);
      if (gone !== undefined) this.dropShard(gone);
    }
    const holder = this.ranges.get(shard.keyspaceId)?.get(shard.startKey);
    if (holder !== undefined && holder !== shard.shardId) return false;
    this.putShard(shard);
    // Ids that stores report were allocated here; a counter behind them would hand one out twice.
    const highest = Math.max(shard.shardId, ...shard.replicas.map((r) => r.replicaId));
    if (highest >= this.meta.nextId) this.setMeta({ nextId: highest + 1 });
    return true;
  }

  /** A late report of a shard that has become a part of another one: that one has its keys at a later version. */
  private isTakenIn(shard: ShardRecord): boolean {
    const holder = this.shardAt(shard.keyspaceId, shard.startKey);
    return holder !== undefined && holder.epoch.version > shard.epoch.version;
  }

  private setShardTarget(command: Command<'setShardTarget'>): CommandOutcome {
    const { shardId, voters, learnerStoreIds } = command;
    if (!this.shardsById.has(shardId)) return refuse(shardNotFound(shardId));
    if (voters === 0) this.targetsByShard.delete(shardId);
    else this.targetsByShard.set(shardId, { shardId, voters, learnerStoreIds });
    this.changes.targets.add(shardId);
    return done(shardId);
  }

  private setMetadata({ key, value, ifVersion }: Command<'setMetadata'>): CommandOutcome {
    const refusal = this.metadata.refusalOfSet(key, value, ifVersion);
    if (refusal !== null) return refuse(refusal);
    const version = this.nextMetadataVersion();
    this.metadata.set({ key, value, version });
    this.changes.metadata.add(key);
    return done(version);
  }

  private deleteMetadata({ key, ifVersion }: Command<'deleteMetadata'>): CommandOutcome {
    const outcome = this.metadata.delete(key, ifVersion);
    if (!outcome.ok || outcome.value === 0) return outcome;
    this.nextMetadataVersion();
    this.changes.metadata.add(key);
    return outcome;
  }

  private putMember(wantedId: number, address: string): CommandOutcome {
    const admitted = this.members.admit(wantedId, address, this.meta.nextMemberId);
    if (!admitted.ok) return admitted;
    const memberId = admitted.value;
    const before = this.members.get(memberId);
    if (before?.address === address) return admitted;
    this.members.put({ memberId, address, leaving: before?.leaving ?? false });
    this.memberChanged(memberId);
    return admitted;
  }

  private removeMember(memberId: number): CommandOutcome {
    const before = this.members.get(memberId);
    // Gone already: asked for twice.
    if (before === undefined && memberId < this.meta.nextMemberId) return done(memberId);
    const refusal = this.members.refusalOfRemoval(memberId);
    if (refusal !== null || before === undefined) return refuse(must(refusal, 'a refusal of an unknown member'));
    if (before.leaving) return done(memberId);
    this.members.put({ ...before, leaving: true });
    this.memberChanged(memberId);
    return done(memberId);
  }

  private forgetMember(memberId: number): CommandOutcome {
    if (this.members.get(memberId)?.leaving === true) {
      this.members.delete(memberId);
      this.memberChanged(memberId);
    }
    return done(memberId);
  }

  private memberChanged(memberId: number): void {
    const nextMemberId = Math.max(this.meta.nextMemberId, memberId + 1);
    this.setMeta({ nextMemberId, membersVersion: this.meta.membersVersion + 1 });
    this.changes.members.add(memberId);
  }

  private nextMetadataVersion(): number {
    this.setMeta({ metadataVersion: this.meta.metadataVersion + 1 });
    return this.meta.metadataVersion;
  }

  private allocate(count: number): number {
    const first = this.meta.nextId;
    this.setMeta({ nextId: first + count });
    assert(this.meta.nextId < Number.MAX_SAFE_INTEGER, 'ids stay below 2^53');
    return first;
  }

  private setMeta(changed: Partial<MetaRecord>): void {
    this.meta = { ...this.meta, ...changed };
    this.changes.meta = true;
  }

  private putStore(store: StoreRecord): void {
    this.restoreStore(store);
    this.changes.stores.add(store.storeId);
  }

  private putKeyspace(keyspace: KeyspaceRecord): void {
    this.restoreKeyspace(keyspace);
    this.changes.keyspaces.add(keyspace.keyspaceId);
  }

  private putShard(shard: ShardRecord): void {
    this.restoreShard(shard);
    this.changes.shards.add(shard.shardId);
  }

  private dropShard(shard: ShardRecord): void {
    this.ranges.get(shard.keyspaceId)?.remove(shard.startKey, shard.shardId);
    this.unlinkReplicas(shard);
    this.shardsById.delete(shard.shardId);
    this.merged.forget(shard);
    if (this.targetsByShard.delete(shard.shardId)) this.changes.targets.add(shard.shardId);
    this.changes.shards.add(shard.shardId);
  }

  // Loading: rows go in as they are and count as no change.

  restoreMeta(meta: MetaRecord): void {
    // Rows of earlier versions lack what came later.
    this.meta = { ...firstMeta, ...meta };
  }

  restoreStore(store: StoreRecord): void {
    const before = this.storesById.get(store.storeId);
    if (before !== undefined && this.storeIdByAddress.get(before.address) === store.storeId) {
      this.storeIdByAddress.delete(before.address);
    }
    if (store.address !== '') this.storeIdByAddress.set(store.address, store.storeId);
    this.storesById.set(store.storeId, store);
    this.storeIdByDirectory.set(store.directoryId, store.storeId);
  }

  restoreKeyspace(keyspace: KeyspaceRecord): void {
    this.keyspacesById.set(keyspace.keyspaceId, keyspace);
    this.keyspaceIdByName.set(keyspace.name, keyspace.keyspaceId);
  }

  restoreTarget(target: ShardTarget): void {
    this.targetsByShard.set(target.shardId, target);
  }

  restoreShard(shard: ShardRecord): void {
    const before = this.shardsById.get(shard.shardId);
    let index = this.ranges.get(shard.keyspaceId);
    if (index === undefined) this.ranges.set(shard.keyspaceId, (index = new RangeIndex()));
    if (before === undefined || Buffer.compare(before.startKey, shard.startKey) !== 0) {
      if (before !== undefined) index.remove(before.startKey, shard.shardId);
      index.insert(shard.startKey, shard.shardId);
    }
    if (before !== undefined) this.unlinkReplicas(before);
    for (const { storeId } of shard.replicas) {
      let on = this.shardIdsByStore.get(storeId);
      if (on === undefined) this.shardIdsByStore.set(storeId, (on = new Set()));
      on.add(shard.shardId);
      this.countReplica(shard.keyspaceId, storeId, 1);
    }
    this.shardsById.set(shard.shardId, shard);
    if (before !== undefined) this.merged.forget(before);
    this.merged.note(shard);
  }

  private unlinkReplicas({ shardId, keyspaceId, replicas }: ShardRecord): void {
    for (const { storeId } of replicas) {
      this.shardIdsByStore.get(storeId)?.delete(shardId);
      this.countReplica(keyspaceId, storeId, -1);
    }
  }

  private countReplica(keyspaceId: number, storeId: number, by: 1 | -1): void {
    let counts = this.replicaCounts.get(keyspaceId);
    if (counts === undefined) this.replicaCounts.set(keyspaceId, (counts = new Map<number, number>()));
    counts.set(storeId, (counts.get(storeId) ?? 0) + by);
  }
}

const firstMeta: MetaRecord = {
  clusterId: 0,
  nextId: 1,
  nextStoreId: 1,
  nextKeyspaceId: 1,
  metadataVersion: 0,
  nextMemberId: 1,
  membersVersion: 0,
};
const emptySet: ReadonlySet<number> = new Set();
const emptyKey = Buffer.alloc(0);
