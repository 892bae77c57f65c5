import type { Runtime } from '../src/base/runtime.js';
import type { HeldReplica, ReplicaProgress, ShardReport } from '../src/gen/skerry/v1/placement.js';
import type { Group, GroupStatus } from '../src/multiraft/host.js';
import { epochOf } from './descriptor.js';
import {
  catchingUpShardsMax,
  pendingEntries,
  progressShardsMax,
  quarantinedReportedMax,
  replicaDownMs,
} from './limits.js';
import type { Replicas } from './replicas.js';
import { ShardLoads } from './shard_loads.js';
import type { ShardStateMachine } from './shard_state_machine.js';

/** How much a size must change to be worth a report. */
const sizeChangeRatio = 0.1;
const sizeChangeBytes = 16 * 1024;
const sizeChangeKeys = 10;

export interface ShardSize {
  readonly bytes: number;
  readonly keys: number;
}

/** Changes for one frame. */
export interface ReportDelta {
  readonly shards: ShardReport[];
  readonly noLongerLed: number[];
}

/**
 * What the placement service should hear about shards: each led shard once per session, and then only
 * when its descriptor, term, a replica's health or its size changed. Match indexes ride along; alone they are no news.
 */
export class ShardReports {
  private readonly replicas: Replicas;
  private readonly runtime: Pick<Runtime, 'nowMs'>;
  private readonly dirty = new Set<number>();
  /** What was reported last, by led shard. */
  private readonly reported = new Map<number, string>();
  private readonly sizes = new Map<number, ShardSize>();
  private readonly reportedSizes = new Map<number, ShardSize>();
  private readonly loads: ShardLoads;
  /** Since when replicas of a led shard have been silent, by shard and replica. Shards without a silent one have no entry. */
  private readonly silent = new Map<number, Map<number, number>>();
  private cursor: IterableIterator<ShardStateMachine> | null = null;
  /** Led shards that were reported with a replica that is behind: moves wait for the news that it is not any more. */
  private readonly catchingUp = new Set<number>();

  constructor(replicas: Replicas, runtime: Pick<Runtime, 'nowMs'>) {
    this.replicas = replicas;
    this.runtime = runtime;
    this.loads = new ShardLoads(runtime);
  }

  /** True when there is something to look at. */
  get pending(): boolean {
    return this.dirty.size > 0;
  }

  changed(shardId: number): void {
    this.dirty.add(shardId);
  }

  setSize(shardId: number, size: ShardSize): void {
    this.sizes.set(shardId, size);
    const known = this.reportedSizes.get(shardId);
    if (known === undefined || changedMuch(known, size)) this.dirty.add(shardId);
  }

  /** A new session knows nothing: everything led here is news again. */
  reset(): void {
    this.reported.clear();
    this.reportedSizes.clear();
    for (const machine of this.replicas.machines()) this.dirty.add(machine.shardId);
  }

  /** Every replica on disk, for the first frames of a session. */
  held(): HeldReplica[] {
    return [...this.replicas.machines(), ...this.replicas.quarantined()].map(heldReplica);
  }

  /** Replicas that lost data, as many as a report may name: the others come up as these are replaced. */
  quarantined(): HeldReplica[] {
    const named: HeldReplica[] = [];
    for (const machine of this.replicas.quarantined()) {
      if (named.length === quarantinedReportedMax) break;
      named.push(heldReplica(machine));
    }
    for (const { shardId, replicaId } of this.replicas.wantedTombstones()) {
      if (named.length >= quarantinedReportedMax) break;
      named.push({ shardId, replicaId, epoch: undefined });
    }
    return named;
  }

  /** Looks at the progress and the load of led shards, a slice at a time, and marks those where either changed. */
  lookAtProgress(): void {
    this.cursor ??= this.replicas.machines();
    for (let looked = 0; looked < progressShardsMax; looked++) {
      const next = this.cursor.next();
      if (next.done === true) {
        this.cursor = null;
        return;
      }
      const { shardId } = next.value;
      const group = this.replicas.group(shardId);
      if (group?.isLeader() !== true) continue;
      this.loads.look(next.value);
      const isNews =
        this.loads.isNews(shardId) || this.reported.get(shardId) !== fingerprint(this.report(next.value, group));
      if (isNews) this.dirty.add(shardId);
    }
  }

