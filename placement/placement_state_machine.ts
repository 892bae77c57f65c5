import { assert, must } from '../src/base/assert.js';
import type { Engine, EngineView } from '../src/engine/engine.js';
import type { ApplyContext, Command, StagedSnapshot, StateMachine, StateSnapshot } from '../src/multiraft/host.js';
import type { ConfChange } from '../src/raft/conf_change.js';
import type { ConfState, SnapshotMeta } from '../src/raft/message.js';
import { snapshotChunkBytesMax, snapshotChunkRowsMax } from './limits.js';
import { decodeSnapshotRows, encodeSnapshotRows } from './snapshot_rows.js';
import { ClusterState } from './state/cluster_state.js';
import { decodeCommand } from './state/command_codec.js';
import type { CommandOutcome } from './state/commands.js';
import { appliedKey, changedRows, isAppliedKey, restoreRow, rowRange } from './state/rows.js';
import type { StateChanges } from './state/state_changes.js';

/** Administrative commands are the only kind that the placement group has. */
export const placementCommandKind = 2;
const rowFormatVersion = 1;

interface AppliedRecord {
  readonly format: number;
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
}

/** Told after every batch; null: a snapshot replaced everything. */
export type ChangeListener = (changes: StateChanges | null) => void;
export type LeaderListener = (leaderId: number, term: number, isLeader: boolean) => void;

/**
 * Binds ClusterState to the Raft host. The state lives in memory; the rows that a batch touched go to the engine in
 * the batch that also moves the applied position, so that loading the rows finds exactly the state as of that position.
 */
export class PlacementStateMachine implements StateMachine {
  private current: ClusterState;
  private appliedRecord: AppliedRecord | null;
  private readonly changeListeners: ChangeListener[] = [];
  private readonly leaderListeners: LeaderListener[] = [];
  private readonly engine: Engine;

  private constructor(engine: Engine, state: ClusterState, applied: AppliedRecord | null) {
    this.engine = engine;
    this.current = state;
    this.appliedRecord = applied;
  }

  /** Reads all rows. */
  static async load(engine: Engine): Promise<PlacementStateMachine> {
    const state = new ClusterState();
    let applied: AppliedRecord | null = null;
    for await (const { key, value } of allRows((options) => engine.scan(options))) {
      if (isAppliedKey(key)) applied = parseApplied(value);
      else restoreRow(state, Buffer.from(key), Buffer.from(value));
    }
    return new PlacementStateMachine(engine, state, applied);
  }

  /** The object changes when a snapshot is installed: do not keep it over a turn. */
  get state(): ClusterState {
    return this.current;
  }

  /** Null: nothing was ever applied. */
  get applied(): { readonly index: number; readonly term: number; readonly confState: ConfState } | null {
    return this.appliedRecord;
  }

  onChange(listener: ChangeListener): void {
    this.changeListeners.push(listener);
  }

  onLeader(listener: LeaderListener): void {
    this.leaderListeners.push(listener);
  }

  /** The position and membership that a new member starts with, before its first batch. */
  begin(index: number, term: number, confState: ConfState): void {
    assert(this.appliedRecord === null, 'a member begins once');
    this.appliedRecord = { format: rowFormatVersion, index, term, confState };
  }

  keysToRead(): null {
    return null;
  }

  apply(index: number, term: number, commands: readonly Command[]): readonly CommandOutcome[] {
    const applied = must(this.appliedRecord, 'an applied position');
    assert(index > applied.index, 'entries are applied once, in order');
    this.appliedRecord = { ...applied, index, term };
    return commands.map((command) => {
      assert(command.kind === placementCommandKind, 'the placement group has administrative commands only');
      return this.current.apply(decodeCommand(command.bytes));
    });
  }

  acceptConfChange(): boolean {
    return true;
  }

  applyConfChange(index: number, term: number, _change: ConfChange | null, confState: ConfState): undefined {
    this.appliedRecord = { format: rowFormatVersion, index, term, confState };
  }

