import { assert } from '../src/base/assert.js';
import { dataRange, replicaKey, sessionKey } from '../src/engine/keys.js';
import type { ChecksumCommand, CommitMergeCommand, SessionRecord, SplitCommand } from '../src/gen/skerry/v1/kv.js';
import { AdminCommand, ConfChangeContext, ReplicaState } from '../src/gen/skerry/v1/kv.js';
import { Shard } from '../src/gen/skerry/v1/meta.js';
import type {
  ApplyContext,
  Command,
  GroupSpec,
  Readiness,
  StagedSnapshot,
  StateMachine,
  StateSnapshot,
} from '../src/multiraft/host.js';
import type { ConfChange } from '../src/raft/conf_change.js';
import type { ConfState, SnapshotMeta } from '../src/raft/message.js';
import type { WriteCommand } from '../src/wire/kv_codec.js';
import { decodeWriteCommand, WireError } from '../src/wire/kv_codec.js';
import { acceptableChange, epochOf, replicasOf, sameEpoch } from './descriptor.js';
import { buryReplica } from './drop_replica.js';
import { commitMerge, forbidMerge, isBelow, prepareMerge, rollbackMerge } from './merge.js';
import { encodeReplicaRecord, encodeSessionRecord, ReplicaRecordWriter } from './records.js';
import { RowChanges } from './row_changes.js';
import { mergeSessions } from './session_merge.js';
import { SessionTable } from './session_table.js';
import type { ShardHost } from './shard_host.js';
import { ShardKeys } from './shard_keys.js';
import { installShardSnapshot, stagedFileName } from './snapshot_install.js';
import { snapshotFormatVersion } from './snapshot_format.js';
import { openShardSnapshot } from './snapshot_source.js';
import { splitShard } from './split.js';
import type { WriteOutcome } from './write_outcome.js';
import { written } from './write_outcome.js';

/**
 * One shard's replicated state: its rows, its sessions, its descriptor.
 *
 *   uninitialized ──first snapshot──▶ installing ──▶ normal ──removed from the group──▶ removed
 *                                         ▲            │
 *                                         └──snapshot──┘
 *
 * Everything that one batch of entries does goes into one engine batch with the applied position, so
 * that a crash never leaves a row without its position or the other way round. `shard`, `sessions` and the position in memory are ahead
 * of the engine by the batch that is being built, never behind.
 */
export type ReplicaPhase =
  | 'uninitialized'
  | 'normal'
  | 'installing'
  /** No member any more, as far as it knows: it serves nothing, but votes until placement has it destroyed. */
  | 'leaving'
  | 'removed';

/** Log position at which every initial replica of a shard starts. Leaves room for marks below it. */
export const initialPosition = Object.freeze({ index: 5, term: 5 });

interface Decoded {
  readonly commands: readonly Command[];
  /** null: an administrative command, or bytes that are none. */
  readonly writes: readonly (WriteCommand | null)[];
}

export interface ShardState {
  readonly replicaId: number;
  readonly shard: Shard;
  readonly phase: 'uninitialized' | 'normal';
  readonly applied: GroupSpec['applied'];
  readonly sessions: SessionTable;
}

export class ShardStateMachine implements StateMachine {
  readonly replicaId: number;
  /** Reads served here, and writes applied, since the start. */
  readsTaken = 0;
  writesTaken = 0;
  private readonly host: ShardHost;
  private current: Shard;
  private currentPhase: Exclude<ReplicaPhase, 'leaving'>;
  private isMember: boolean;
  /** Null: made when it is wanted next. */
  private keysMade: ShardKeys | null = null;
  private sessions: SessionTable;
  private recordWriter: ReplicaRecordWriter | null = null;
  private appliedIndex: number;
  private appliedTerm: number;
  /** Entries that keysToRead() has decoded and apply() has not met yet, in log order. */
  private decoded: Decoded[] = [];
  /** What the batch under way did to rows and sessions; only kept when it holds a checksum command. */
  private changes: RowChanges | null = null;