  /** Looks at shards with a replica that was behind, a slice at a time, and marks those where this changed. Cheap when there are none. */
  lookAtCatchingUp(): void {
    let left = Math.min(this.catchingUp.size, catchingUpShardsMax);
    for (const shardId of this.catchingUp) {
      if (left-- === 0) break;
      this.catchingUp.delete(shardId);
      const machine = this.replicas.machine(shardId);
      const group = this.replicas.group(shardId);
      if (machine === undefined || group?.isLeader() !== true) continue;
      if (this.reported.get(shardId) === fingerprint(this.report(machine, group))) this.catchingUp.add(shardId);
      else this.dirty.add(shardId);
    }
  }

  /** The changes since the last call, at most `limit` shards; what is left stays pending. */
  take(limit: number): ReportDelta {
    const delta: ReportDelta = { shards: [], noLongerLed: [] };
    const unsettled: number[] = [];
    for (const shardId of this.dirty) {
      if (delta.shards.length + delta.noLongerLed.length >= limit) break;
      this.dirty.delete(shardId);
      const machine = this.replicas.machine(shardId);
      const group = this.replicas.group(shardId);
      if (machine?.phase === 'normal' && group?.isLeader() === true) {
        // Placement destroys who is no longer listed: it must not hear of a configuration that a power failure could undo.
        if (!group.membershipSettled()) {
          unsettled.push(shardId);
          continue;
        }
        const report = this.report(machine, group);
        const print = fingerprint(report);
        const size = this.sizes.get(shardId);
        const known = this.reportedSizes.get(shardId);
        const resized = size !== undefined && (known === undefined || changedMuch(known, size));
        if (this.reported.get(shardId) === print && !resized && !this.loads.isNews(shardId)) continue;
        this.reported.set(shardId, print);
        if (report.progress.some((p) => p.pending)) this.catchingUp.add(shardId);
        else this.catchingUp.delete(shardId);
        if (size !== undefined) this.reportedSizes.set(shardId, size);
        delta.shards.push({ ...report, ...this.loads.tell(shardId) });
      } else {
        if (machine === undefined) this.sizes.delete(shardId);
        this.reportedSizes.delete(shardId);
        this.silent.delete(shardId);
        this.loads.forget(shardId);
        if (this.reported.delete(shardId)) delta.noLongerLed.push(shardId);
      }
    }
    for (const shardId of unsettled) this.dirty.add(shardId);
    return delta;
  }

  private report(machine: ShardStateMachine, group: Group): ShardReport {
    const status = group.status();
    const size = this.sizes.get(machine.shardId);
    return {
      shard: machine.shard,
      leaderReplicaId: machine.replicaId,
      term: status.term,
      progress: this.progressOf(status),
      approximateBytes: size?.bytes ?? 0,
      approximateKeys: size?.keys ?? 0,
      sizeKnown: size !== undefined,
      readsPerS: 0,
      writesPerS: 0,
    };
  }

  private progressOf(status: GroupStatus): ReplicaProgress[] {
    return status.progress.map(({ replicaId, match, state, recentActive }) => ({
      replicaId,
      down: this.silenceMs(status.groupId, replicaId, recentActive || replicaId === status.replicaId) >= replicaDownMs,
      pending: match === 0 || state === 'snapshot' || status.lastIndex - match > pendingEntries,
      matchIndex: match,
    }));
  }

  /** How long a replica has been silent. The core forgets who was active once per election timeout; only lasting silence counts. */
  private silenceMs(shardId: number, replicaId: number, active: boolean): number {
    const silent = this.silent.get(shardId);
    if (active) {
      silent?.delete(replicaId);
      if (silent?.size === 0) this.silent.delete(shardId);
      return 0;
    }
    const nowMs = this.runtime.nowMs();
    const sinceMs = silent?.get(replicaId);
    if (sinceMs !== undefined) return nowMs - sinceMs;
    if (silent === undefined) this.silent.set(shardId, new Map([[replicaId, nowMs]]));
    else silent.set(replicaId, nowMs);
    return 0;
  }
}

function heldReplica({ shardId, replicaId, shard }: ShardStateMachine): HeldReplica {
  return { shardId, replicaId, epoch: epochOf(shard) };
}

function fingerprint(report: ShardReport): string {
  const { shard, term, progress } = report;
  const health = progress.map((p) => `${p.replicaId}${p.down ? 'd' : ''}${p.pending ? 'p' : ''}`).join();
  return `${shard?.epoch?.confVer ?? 0}.${shard?.epoch?.version ?? 0} ${term} ${health}`;
}

function changedMuch(known: ShardSize, now: ShardSize): boolean {
  const moved = (a: number, b: number, least: number): boolean =>
    Math.abs(a - b) > Math.max(least, sizeChangeRatio * Math.max(a, b));
  return moved(known.bytes, now.bytes, sizeChangeBytes) || moved(known.keys, now.keys, sizeChangeKeys);
}
