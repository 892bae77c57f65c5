import type { ReplicaChecksum } from '../../src/gen/skerry/v1/placement.js';

/** One replica of a shard, and what came of it. */
export interface CheckedReplica {
  readonly replicaId: number;
  readonly storeId: number;
  /** null: none came. */
  readonly report: ReplicaChecksum | null;
  /** Why none came. */
  readonly reason: string;
}

export interface ReplicaVerdict {
  readonly replicaId: number;
  readonly storeId: number;
  /** odd: unlike the majority; differs: replicas differ without a majority. */
  readonly state: 'agrees' | 'odd' | 'differs' | 'unchecked';
  readonly reason: string;
  readonly checksum: number;
  readonly rows: number;
  readonly bytes: number;
}

/** unchecked: those that were checked are equal, but not every replica was, or there is nothing to compare with. */
export interface Verdict {
  readonly shardId: number;
  readonly outcome: 'consistent' | 'inconsistent' | 'unchecked';
  /** Log index of the comparison; 0: no replica was checked. */
  readonly index: number;
  readonly replicas: readonly ReplicaVerdict[];
}

/**
 * Compares the checksums of a shard's replicas. A replica is named as the odd one only when more than half of those that were
 * checked, and at least two of them, are equal and unlike it. What was not checked is never called fine.
 */
export function judge(shardId: number, replicas: readonly CheckedReplica[]): Verdict {
  const groups = new Map<string, number>();
  let index = 0;
  for (const { report } of replicas) {
    const sum = sumOf(report);
    if (sum === null || report === null) continue;
    index = Math.max(index, report.index);
    groups.set(sum, (groups.get(sum) ?? 0) + 1);
  }
  const checked = [...groups.values()].reduce((a, b) => a + b, 0);
  const [largest, count] = [...groups].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
  const majority = count >= 2 && count * 2 > checked ? largest : null;
  const stateOf = (sum: string): ReplicaVerdict['state'] => {
    if (groups.size === 1) return 'agrees';
    if (majority === null) return 'differs';
    return sum === majority ? 'agrees' : 'odd';
  };
  const outcome =
    groups.size > 1 ? 'inconsistent' : checked === replicas.length && checked > 1 ? 'consistent' : 'unchecked';
  return { shardId, outcome, index, replicas: replicas.map((replica) => replicaVerdict(replica, stateOf)) };
}

function replicaVerdict(
  { replicaId, storeId, report, reason }: CheckedReplica,
  stateOf: (sum: string) => ReplicaVerdict['state'],
): ReplicaVerdict {
  const sum = sumOf(report);
  if (sum === null || report === null) {
    const why = report === null ? reason : report.failure;
    return { replicaId, storeId, state: 'unchecked', reason: why, checksum: 0, rows: 0, bytes: 0 };
  }
  const { checksum, rows, bytes } = report;
  return { replicaId, storeId, state: stateOf(sum), reason: '', checksum, rows, bytes };
}

/** What must be equal on all replicas; null: it was not computed. */
function sumOf(report: ReplicaChecksum | null): string | null {
  if (report === null || report.failure !== '') return null;
  const { index, checksum, rows, bytes } = report;
  return [index, checksum, rows, bytes].join();
}

/** One line for people: which replicas differ. */
export function differenceLine({ shardId, index, replicas }: Verdict): string {
  const odd = replicas.filter((r) => r.state === 'odd');
  const named = odd.length > 0 ? odd : replicas.filter((r) => r.state === 'differs');
  const names = named.map((r) => `${r.replicaId} on store ${r.storeId}`).join(', ');
  const what = odd.length > 0 ? `differs from most replicas: ${names}` : `has replicas that differ: ${names}`;
  return `shard ${shardId} ${what} (at log index ${index})`;
}