  constructor(host: ShardHost, state: ShardState) {
    this.host = host;
    this.replicaId = state.replicaId;
    // A list that was decoded has room for more: a copy is as long as it must be.
    this.current = { ...state.shard, replicas: state.shard.replicas.slice() };
    this.currentPhase = state.phase;
    this.isMember = isMemberOf(state.shard, state.replicaId);
    this.sessions = state.sessions;
    this.appliedIndex = state.applied.index;
    this.appliedTerm = state.applied.term;
  }

  /** The descriptor as of the last applied entry. */
  get shard(): Shard {
    return this.current;
  }

  get shardId(): number {
    return this.current.shardId;
  }

  get phase(): ReplicaPhase {
    return this.currentPhase === 'normal' && !this.isMember ? 'leaving' : this.currentPhase;
  }

  get applied(): GroupSpec['applied'] {
    return { index: this.appliedIndex, term: this.appliedTerm };
  }

  get shardKeys(): ShardKeys {
    return this.keys;
  }

  /** Sessions remembered, for status. */
  get sessionCount(): number {
    return this.sessions.size;
  }

  /** Neither read nor written: it waits to become a part of its neighbour. */
  get isMerging(): boolean {
    return this.current.merge?.into !== undefined;
  }

  sessionRows(): IterableIterator<[sessionId: number, record: SessionRecord]> {
    return this.sessions.rows();
  }

  readiness(commands: readonly Command[]): Readiness {
    for (const { kind, bytes } of commands) {
      const command = kind === 2 ? decodeAdmin(bytes) : undefined;
      if (command?.$case !== 'commitMerge') continue;
      const verdict = commitMerge(this.current, command.value);
      return verdict.kind === 'refused' ? 'alone' : this.host.merges.readiness(verdict.source, verdict.into);
    }
    return 'any';
  }

  keysToRead(commands: readonly Command[]): readonly Buffer[] | null {
    const writes = commands.map((command) => (command.kind === 1 ? decodeWrite(command.bytes) : null));
    this.decoded.push({ commands, writes });
    if (commands.some(isChecksum)) this.changes ??= new RowChanges(this.appliedIndex);
    let keys: Buffer[] | null = null;
    for (const write of writes) {
      if (write === null) continue;
      for (const mutation of write.mutations) {
        if (mutation.kind === 'swap') (keys ??= []).push(this.keys.engineKey(mutation.key));
      }
    }
    return keys;
  }

  apply(index: number, term: number, commands: readonly Command[], ctx: ApplyContext): readonly WriteOutcome[] {
    if (this.currentPhase === 'removed') return commands.map(() => ({ kind: 'removed' }));
    this.moveTo(index, term);
    const writes = this.takeDecoded(commands);
    return commands.map((command, at) => {
      if (command.kind === 2) return this.applyAdmin(command.bytes, ctx);
      const write = writes[at];
      return write === null || write === undefined ? { kind: 'malformed' } : this.applyWrite(index, write, ctx);
    });
  }

  acceptConfChange(change: ConfChange): boolean {
    if (this.currentPhase === 'removed' || this.isMerging || !acceptableChange(this.current, change)) return false;
    const context = decodeContext(change.context);
    return context !== null && sameEpoch(context.epoch, this.current.epoch);
  }

  applyConfChange(index: number, term: number, change: ConfChange | null, confState: ConfState): WriteOutcome {
    if (this.currentPhase === 'removed') return { kind: 'removed' };
    this.moveTo(index, term);
    if (change === null) return { kind: 'refused', reason: 'epoch' };
    const added = new Map(decodeContext(change.context)?.replicas.map((r) => [r.replicaId, r.storeId]) ?? []);
    const replicas = replicasOf(confState, (id) => added.get(id) ?? this.hostOf(id));
    const { confVer, version } = epochOf(this.current);
    this.setShard({ ...this.current, replicas, epoch: { confVer: confVer + 1, version } });
    this.host.descriptorChanged(this);
    return { kind: 'changed', shard: this.current };
  }

