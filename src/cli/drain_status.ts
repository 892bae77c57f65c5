import type { GetDrainResponse } from '../gen/skerry/v1/admin.js';
import { StoreState } from '../gen/skerry/v1/meta.js';
import { nameOfValue } from './names.js';
import type { Column } from './output.js';
import { bytesForPeople } from './output.js';

export interface DrainView {
  readonly storeId: number;
  readonly state: string;
  readonly leaders: number;
  readonly replicas: number;
  readonly bytes: number;
  /** Null: not measured for long enough. */
  readonly replicasPerS: number | null;
  readonly bytesPerS: number | null;
  /** Null: unknown. */
  readonly remainingMs: number | null;
}

export function drainView(drain: GetDrainResponse): DrainView {
  const { store, leaders, replicas, bytes, measured, replicasPerS, bytesPerS, remainingMs } = drain;
  return {
    storeId: store?.storeId ?? 0,
    state: nameOfValue(StoreState, store?.state ?? StoreState.UNSPECIFIED),
    leaders,
    replicas,
    bytes,
    replicasPerS: measured ? replicasPerS : null,
    bytesPerS: measured ? bytesPerS : null,
    remainingMs: remainingMs ?? null,
  };
}

export const drainColumns: readonly Column<DrainView>[] = [
  { title: 'STORE', value: (d) => d.storeId },
  { title: 'STATE', value: (d) => d.state },
  { title: 'LEADERS', value: (d) => d.leaders },
  { title: 'REPLICAS', value: (d) => d.replicas },
  { title: 'BYTES', value: (d) => bytesForPeople(d.bytes) },
  { title: 'REPLICAS/S', value: (d) => (d.replicasPerS === null ? 'unknown' : d.replicasPerS.toFixed(2)) },
  { title: 'BYTES/S', value: (d) => (d.bytesPerS === null ? 'unknown' : bytesForPeople(d.bytesPerS)) },
  { title: 'TIME LEFT', value: (d) => (d.remainingMs === null ? 'unknown' : `${Math.ceil(d.remainingMs / 1_000)} s`) },
];
