import type { Engine } from '../../src/engine/engine.js';
import type { ApplyContext, Command, StagedSnapshot, StateMachine, StateSnapshot } from '../../src/multiraft/host.js';
import type { ConfChange } from '../../src/raft/conf_change.js';
import type { ConfState, SnapshotMeta } from '../../src/raft/message.js';

/** What the engine holds about a toy group. */
export interface ToyRecord {
  readonly groupId: number;
  readonly replicaId: number;
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
  /** Host of each replica that ever was a member. */
  readonly hosts: Readonly<Record<number, number>>;
}

export type ToyCommand =
  | { readonly op: 'set'; readonly key: string; readonly value: string }
  /** Sets when the present value is `expected`; result: whether it was. */
  | { readonly op: 'cas'; readonly key: string; readonly expected: string | null; readonly value: string };

export function toyCommand(command: ToyCommand): Buffer {
  return Buffer.from(JSON.stringify(command));
}

/** The context of a membership change: hosts of the replicas that it adds, and whether replicas accept it. */
export function toyContext(hosts: Record<number, number>, accept = true): Buffer {
  return Buffer.from(JSON.stringify({ hosts, accept }));
}

export const emptyConfState: ConfState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

const recordsPrefix = 'records/';

export function recordKey(groupId: number): Buffer {
  return Buffer.from(`${recordsPrefix}${String(groupId)}`);
}

function dataKey(groupId: number, key: string): Buffer {
  return Buffer.from(`data/${String(groupId)}/${key}`);
}

/** All records in an engine, as a store reads them when it starts. */
export async function readRecords(engine: Engine): Promise<ToyRecord[]> {
  const start = Buffer.from(recordsPrefix);
  const end = Buffer.from('records0');
  const page = await engine.scan({ start, end, limit: 10_000, maxBytes: 1e9, reverse: false, keysOnly: false });
  return page.rows.map((row) => JSON.parse(row.value.toString()) as ToyRecord);
}

/** Makes a record durable, as a store does before it says that it made a replica. */
export async function writeRecord(engine: Engine, record: ToyRecord): Promise<void> {
  const batch = engine.newBatch();
  batch.put(recordKey(record.groupId), Buffer.from(JSON.stringify(record)));
  await engine.write(batch);
  await engine.sync();
}

/** A map of strings, enough to see what a host does with its groups. */
export class ToyStateMachine implements StateMachine {
  readonly engine: Engine;
  record: ToyRecord;
  leaderId = 0;
  /** What happened, in order, for tests that look at it. */
  readonly applied: { index: number; commands: number }[] = [];
  readonly leaderChanges: { leaderId: number; term: number; isLeader: boolean }[] = [];
  batches = 0;
  /** Called when this replica is no longer a member. */
  onRemoved: () => void = () => undefined;
  /** Held back for as long as this promise takes. */
  installGate: Promise<void> | null = null;
  installs = 0;
  /** Of the snapshots that it writes and reads. */
  snapshotFormatVersion = 1;
  readonly snapshotChunkRows: number;
  /** It is being destroyed: nothing is applied to it, nor written for it, any more. */
  takenOut = false;

  constructor(engine: Engine, record: ToyRecord, snapshotChunkRows = 2) {
    this.engine = engine;
    this.record = record;
    this.snapshotChunkRows = snapshotChunkRows;
  }

  keysToRead(commands: readonly Command[]): readonly Buffer[] | null {
    const keys: Buffer[] = [];
    for (const { bytes } of commands) {
      const command = JSON.parse(bytes.toString()) as ToyCommand;
      if (command.op === 'cas') keys.push(dataKey(this.record.groupId, command.key));
    }
    return keys.length === 0 ? null : keys;
  }