  finishBatch(ctx: ApplyContext): void {
    if (this.currentPhase === 'removed') return;
    assert(this.currentPhase === 'normal', 'entries are applied to an initialized replica only');
    this.writeSessions(ctx);
    this.changes = null;
    this.recordWriter ??= new ReplicaRecordWriter(this.replicaId, this.current);
    ctx.batch.put(replicaKey(this.shardId), this.recordWriter.encode(this.appliedIndex, this.appliedTerm));
  }

  hostOf(replicaId: number): number {
    // A handful of replicas: looking through them costs less than a map, in time and in memory.
    for (const replica of this.current.replicas) if (replica.replicaId === replicaId) return replica.storeId;
    return 0;
  }

  get snapshotFormatVersion(): number {
    return snapshotFormatVersion;
  }

  openSnapshot(): Promise<StateSnapshot> {
    return openShardSnapshot(this.host.engine, this.shardId);
  }

  async installSnapshot(meta: SnapshotMeta, descriptor: Buffer, staged: StagedSnapshot): Promise<void> {
    assert(this.currentPhase !== 'removed', 'a removed replica gets no snapshot');
    this.host.engine.writeHeld();
    const previous = this.currentPhase === 'uninitialized' ? null : this.current;
    this.currentPhase = 'installing';
    this.decoded = [];
    this.changes = null;
    this.setShard(Shard.decode(descriptor));
    const taken = this.host.merges.takeMerged(this.current);
    this.host.descriptorChanged(this);
    const sessions = await installShardSnapshot(
      this.host.engine,
      {
        replicaId: this.replicaId,
        shard: this.current,
        appliedIndex: meta.index,
        appliedTerm: meta.term,
        stagedFile: stagedFileName(staged),
        previous,
        taken: taken.map(({ shard, replicaId }) => ({ shard, replicaId })),
      },
      staged.read(),
    );
    this.host.merges.installed(taken);
    // Another part of the store may have destroyed the replica meanwhile.
    if (this.isRemoved()) return;
    this.sessions = SessionTable.load(sessions);
    this.moveTo(meta.index, meta.term);
    this.currentPhase = 'normal';
    this.host.descriptorChanged(this);
  }

  leaderChanged(leaderId: number, term: number, isLeader: boolean): void {
    this.host.leaderChanged(this, leaderId, term, isLeader);
  }

  /** From now on nothing is applied or served: the store is about to drop the replica outside of the log's order. */
  markRemoved(): void {
    // What was applied is written with its position while this is a replica.
    this.host.engine.writeHeld();
    this.currentPhase = 'removed';
  }

  trim(): void {
    this.keysMade = null;
    this.recordWriter = null;
    if (this.decoded.length === 0) this.decoded = [];
  }

  private get keys(): ShardKeys {
    return (this.keysMade ??= new ShardKeys(this.current));
  }

  private isRemoved(): boolean {
    return this.currentPhase === 'removed';
  }

  private moveTo(index: number, term: number): void {
    assert(index >= this.appliedIndex && term >= this.appliedTerm, 'the applied position does not go back');
    this.appliedIndex = index;
    this.appliedTerm = term;
  }

  private setShard(shard: Shard): void {
    this.current = shard;
    this.isMember = isMemberOf(shard, this.replicaId);
    this.keysMade = null;
    this.recordWriter = null;
  }

  private takeDecoded(commands: readonly Command[]): readonly (WriteCommand | null)[] {
    const first = this.decoded[0];
    if (first?.commands === commands) {
      this.decoded.shift();
      return first.writes;
    }
    return commands.map((command) => (command.kind === 1 ? decodeWrite(command.bytes) : null));
  }

