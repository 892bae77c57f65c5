import type { ShardStatus } from '../gen/skerry/v1/admin.js';
import { Partitioning, ReplicaRole } from '../gen/skerry/v1/meta.js';
import type { OperatorView } from './operator.js';
import { operatorView } from './operator.js';
import { nameOfValue } from './names.js';
import type { Column } from './output.js';
import { bytesForPeople, printable } from './output.js';

/** A shard as the command prints it. Keys are hex: they are bytes. */
export interface ShardView {
  readonly shardId: number;
  readonly keyspace: string;
  readonly partitioning: string;
  readonly startKey: string;
  /** Empty: the end of the keyspace. */
  readonly endKey: string;
  readonly epoch: { readonly confVer: number; readonly version: number };
  /** 0: not known. */
  readonly leaderStoreId: number;
  readonly leaderReplicaId: number;
  readonly term: number;
  readonly replicas: readonly ReplicaView[];
  readonly approximateBytes: number;
  readonly approximateKeys: number;
  readonly operator: OperatorView | null;
}

export interface ReplicaView {
  readonly replicaId: number;
  readonly storeId: number;
  readonly role: string;
  readonly down: boolean;
  readonly pending: boolean;
}

export function shardView(status: ShardStatus): ShardView {
  const route = status.route;
  const shard = route?.shard;
  return {
    shardId: shard?.shardId ?? 0,
    keyspace: status.keyspace,
    partitioning: nameOfValue(Partitioning, shard?.partitioning ?? 0),
    startKey: Buffer.from(shard?.startKey ?? []).toString('hex'),
    endKey: Buffer.from(shard?.endKey ?? []).toString('hex'),
    epoch: { confVer: shard?.epoch?.confVer ?? 0, version: shard?.epoch?.version ?? 0 },
    leaderStoreId: route?.leaderStoreId ?? 0,
    leaderReplicaId: route?.leaderReplicaId ?? 0,
    term: route?.term ?? 0,
    replicas: (shard?.replicas ?? []).map(({ replicaId, storeId, role }) => {
      const progress = status.progress.find((p) => p.replicaId === replicaId);
      return {
        replicaId,
        storeId,
        role: nameOfValue(ReplicaRole, role),
        down: progress?.down ?? false,
        pending: progress?.pending ?? false,
      };
    }),
    approximateBytes: status.approximateBytes,
    approximateKeys: status.approximateKeys,
    operator: status.operator === undefined ? null : operatorView(status.operator),
  };
}

/** A range for people: slots in a hash keyspace where bounds fall on them, keys in a range keyspace. */
export function rangeText(view: Pick<ShardView, 'partitioning' | 'startKey' | 'endKey'>): string {
  const start = Buffer.from(view.startKey, 'hex');
  const end = Buffer.from(view.endKey, 'hex');
  const isSlot = (key: Buffer): boolean => key.length === 0 || (key.length === 2 && key.readUInt16BE(0) % 4 === 0);
  if (view.partitioning === 'hash' && isSlot(start) && isSlot(end)) {
    const first = start.length === 0 ? 0 : start.readUInt16BE(0) >> 2;
    const last = end.length === 0 ? 16_383 : (end.readUInt16BE(0) >> 2) - 1;
    return `slots ${first}-${last}`;
  }
  const text = (key: Buffer): string =>
    view.partitioning === 'hash' ? `0x${key.toString('hex')}` : JSON.stringify(printable(key));
  return `${start.length === 0 ? 'start' : text(start)} to ${end.length === 0 ? 'end' : text(end)}`;
}

function storesWith(view: ShardView, wanted: (role: string) => boolean): string {
  const stores = view.replicas.filter((r) => wanted(r.role)).map((r) => `${r.storeId}${r.down ? '!' : ''}`);
  return stores.length === 0 ? '-' : stores.join(',');
}

export const shardColumns: readonly Column<ShardView>[] = [
  { title: 'SHARD', value: (s) => s.shardId },
  { title: 'KEYSPACE', value: (s) => s.keyspace },
  { title: 'RANGE', value: rangeText },
  { title: 'EPOCH', value: (s) => `${s.epoch.confVer}.${s.epoch.version}` },
  { title: 'LEADER', value: (s) => (s.leaderStoreId === 0 ? '-' : s.leaderStoreId) },
  { title: 'VOTERS', value: (s) => storesWith(s, (role) => role !== 'learner') },
  { title: 'LEARNERS', value: (s) => storesWith(s, (role) => role === 'learner') },
  { title: 'KEYS', value: (s) => s.approximateKeys },
  { title: 'SIZE', value: (s) => bytesForPeople(s.approximateBytes) },
  { title: 'OPERATOR', value: (s) => s.operator?.kind ?? '-' },
];

export const shardDetailColumns: readonly Column<ShardView>[] = [
  ...shardColumns,
  { title: 'TERM', value: (s) => s.term },
  {
    title: 'REPLICAS',
    value: (s) =>
      s.replicas
        .map(
          (r) =>
            `${r.replicaId} on store ${r.storeId} (${r.role}${r.down ? ', down' : ''}${r.pending ? ', behind' : ''})`,
        )
        .join('; '),
  },
  { title: 'STEPS', value: (s) => s.operator?.steps.join('; ') ?? '-' },
];