  apply(index: number, term: number, commands: readonly Command[], ctx: ApplyContext): readonly unknown[] {
    this.record = { ...this.record, index, term };
    if (this.takenOut) return commands.map(() => null);
    this.applied.push({ index, commands: commands.length });
    return commands.map(({ bytes }) => {
      const command = JSON.parse(bytes.toString()) as ToyCommand;
      const key = dataKey(this.record.groupId, command.key);
      if (command.op === 'cas') {
        const present = ctx.read(key);
        if ((present === null ? null : present.toString()) !== command.expected) return false;
      }
      ctx.batch.put(key, Buffer.from(command.value));
      return command.op === 'cas' ? true : `set ${command.key}`;
    });
  }

  acceptConfChange(change: ConfChange): boolean {
    if (change.context.length === 0) return true;
    return (JSON.parse(change.context.toString()) as { accept: boolean }).accept;
  }

  applyConfChange(
    index: number,
    term: number,
    change: ConfChange | null,
    confState: ConfState,
    ctx: ApplyContext,
  ): unknown {
    const added =
      change === null || change.context.length === 0
        ? {}
        : (JSON.parse(change.context.toString()) as { hosts: Record<number, number> }).hosts;
    this.record = { ...this.record, index, term, confState, hosts: { ...this.record.hosts, ...added } };
    const { voters, votersOutgoing, learners, learnersNext } = confState;
    if (![...voters, ...votersOutgoing, ...learners, ...learnersNext].includes(this.record.replicaId)) {
      ctx.after(() => this.onRemoved());
    }
    return change === null ? 'refused' : 'changed';
  }

  finishBatch(ctx: ApplyContext): void {
    if (this.takenOut) return;
    this.batches++;
    this.writeRecord(ctx.batch);
  }

  hostOf(replicaId: number): number {
    return this.record.hosts[replicaId] ?? 0;
  }

  async openSnapshot(): Promise<StateSnapshot> {
    const { index, term, confState } = this.record;
    const descriptor = Buffer.from(JSON.stringify(this.record.hosts));
    const view = await this.engine.openView();
    let start = dataKey(this.record.groupId, '');
    const end = Buffer.from(`data/${String(this.record.groupId)}0`);
    let more = true;
    return {
      meta: { index, term, confState },
      descriptor,
      formatVersion: this.snapshotFormatVersion,
      next: async () => {
        if (!more) return null;
        const limit = this.snapshotChunkRows;
        const page = await view.scan({ start, end, limit, maxBytes: 1e6, reverse: false, keysOnly: false });
        more = page.more;
        const last = page.rows.at(-1);
        if (last === undefined) return null;
        start = Buffer.concat([last.key, Buffer.from([0])]);
        const rows = page.rows.map(({ key, value }) => [key.toString(), value.toString()]);
        return Buffer.from(JSON.stringify(rows));
      },
      close: () => view.close(),
    };
  }

  async installSnapshot(meta: SnapshotMeta, descriptor: Buffer, staged: StagedSnapshot): Promise<void> {
    await this.installGate;
    const batch = this.engine.newBatch();
    batch.deleteRange(dataKey(this.record.groupId, ''), Buffer.from(`data/${String(this.record.groupId)}0`));
    for await (const chunk of staged.read()) {
      for (const [key, value] of JSON.parse(chunk.toString()) as [string, string][]) {
        batch.put(Buffer.from(key), Buffer.from(value));
      }
    }
    const hosts = JSON.parse(descriptor.toString()) as Record<number, number>;
    this.record = { ...this.record, ...meta, hosts };
    this.writeRecord(batch);
    await this.engine.write(batch);
    await this.engine.sync();
    this.installs++;
  }

  leaderChanged(leaderId: number, term: number, isLeader: boolean): void {
    this.leaderId = leaderId;
    this.leaderChanges.push({ leaderId, term, isLeader });
  }

  async get(key: string): Promise<string | null> {
    const [value] = await this.engine.getMany([dataKey(this.record.groupId, key)]);
    return value?.toString() ?? null;
  }

  private writeRecord(batch: ReturnType<Engine['newBatch']>): void {
    batch.put(recordKey(this.record.groupId), Buffer.from(JSON.stringify(this.record)));
  }
}
