import { must } from '../../src/base/assert.js';
import { partitioningRange } from '../../src/base/encoded_key.js';
import type { Engine } from '../../src/engine/engine.js';
import { replicaKey, sessionIdOfKey, sessionRange } from '../../src/engine/keys.js';
import { AdminCommand } from '../../src/gen/skerry/v1/kv.js';
import type { ReplicaRecord, SplitCommand } from '../../src/gen/skerry/v1/kv.js';
import { ReplicaRole, Shard } from '../../src/gen/skerry/v1/meta.js';
import type { Command, Readiness } from '../../src/multiraft/host.js';
import { ApplyPass, overlayKey } from '../../src/multiraft/apply_pass.js';
import type { ConfChange } from '../../src/raft/conf_change.js';
import type { ConfState } from '../../src/raft/message.js';
import type { Mutation, WriteCommand } from '../../src/wire/kv_codec.js';
import { encodeWriteCommand } from '../../src/wire/kv_codec.js';
import type { ChecksumRequest } from '../../store/checksums.js';
import { decodeReplicaRecord, decodeSessionRecord } from '../../store/records.js';
import { SessionTable } from '../../store/session_table.js';
import type { MergeHost, ShardHost, SplitChild } from '../../store/shard_host.js';
import { initialPosition, ShardStateMachine } from '../../store/shard_state_machine.js';
import type { WriteOutcome } from '../../store/write_outcome.js';

/** Shard 1 of keyspace 1 by range ['', ''), with replicas 11, 12, 13 on stores 1, 2, 3. */
export function testShard(change: Partial<Shard> = {}): Shard {
  return {
    ...Shard.create(),
    shardId: 1,
    keyspaceId: 1,
    partitioning: partitioningRange,
    epoch: { confVer: 1, version: 1 },
    replicas: [1, 2, 3].map((storeId) => ({ replicaId: 10 + storeId, storeId, role: ReplicaRole.VOTER })),
    ...change,
  };
}

/** The store around a machine: notes what it is told. */
export class TestShardHost implements ShardHost {
  readonly storeId = 1;
  readonly engine: Engine;
  readonly children: SplitChild[] = [];
  readonly merges = new TestMergeHost();
  onChecksum: (request: ChecksumRequest) => void = () => undefined;
  allowChildren = true;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  reserveChild(): boolean {
    return this.allowChildren;
  }

  splitDone(child: SplitChild): void {
    this.children.push(child);
  }

  descriptorChanged(): void {
    // Nothing here depends on it.
  }

  takeChecksum(request: ChecksumRequest): void {
    this.onChecksum(request);
  }

  leaderChanged(): void {
    // Nothing here depends on it.
  }
}

/** Hands out the source that a test has put there. */
export class TestMergeHost implements MergeHost {
  source: ShardStateMachine | null = null;
  readonly ended: number[] = [];

  readiness(): Readiness {
    return this.source === null ? 'never' : 'alone';
  }

  takeSource(): ShardStateMachine {
    const source = must(this.source, 'a source');
    source.markRemoved();
    return source;
  }

  done(_targetShardId: number, source: ShardStateMachine): void {
    this.ended.push(source.shardId);
  }

  takeMerged(): readonly ShardStateMachine[] {
    return [];
  }

  installed(): void {
    // Nothing was taken.
  }
}

export const set = (key: string, value: string): Mutation => ({
  kind: 'set',
  key: Buffer.from(key),
  value: Buffer.from(value),
});
export const del = (key: string): Mutation => ({ kind: 'delete', key: Buffer.from(key) });
export const swap = (key: string, expected: string | null, value: string | null): Mutation => ({
  kind: 'swap',
  key: Buffer.from(key),
  expected: expected === null ? null : Buffer.from(expected),
  value: value === null ? null : Buffer.from(value),
});

export function write(mutations: readonly Mutation[], session: Partial<WriteCommand> = {}): Command {
  const command = { sessionId: 0, sequence: 0, ackedBelow: 0, retry: false, mutations, ...session };
  return { kind: 1, bytes: encodeWriteCommand(command) };
}

export function split(command: SplitCommand): Command {
  return { kind: 2, bytes: Buffer.from(AdminCommand.encode({ command: { $case: 'split', value: command } }).finish()) };
}

/** Applies entries to one machine the way the host does: read, evaluate, one batch, effects. */
export class MachineDriver {
  readonly engine: Engine;
  readonly host: TestShardHost;
  machine: ShardStateMachine;
  private index: number = initialPosition.index;
  private readonly term: number = 6;

  constructor(engine: Engine, shard: Shard = testShard()) {
    this.engine = engine;
    this.host = new TestShardHost(engine);
    this.machine = new ShardStateMachine(this.host, {
      replicaId: 11,
      shard,
      phase: 'normal',
      applied: initialPosition,
      sessions: new SessionTable(),
    });
  }

  /** One entry, one batch. */
  async entry(...commands: Command[]): Promise<WriteOutcome[]> {
    return (await this.batch([commands])).flat();
  }

  /** Several entries in one engine batch. */
  async batch(entries: readonly (readonly Command[])[]): Promise<WriteOutcome[][]> {
    const keys = entries.flatMap((commands) => this.machine.keysToRead(commands) ?? []);
    const values = await this.engine.getMany(keys);
    const overlay = new Map(keys.map((key, at) => [overlayKey(key), values[at] ?? null]));
    const batch = this.engine.newBatch();
    const pass = new ApplyPass(batch, keys.length === 0 ? null : overlay);
    const results = entries.map((commands) => [...this.machine.apply(++this.index, this.term, commands, pass)]);
    this.machine.finishBatch(pass);
    await this.engine.write(batch);
    pass.runEffects();
    return results;
  }

  async confChange(change: ConfChange, confState: ConfState): Promise<WriteOutcome | 'refused'> {
    if (!this.machine.acceptConfChange(change)) return 'refused';
    const batch = this.engine.newBatch();
    const pass = new ApplyPass(batch, null);
    const result = this.machine.applyConfChange(++this.index, this.term, change, confState);
    this.machine.finishBatch(pass);
    await this.engine.write(batch);
    pass.runEffects();
    return result;
  }

  async get(key: string): Promise<string | null> {
    const [value] = await this.engine.getMany([this.machine.shardKeys.engineKey(Buffer.from(key))]);
    return value?.toString() ?? null;
  }

  /** The machine as a restarted store would make it from the engine. */
  async restarted(engine: Engine = this.engine): Promise<MachineDriver> {
    const record = must(await recordOf(engine, this.machine.shardId), 'a replica record');
    const driver = new MachineDriver(engine);
    driver.index = record.appliedIndex;
    driver.machine = new ShardStateMachine(driver.host, {
      replicaId: record.replicaId,
      shard: must(record.shard, 'a descriptor'),
      phase: 'normal',
      applied: { index: record.appliedIndex, term: record.appliedTerm },
      sessions: await sessionsOf(engine, this.machine.shardId),
    });
    return driver;
  }
}

export async function recordOf(engine: Engine, shardId: number): Promise<ReplicaRecord | null> {
  const [row] = await engine.getMany([replicaKey(shardId)]);
  return row === null || row === undefined ? null : decodeReplicaRecord(row);
}

export async function sessionsOf(engine: Engine, shardId: number): Promise<SessionTable> {
  const { start, end } = sessionRange(shardId);
  const page = await engine.scan({ start, end, limit: 10_000, maxBytes: 1 << 20, reverse: false, keysOnly: false });
  return SessionTable.load(page.rows.map(({ key, value }) => [sessionIdOfKey(key), decodeSessionRecord(value)]));
}