  finishBatch(ctx: ApplyContext): void {
    const changes = this.current.takeChanges();
    for (const row of changedRows(this.current, changes)) {
      if (row.value === null) ctx.batch.delete(row.key);
      else ctx.batch.put(row.key, row.value);
    }
    ctx.batch.put(appliedKey, encodeApplied(must(this.appliedRecord, 'an applied position')));
    ctx.after(() => this.notify(changes));
  }

  /** Placement members are each other's hosts. */
  hostOf(replicaId: number): number {
    return replicaId;
  }

  get snapshotFormatVersion(): number {
    return rowFormatVersion;
  }

  async openSnapshot(): Promise<StateSnapshot> {
    const view = await this.engine.openView();
    const applied = parseApplied(must(await view.get(appliedKey), 'the applied position in a view'));
    return new RowSnapshot(view, { index: applied.index, term: applied.term, confState: applied.confState });
  }

  /** One atomic batch: a crash leaves the old state or the new one. The state must fit in memory anyway. */
  async installSnapshot(meta: SnapshotMeta, _descriptor: Buffer, staged: StagedSnapshot): Promise<void> {
    const state = new ClusterState();
    const applied: AppliedRecord = { format: rowFormatVersion, ...meta };
    const batch = this.engine.newBatch();
    const range = rowRange();
    batch.deleteRange(range.start, range.end);
    for await (const chunk of staged.read()) {
      for (const row of decodeSnapshotRows(Buffer.from(chunk))) {
        restoreRow(state, row.key, row.value);
        batch.put(row.key, row.value);
      }
    }
    batch.put(appliedKey, encodeApplied(applied));
    await this.engine.write(batch);
    await this.engine.sync();
    this.current = state;
    this.appliedRecord = applied;
    this.notify(null);
  }

  leaderChanged(leaderId: number, term: number, isLeader: boolean): void {
    for (const listener of this.leaderListeners) listener(leaderId, term, isLeader);
  }

  private notify(changes: StateChanges | null): void {
    for (const listener of this.changeListeners) listener(changes);
  }
}

type Scan = Engine['scan'];

async function* allRows(scan: Scan): AsyncGenerator<{ readonly key: Buffer; readonly value: Buffer }> {
  const range = rowRange();
  let start = range.start;
  for (;;) {
    const page = await scan(pageOptions(start, range.end));
    yield* page.rows;
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) return;
    start = keyAfter(last.key);
  }
}

function pageOptions(start: Buffer, end: Buffer): Parameters<Scan>[0] {
  return { start, end, limit: snapshotChunkRowsMax, maxBytes: snapshotChunkBytesMax, reverse: false, keysOnly: false };
}

function keyAfter(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}

function encodeApplied(applied: AppliedRecord): Buffer {
  return Buffer.from(JSON.stringify(applied), 'utf8');
}

function parseApplied(value: Buffer): AppliedRecord {
  const applied = JSON.parse(value.toString('utf8')) as AppliedRecord;
  assert(applied.format === rowFormatVersion, () => `rows of format ${applied.format}; is this member too old?`);
  return applied;
}

/** All rows but the applied position, which travels as the snapshot's meta. */
class RowSnapshot implements StateSnapshot {
  readonly descriptor = Buffer.alloc(0);
  readonly formatVersion = rowFormatVersion;
  readonly meta: SnapshotMeta;
  private readonly view: EngineView;
  private nextStart: Buffer | null = rowRange().start;

  constructor(view: EngineView, meta: SnapshotMeta) {
    this.view = view;
    this.meta = meta;
  }

  async next(): Promise<Buffer | null> {
    while (this.nextStart !== null) {
      const page = await this.view.scan(pageOptions(this.nextStart, rowRange().end));
      const last = page.rows.at(-1);
      this.nextStart = page.more && last !== undefined ? keyAfter(last.key) : null;
      const rows = page.rows.filter((row) => !isAppliedKey(row.key));
      if (rows.length > 0) return encodeSnapshotRows(rows);
    }
    return null;
  }

  async close(): Promise<void> {
    await this.view.close();
  }
}