  private applyWrite(index: number, write: WriteCommand, ctx: ApplyContext): WriteOutcome {
    const { sessionId, sequence, mutations } = write;
    this.writesTaken++;
    const keys: Buffer[] = [];
    for (const { key } of mutations) {
      if (this.isMerging) return { kind: 'keyNotInShard', key };
      const engineKey = this.keys.engineKey(key);
      if (!this.keys.contains(engineKey)) return { kind: 'keyNotInShard', key };
      keys.push(engineKey);
    }
    const verdict = this.sessions.judge(sessionId, sequence, write.retry, keys);
    if (verdict === 'duplicate') return written;
    if (verdict === 'expired') return { kind: 'sessionExpired', sessionId };
    const failure = failedSwap(write, keys, ctx);
    if (failure !== null) {
      this.sessions.record(sessionId, sequence, write.ackedBelow, index, 'refused', keys);
      return failure;
    }
    // An earlier attempt failed, and its client may know: this one must not succeed.
    if (verdict === 'refused') return { kind: 'sessionExpired', sessionId };
    mutations.forEach((mutation, at) => {
      const key = keys[at];
      assert(key !== undefined, 'every mutation has its key');
      this.writeRow(key, mutation.kind === 'delete' ? null : mutation.value, ctx);
    });
    this.sessions.record(sessionId, sequence, write.ackedBelow, index, 'applied', keys);
    return written;
  }

  private writeSessions(ctx: ApplyContext): void {
    for (const { sessionId, record } of this.sessions.takeChanges()) {
      this.writeRow(sessionKey(this.shardId, sessionId), record === null ? null : encodeSessionRecord(record), ctx);
    }
  }

  private writeRow(key: Buffer, value: Buffer | null, ctx: ApplyContext): void {
    if (value === null) ctx.batch.delete(key);
    else ctx.batch.put(key, value);
    this.changes?.note(key, value);
  }

  private applyAdmin(bytes: Buffer, ctx: ApplyContext): WriteOutcome {
    const command = decodeAdmin(bytes);
    switch (command?.$case) {
      case 'split':
        return this.applySplit(command.value, ctx);
      case 'checksum':
        return this.applyChecksum(command.value, ctx);
      case 'prepareMerge': {
        const verdict = prepareMerge(this.current, command.value, this.appliedIndex, this.appliedTerm);
        return verdict.kind === 'refused' ? verdict : this.changeTo(verdict.shard);
      }
      case 'commitMerge':
        return this.applyCommitMerge(command.value, ctx);
      case 'forbidMerge':
        return this.changeTo(forbidMerge(this.current, command.value.epoch));
      case 'rollbackMerge':
        return this.changeTo(rollbackMerge(this.current, command.value.epoch));
      case undefined:
        return { kind: 'malformed' };
    }
  }

  /** Changes nothing: the sessions that it writes would be written at the end of the batch. */
  private applyChecksum({ checkId, bytesPerSecond }: ChecksumCommand, ctx: ApplyContext): WriteOutcome {
    this.writeSessions(ctx);
    this.host.takeChecksum({
      checkId,
      bytesPerSecond,
      shard: this.current,
      replicaId: this.replicaId,
      index: this.appliedIndex,
      changes: this.changes?.copy() ?? null,
    });
    return { kind: 'checksum' };
  }

  private changeTo(shard: Shard | null): WriteOutcome {
    if (shard === null) return { kind: 'refused', reason: 'epoch' };
    this.setShard(shard);
    this.host.descriptorChanged(this);
    return { kind: 'changed', shard };
  }

