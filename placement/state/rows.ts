import { must } from '../../src/base/assert.js';
import { Shard } from '../../src/gen/skerry/v1/meta.js';
import type { Verdict } from '../scrub/verdict.js';
import type { ClusterState } from './cluster_state.js';
import type { MemberRecord } from './member_table.js';
import type { OperatorRecord } from './operator_records.js';
import type { KeyspaceRecord, MetaRecord, ShardTarget, StoreRecord } from './records.js';
import { toShardRecord } from './records.js';
import type { RecoveryRecord } from './recovery_table.js';
import type { StateChanges } from './state_changes.js';

/**
 * The state as engine rows. Keys are 'p' ‖ kind ‖ id u64 (big-endian); values are JSON, but a shard is its proto.
 *
 *   'a' applied position     'm' counters and cluster id     's' store     'k' keyspace     'd' shard     't' shard target
 *   'r' recovery
 *   'p' placement member     'o' operator     'f' shard whose replicas differ
 *
 * An entry of the metadata table is 'p' ‖ 'v' ‖ its key, with the value version u64 ‖ bytes.
 */
const prefix = 0x70;
const kinds = {
  applied: 0x61,
  shard: 0x64,
  keyspace: 0x6b,
  meta: 0x6d,
  store: 0x73,
  target: 0x74,
  metadata: 0x76,
  member: 0x70,
  recovery: 0x72,
  operator: 0x6f,
  finding: 0x66,
} as const;
type RowKind = keyof typeof kinds;

/** One row; a null value deletes it. */
export interface Row {
  readonly key: Buffer;
  readonly value: Buffer | null;
}

/** Every row of the placement state. */
export function rowRange(): { start: Buffer; end: Buffer } {
  return { start: Buffer.from([prefix]), end: Buffer.from([prefix + 1]) };
}

/** The row that holds the applied position and the membership at it. */
export const appliedKey = rowKey('applied', 0);

export function isAppliedKey(key: Buffer): boolean {
  return key.equals(appliedKey);
}

/** The rows to write for a set of changes. */
export function changedRows(state: ClusterState, changes: StateChanges): Row[] {
  const rows: Row[] = [];
  if (changes.meta) rows.push(jsonRow('meta', 0, state.metaRecord));
  for (const id of changes.stores) rows.push(jsonRow('store', id, state.store(id)));
  for (const id of changes.keyspaces) rows.push(jsonRow('keyspace', id, state.keyspace(id)));
  for (const id of changes.targets) rows.push(jsonRow('target', id, state.target(id)));
  for (const id of changes.members) rows.push(jsonRow('member', id, state.members.get(id)));
  for (const id of changes.operators) rows.push(jsonRow('operator', id, state.operators.get(id)));
  for (const id of changes.findings) rows.push(jsonRow('finding', id, state.findings.get(id)));
  for (const id of changes.recoveries) rows.push(jsonRow('recovery', id, state.recoveries.get(id)));
  for (const key of changes.metadata) rows.push(metadataRow(key, state));
  for (const id of changes.shards) {
    const shard = state.shard(id);
    rows.push({
      key: rowKey('shard', id),
      value: shard === undefined ? null : Buffer.from(Shard.encode(shard).finish()),
    });
  }
  return rows;
}

/** Puts one loaded row into the state. The applied position is no part of it. */
export function restoreRow(state: ClusterState, key: Buffer, value: Buffer): void {
  switch (key[1]) {
    case kinds.applied:
      return;
    case kinds.meta:
      state.restoreMeta(parse(value) as MetaRecord);
      return;
    case kinds.store:
      state.restoreStore(parse(value) as StoreRecord);
      return;
    case kinds.keyspace:
      state.restoreKeyspace(parse(value) as KeyspaceRecord);
      return;
    case kinds.target:
      state.restoreTarget(parse(value) as ShardTarget);
      return;
    case kinds.member:
      state.members.restore(parse(value) as MemberRecord);
      return;
    case kinds.operator:
      state.operators.restore(parse(value) as OperatorRecord);
      return;
    case kinds.finding:
      state.findings.put(parse(value) as Verdict);
      return;
    case kinds.recovery:
      state.recoveries.put(parse(value) as RecoveryRecord);
      return;
    case kinds.metadata:
      state.metadata.set({
        key: key.toString('utf8', 2),
        version: Number(value.readBigUInt64BE(0)),
        value: value.subarray(8),
      });
      return;
    case kinds.shard:
      state.restoreShard(must(toShardRecord(Shard.decode(value)), 'epoch of a stored shard'));
      return;
    case undefined:
    default:
      must(null, `a known kind of row, not ${key.toString('hex')}`);
  }
}

function rowKey(kind: RowKind, id: number): Buffer {
  const key = Buffer.allocUnsafe(10);
  key[0] = prefix;
  key[1] = kinds[kind];
  key.writeBigUInt64BE(BigInt(id), 2);
  return key;
}

function jsonRow(kind: RowKind, id: number, record: object | undefined): Row {
  return { key: rowKey(kind, id), value: record === undefined ? null : Buffer.from(JSON.stringify(record), 'utf8') };
}

function metadataRow(name: string, state: ClusterState): Row {
  const key = Buffer.concat([Buffer.from([prefix, kinds.metadata]), Buffer.from(name, 'utf8')]);
  const entry = state.metadata.get(name);
  if (entry === undefined) return { key, value: null };
  const version = Buffer.allocUnsafe(8);
  version.writeBigUInt64BE(BigInt(entry.version));
  return { key, value: Buffer.concat([version, entry.value]) };
}

function parse(value: Buffer): unknown {
  return JSON.parse(value.toString('utf8'));
}
