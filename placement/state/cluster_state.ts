import { assert, unreachable } from '../../src/base/assert.js';
import type { TypedError } from '../../src/base/wire_errors.js';
import { serverIsBusy, shardNotFound, storeNotFound } from '../../src/base/wire_errors.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { ReplicaRole } from '../../src/gen/skerry/v1/meta.js';
import type { CommandOutcome, PlacementCommand, ShardPlan } from './commands.js';
import { KeyspaceTable } from './keyspace_table.js';
import type { MemberCommand } from './member_table.js';
import { MemberTable } from './member_table.js';
import { MetadataTable } from './metadata_table.js';
import type { OperatorRecord } from './operator_records.js';
import { OperatorRecords } from './operator_records.js';
import type { KeyspaceRecord, MetaRecord, ShardRecord, ShardTarget, StoreRecord, StoredStoreState } from './records.js';
import { epochIsNewer, toShardRecord } from './records.js';
import { ScrubFindings } from './scrub_findings.js';
import type { RecoveryRecord } from './recovery_table.js';
import { RecoveryTable } from './recovery_table.js';
import { ShardTable } from './shard_table.js';
import type { StateChanges } from './state_changes.js';
import { noChanges } from './state_changes.js';
import { StoreTable } from './store_table.js';

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
  readonly recoveries = new RecoveryTable();
  readonly operators = new OperatorRecords();
  readonly findings = new ScrubFindings();
  private meta = firstMeta;
  private readonly storeTable = new StoreTable();
  private readonly keyspaceTable = new KeyspaceTable();
  private readonly shardTable = new ShardTable();
  private readonly targetsByShard = new Map<number, ShardTarget>();
  private changes = noChanges();

  get clusterId(): number {
    return this.meta.clusterId;
  }

  get metaRecord(): MetaRecord {
    return this.meta;
  }

  get shardCount(): number {
    return this.shardTable.size;
  }

  store(storeId: number): StoreRecord | undefined {
    return this.storeTable.get(storeId);
  }

  stores(): IterableIterator<StoreRecord> {
    return this.storeTable.all();
  }

  keyspace(keyspaceId: number): KeyspaceRecord | undefined {
    return this.keyspaceTable.get(keyspaceId);
  }

  keyspaceByName(name: string): KeyspaceRecord | undefined {
    return this.keyspaceTable.named(name);
  }

  keyspaces(): IterableIterator<KeyspaceRecord> {
    return this.keyspaceTable.all();
  }

  shard(shardId: number): ShardRecord | undefined {
    return this.shardTable.get(shardId);
  }

  /** The shard that a shard which was merged away is a part of, as far as that is still remembered. */
  holderOf(mergedShardId: number): ShardRecord | undefined {
    return this.shardTable.holderOf(mergedShardId);
  }

  shards(): IterableIterator<ShardRecord> {
    return this.shardTable.all();
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
      this.targetsByShard.get(shard.shardId)?.voters ?? this.keyspaceTable.get(shard.keyspaceId)?.replicaCount ?? 0
    );
  }

  /** Shards with a replica on the store. */
  shardIdsOn(storeId: number): ReadonlySet<number> {
    return this.shardTable.idsOn(storeId);
  }

  /** Replicas of the keyspace on the store. */
  replicasOf(keyspaceId: number, storeId: number): number {
    return this.shardTable.replicasOf(keyspaceId, storeId);
  }

  shardCountOf(keyspaceId: number): number {
    return this.shardTable.countOf(keyspaceId);
  }

  /** The shard that holds an encoded key; undefined in a gap (between the two reports of a split's halves). */
  shardAt(keyspaceId: number, encodedKey: Uint8Array): ShardRecord | undefined {
    return this.shardTable.at(keyspaceId, encodedKey);
  }

  /** The shard that comes before a start key in its keyspace. */
  shardBefore(keyspaceId: number, startKey: Uint8Array): ShardRecord | undefined {
    return this.shardTable.before(keyspaceId, startKey);
  }

  /** Shards that share keys with [start, end), in order; empty bounds are open. */
  shardsIn(keyspaceId: number, start: Uint8Array, end: Uint8Array): IterableIterator<ShardRecord> {
    return this.shardTable.in(keyspaceId, start, end);
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
      case 'startOperator':
        return this.startOperator(command);
      case 'recordOperators':
        return done(command.operators.filter((record) => this.recordOperator(record)).length);
      case 'recordFindings':
        return done(command.findings.filter((finding) => this.recordFinding(finding)).length);
      case 'buryStores':
        return this.buryStores(command.storeIds);
      case 'recoverShards':
        return this.recoverShards(command.shards);
      case 'setMetadata':
        return this.setMetadata(command);
      case 'deleteMetadata':
        return this.deleteMetadata(command);
      case 'putMember':
      case 'removeMember':
      case 'forgetMember':
        return this.changeMembers(command);
      default:
        return unreachable(command);
    }
  }

  private bootstrap(command: Command<'bootstrap'>): CommandOutcome {
    if (this.meta.clusterId === 0) this.setMeta({ clusterId: command.clusterId });
    return done(this.meta.clusterId);
  }

  private registerStore(command: Command<'registerStore'>): CommandOutcome {
    const refusal = this.storeTable.refusalOfRegistration(command.storeId, command.directoryId);
    if (refusal !== null) return refuse(refusal);
    const before = this.storeTable.registrant(command.storeId, command.directoryId);
    const other = this.storeTable.atAddress(command.address);
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
    const store = this.storeTable.get(storeId);
    if (store === undefined) return refuse(storeNotFound(storeId));
    const refusal = this.storeTable.refusalOfState(store, state, this.shardIdsOn(storeId).size === 0);
    if (refusal !== null) return refuse(refusal);
    if (store.state === state) return done(storeId);
    this.putStore({ ...store, state });
    return done(storeId);
  }

  private createKeyspace(command: Command<'createKeyspace'>): CommandOutcome {
    const refusal = this.keyspaceTable.refusalOfName(command.name);
    if (refusal !== null) return refuse(refusal);
    const keyspaceId = this.meta.nextKeyspaceId;
    this.setMeta({ nextKeyspaceId: keyspaceId + 1 });
    const { name, partitioning, replicaCount, initialShards, rules } = command;
    const wanted = rules === undefined ? {} : { rules };
    this.putKeyspace({ keyspaceId, name, partitioning, replicaCount, initialShards, phase: 'planning', ...wanted });
    return done(keyspaceId);
  }

  private addShards(command: Command<'addShards'>): CommandOutcome {
    const found = this.keyspaceTable.findInPlanning(command.keyspaceId);
    if (!found.ok) return found;
    const { keyspace } = found;
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
    const found = this.keyspaceTable.findInPlanning(keyspaceId);
    if (!found.ok) return found;
    for (const shard of [...this.shardsIn(keyspaceId, emptyKey, emptyKey)]) this.dropShard(shard);
    this.shardTable.forgetKeyspace(keyspaceId);
    this.keyspaceTable.delete(found.keyspace);
    this.changes.keyspaces.add(keyspaceId);
    return done(keyspaceId);
  }

  private setKeyspaceRules({ keyspaceId, rules }: Command<'setKeyspaceRules'>): CommandOutcome {
    const found = this.keyspaceTable.find(keyspaceId);
    if (!found.ok) return found;
    this.putKeyspace({ ...found.keyspace, rules, replicaCount: rules.voters });
    return done(keyspaceId);
  }

  private markKeyspaceReady(keyspaceId: number): CommandOutcome {
    const found = this.keyspaceTable.find(keyspaceId);
    if (!found.ok) return found;
    if (found.keyspace.phase === 'creating') this.putKeyspace({ ...found.keyspace, phase: 'ready' });
    return done(keyspaceId);
  }

  /** True when the descriptor was taken. A late or repeated report is not an error: reports race with each other. */
  private updateShard(given: Shard): boolean {
    const shard = toShardRecord(given);
    if (shard === null || this.keyspaceTable.get(shard.keyspaceId) === undefined) return false;
    const before = this.shardTable.get(shard.shardId);
    if (before !== undefined && !epochIsNewer(shard.epoch, before.epoch)) return false;
    if (before !== undefined && before.keyspaceId !== shard.keyspaceId) return false;
    if (before === undefined && this.isTakenIn(shard)) return false;
    for (const { shardId } of shard.merge?.merged ?? []) {
      const gone = this.shardTable.get(shardId);
      if (gone !== undefined) this.dropShard(gone);
    }
    const holder = this.shardTable.startingAt(shard.keyspaceId, shard.startKey);
    if (holder !== undefined && holder.shardId !== shard.shardId) return false;
    this.putShard(shard);
    if (this.recoveries.settle(shard)) this.changes.recoveries.add(shard.shardId);
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

  private buryStores(storeIds: readonly number[]): CommandOutcome {
    for (const storeId of storeIds) {
      const store = this.storeTable.get(storeId);
      if (store === undefined) return refuse(storeNotFound(storeId));
      if (store.state !== 'tombstone') this.putStore({ ...store, state: 'tombstone' });
    }
    return done(storeIds.length);
  }

  private recoverShards(records: readonly RecoveryRecord[]): CommandOutcome {
    const wanted = records.filter((record) => {
      const before = this.recoveries.get(record.shardId);
      const isChosen = before !== undefined && this.storeTable.get(before.storeId)?.state !== 'tombstone';
      return !isChosen && (this.shardTable.get(record.shardId)?.epoch.confVer ?? 0) < record.epoch.confVer;
    });
    for (const record of wanted) {
      this.recoveries.put(record);
      this.changes.recoveries.add(record.shardId);
    }
    return done(wanted.length);
  }

  private setShardTarget(command: Command<'setShardTarget'>): CommandOutcome {
    const { shardId, voters, learnerStoreIds } = command;
    if (this.shardTable.get(shardId) === undefined) return refuse(shardNotFound(shardId));
    this.putTarget(shardId, { voters, learnerStoreIds });
    return done(shardId);
  }

  private putTarget(shardId: number, { voters, learnerStoreIds }: Omit<ShardTarget, 'shardId'>): void {
    if (voters === 0) this.targetsByShard.delete(shardId);
    else this.targetsByShard.set(shardId, { shardId, voters, learnerStoreIds });
    this.changes.targets.add(shardId);
  }

  private startOperator({ operator, target }: Command<'startOperator'>): CommandOutcome {
    const { operatorId, shardId } = operator;
    if (this.shardTable.get(shardId) === undefined) return refuse(shardNotFound(shardId));
    if (this.operators.isFull) return refuse(serverIsBusy('placement.operators', operatorsBusyRetryMs));
    const before = this.targetsByShard.get(shardId);
    const targetBefore = { voters: before?.voters ?? 0, learnerStoreIds: before?.learnerStoreIds ?? [] };
    const isNew = this.operators.put(target === null ? operator : { ...operator, targetBefore });
    if (isNew && target !== null) this.putTarget(shardId, target);
    this.changes.operators.add(operatorId);
    return done(operatorId);
  }

  /** True: the record was taken. One that comes late, after the end, is not. */
  private recordOperator(record: OperatorRecord): boolean {
    const { operatorId, shardId } = record;
    const targetBefore = this.operators.isRunning(operatorId)
      ? this.operators.get(operatorId)?.targetBefore
      : undefined;
    if (record.endedAtWallMs === 0) {
      const taken = this.operators.put(targetBefore === undefined ? record : { ...record, targetBefore });
      if (taken) this.changes.operators.add(operatorId);
      return taken;
    }
    const dropped = this.operators.end(record);
    if (dropped === false) return false;
    for (const id of [operatorId, ...dropped]) this.changes.operators.add(id);
    const failed = record.state !== 'success';
    if (failed && targetBefore !== undefined && this.shardTable.get(shardId) !== undefined) {
      this.putTarget(shardId, targetBefore);
    }
    return true;
  }

  private recordFinding({ shardId, verdict }: Command<'recordFindings'>['findings'][number]): boolean {
    if (this.shardTable.get(shardId) === undefined) return false;
    const taken = verdict === null ? this.findings.delete(shardId) : this.findings.put(verdict);
    if (taken) this.changes.findings.add(shardId);
    return taken;
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

  private changeMembers(command: MemberCommand): CommandOutcome {
    const { outcome, changedId } = this.members.apply(command, this.meta);
    if (changedId === null) return outcome;
    const nextMemberId = Math.max(this.meta.nextMemberId, changedId + 1);
    this.setMeta({ nextMemberId, membersVersion: this.meta.membersVersion + 1 });
    this.changes.members.add(changedId);
    return outcome;
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
    this.shardTable.drop(shard);
    if (this.targetsByShard.delete(shard.shardId)) this.changes.targets.add(shard.shardId);
    if (this.findings.delete(shard.shardId)) this.changes.findings.add(shard.shardId);
    this.changes.shards.add(shard.shardId);
  }

  // Loading: rows go in as they are and count as no change.

  restoreMeta(meta: MetaRecord): void {
    // Rows of earlier versions lack what came later.
    this.meta = { ...firstMeta, ...meta };
  }

  restoreStore(store: StoreRecord): void {
    this.storeTable.put(store);
  }

  restoreKeyspace(keyspace: KeyspaceRecord): void {
    this.keyspaceTable.put(keyspace);
  }

  restoreTarget(target: ShardTarget): void {
    this.targetsByShard.set(target.shardId, target);
  }

  restoreShard(shard: ShardRecord): void {
    this.shardTable.put(shard);
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
/** Operators end within minutes. */
const operatorsBusyRetryMs = 10_000;
const emptyKey = Buffer.alloc(0);