  /** Takes a neighbour in (merge.ts). No row moves but the sessions. */
  private applyCommitMerge(command: CommitMergeCommand, ctx: ApplyContext): WriteOutcome {
    const verdict = commitMerge(this.current, command);
    if (verdict.kind === 'refused') return verdict;
    const source = this.host.merges.takeSource(verdict.source, verdict.into);
    const sourceAbove = !isBelow(source.shard, this.current);
    const boundary = { key: sourceAbove ? source.shard.startKey : this.current.startKey, sourceAbove };
    this.writeSessions(ctx);
    const rows = mergeSessions(this.sessions.rows(), source.sessionRows(), boundary, this.appliedIndex);
    for (const [sessionId] of this.sessions.rows()) {
      if (!rows.has(sessionId)) this.writeRow(sessionKey(this.shardId, sessionId), null, ctx);
    }
    for (const [sessionId, row] of rows) {
      this.writeRow(sessionKey(this.shardId, sessionId), encodeSessionRecord(row), ctx);
    }
    this.sessions = SessionTable.load(rows);
    buryReplica(ctx.batch, source.shard, source.replicaId);
    ctx.after(() => this.host.merges.done(this.shardId, source));
    return this.changeTo(verdict.shard);
  }

  /** Cuts this shard and makes the new right-hand one. No row moves: data is keyed by keyspace. */
  private applySplit(command: SplitCommand, ctx: ApplyContext): WriteOutcome {
    const split = splitShard(this.current, command);
    if (split.kind === 'refused') return split;
    const { left, right } = split;
    this.setShard(left);
    const own = right.replicas.find((r) => r.storeId === this.host.storeId);
    assert(own !== undefined, 'the new shard has a replica wherever the old one has one');
    if (this.host.reserveChild(right.shardId, own.replicaId)) {
      const sessions = this.sessions.copyFor(initialPosition.index);
      const record = { replicaId: own.replicaId, state: ReplicaState.NORMAL, shard: right };
      ctx.batch.put(
        replicaKey(right.shardId),
        encodeReplicaRecord({ ...record, appliedIndex: initialPosition.index, appliedTerm: initialPosition.term }),
      );
      for (const [sessionId, row] of sessions.rows()) {
        ctx.batch.put(sessionKey(right.shardId, sessionId), encodeSessionRecord(row));
      }
      const child = { parentShardId: left.shardId, shard: right, replicaId: own.replicaId, sessions };
      ctx.after(() => this.host.splitDone(child));
    } else {
      const data = dataRange(right.keyspaceId, right.startKey, right.endKey);
      ctx.batch.deleteRange(data.start, data.end);
    }
    this.host.descriptorChanged(this);
    return split;
  }
}

function isMemberOf(shard: Shard, replicaId: number): boolean {
  return shard.replicas.some((r) => r.replicaId === replicaId);
}

/** The outcome of the first swap that does not find what it expects; null when all do. */
function failedSwap(write: WriteCommand, keys: readonly Buffer[], ctx: ApplyContext): WriteOutcome | null {
  for (const [at, mutation] of write.mutations.entries()) {
    if (mutation.kind !== 'swap') continue;
    const key = keys[at];
    assert(key !== undefined, 'every mutation has its key');
    const current = ctx.read(key);
    const { expected } = mutation;
    const equal = current === null || expected === null ? current === expected : current.equals(expected);
    if (!equal) return { kind: 'swapFailed', current };
  }
  return null;
}

/** null: bytes that are no command. They were committed, so every replica passes over them alike. */
function decodeWrite(bytes: Buffer): WriteCommand | null {
  try {
    return decodeWriteCommand(bytes);
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}

/** undefined: committed bytes that are no command, or one of a later version. Answered as malformed by every replica alike. */
function decodeAdmin(bytes: Buffer): AdminCommand['command'] {
  try {
    return AdminCommand.decode(bytes).command;
  } catch {
    return undefined;
  }
}

function isChecksum({ kind, bytes }: Command): boolean {
  return kind === 2 && decodeAdmin(bytes)?.$case === 'checksum';
}

function decodeContext(context: Buffer): ConfChangeContext | null {
  try {
    return ConfChangeContext.decode(context);
  } catch {
    // As above: a change whose context cannot be read is refused by every replica.
    return null;
  }
}
