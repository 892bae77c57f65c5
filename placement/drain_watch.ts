import { drainMeasureMs, drainSampleMs, drainWindowMs } from './limits.js';
import type { ClusterView } from './cluster_view.js';

/** What is still on a store that is to be left: leaders first, then replicas. */
export interface DrainLoad {
  readonly leaders: number;
  readonly replicas: number;
  /** Of the replicas, as their leaders report them. */
  readonly bytes: number;
}

export interface DrainProgress {
  readonly left: DrainLoad;
  /** What left per second lately; null: not watched for long enough. */
  readonly perSecond: DrainLoad | null;
  /** Milliseconds until nothing is left, at that rate; null: unknown, since it was not watched for long enough or nothing leaves. */
  readonly remainingMs: number | null;
}

interface Sample {
  readonly atMs: number;
  readonly load: DrainLoad;
}

/**
 * Watches stores that are being drained or are in maintenance, and says how long it will take: what is left, over what went lately. A
 * guess from limits or disk speeds would be a guess; until something has left, the answer is that it is not known.
 */
export class DrainWatch {
  private readonly view: Pick<ClusterView, 'state' | 'leaders' | 'status' | 'nowMs'>;
  private readonly samples = new Map<number, Sample[]>();

  constructor(view: Pick<ClusterView, 'state' | 'leaders' | 'status' | 'nowMs'>) {
    this.view = view;
  }

  tick(): void {
    const { state, nowMs } = this.view;
    for (const store of state.stores()) {
      const { storeId } = store;
      if (store.state !== 'draining' && store.state !== 'maintenance') {
        this.samples.delete(storeId);
        continue;
      }
      const samples = this.samples.get(storeId) ?? [];
      if (samples.length === 0) this.samples.set(storeId, samples);
      const last = samples.at(-1);
      if (last !== undefined && nowMs - last.atMs < drainSampleMs) continue;
      samples.push({ atMs: nowMs, load: this.loadOf(storeId) });
      while (samples.length > 2 && nowMs - (samples[0]?.atMs ?? nowMs) > drainWindowMs) samples.shift();
    }
  }

  /** Null: the store is neither being drained nor in maintenance. */
  progress(storeId: number): DrainProgress | null {
    const { state, nowMs } = this.view;
    const wanted = state.store(storeId)?.state;
    if (wanted !== 'draining' && wanted !== 'maintenance') return null;
    const left = this.loadOf(storeId);
    const goes = wanted === 'maintenance' ? { ...left, replicas: 0, bytes: 0 } : left;
    const isDone = goes.leaders === 0 && goes.replicas === 0;
    const first = this.samples.get(storeId)?.[0];
    if (first === undefined || nowMs - first.atMs < drainMeasureMs) {
      return { left, perSecond: null, remainingMs: isDone ? 0 : null };
    }
    const seconds = (nowMs - first.atMs) / 1_000;
    // A store under load may grow while it is drained: then nothing is known from its bytes.
    const rate = (of: keyof DrainLoad): number => Math.max(0, (first.load[of] - left[of]) / seconds);
    const perSecond = { leaders: rate('leaders'), replicas: rate('replicas'), bytes: rate('bytes') };
    return { left, perSecond, remainingMs: isDone ? 0 : remainingMs(goes, perSecond) };
  }

  private loadOf(storeId: number): DrainLoad {
    const { state, leaders } = this.view;
    const shardIds = state.shardIdsOn(storeId);
    let bytes = 0;
    for (const shardId of shardIds) bytes += this.view.status(shardId)?.approximateBytes ?? 0;
    return { leaders: leaders.ledBy(storeId).size, replicas: shardIds.size, bytes };
  }
}

/** What takes longest; leaders go while replicas are copied. */
function remainingMs(left: DrainLoad, perSecond: DrainLoad): number | null {
  let longest = 0;
  for (const of of ['leaders', 'replicas', 'bytes'] as const) {
    if (left[of] === 0) continue;
    if (perSecond[of] === 0) return null;
    longest = Math.max(longest, (left[of] * 1_000) / perSecond[of]);
  }
  return Math.ceil(longest);
}
