import type { Logger } from '../src/base/logger.js';
import type { Runtime } from '../src/base/runtime.js';
import type { Engine, EngineView } from '../src/engine/engine.js';
import { replicaKey } from '../src/engine/keys.js';
import type { Shard } from '../src/gen/skerry/v1/meta.js';
import { ReplicaChecksum } from '../src/gen/skerry/v1/placement.js';
import { checksumBytesPerSecondMin, checksumsInFlightMax } from './limits.js';
import { decodeReplicaRecord } from './records.js';
import type { RowChanges } from './row_changes.js';
import type { ShardSum } from './shard_checksum.js';
import { sumShard } from './shard_checksum.js';

/** A ChecksumCommand that a replica has applied. */
export interface ChecksumRequest {
  readonly checkId: number;
  readonly bytesPerSecond: number;
  readonly shard: Shard;
  readonly replicaId: number;
  /** Of the command. */
  readonly index: number;
  /** What the batch under way did before the command; null: not known. */
  readonly changes: RowChanges | null;
}

export interface ChecksumsOptions {
  readonly engine: Engine;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly report: (report: ReplicaChecksum) => void;
}

/**
 * Computes the checksums that applied ChecksumCommands ask for, beside everything else: reading happens on the storage thread in
 * pages, all of a store's checksums together stay below the bytes per second that the command allows, and past
 * checksumsInFlightMax a command is answered with a failure, because what it asks for cannot be computed later.
 */
export class Checksums {
  private readonly options: ChecksumsOptions;
  private readonly running = new Set<Promise<void>>();
  private readonly wakers = new Set<() => void>();
  /** When the bytes that were read so far are paid for, on the monotonic clock. */
  private paidUntilMs = 0;
  private stopped = false;
  private finished = 0;
  private failed = 0;
  private bytesRead = 0;

  constructor(options: ChecksumsOptions) {
    this.options = options;
  }

  get stats(): { running: number; finished: number; failed: number; bytesRead: number } {
    const { running, finished, failed, bytesRead } = this;
    return { running: running.size, finished, failed, bytesRead };
  }

  /** Called while the command's batch is being made: the view that is asked for here is of the state before that batch. */
  take(request: ChecksumRequest): void {
    if (this.stopped) return;
    if (request.changes === null) {
      this.fail(request, 'the replica was restored from a snapshot at that moment');
      return;
    }
    if (this.running.size >= checksumsInFlightMax) {
      this.fail(request, `the store computes ${checksumsInFlightMax} checksums already`);
      return;
    }
    const run: Promise<void> = this.run(request, request.changes, this.options.engine.openView()).finally(() =>
      this.running.delete(run),
    );
    this.running.add(run);
  }

  /** Gives up what is under way; resolves when no view is open any more. */
  async stop(): Promise<void> {
    this.stopped = true;
    for (const wake of this.wakers) wake();
    await Promise.all(this.running);
  }

  private async run(request: ChecksumRequest, changes: RowChanges, opening: Promise<EngineView>): Promise<void> {
    try {
      const view = await opening;
      try {
        await this.checkBase(view, request, changes);
        const pace = (bytes: number): Promise<void> => this.pace(bytes, request.bytesPerSecond);
        this.succeed(request, await sumShard(view, request.shard, changes, pace));
      } finally {
        await view.close();
      }
    } catch (error) {
      // A failure of the engine that is more than one read reaches the store by the engine's own way.
      if (!this.stopped) this.fail(request, error instanceof Error ? error.message : String(error));
    }
  }

  private async checkBase(view: EngineView, { shard }: ChecksumRequest, { baseIndex }: RowChanges): Promise<void> {
    const bytes = await view.get(replicaKey(shard.shardId));
    const found = bytes === null ? 0 : decodeReplicaRecord(bytes).appliedIndex;
    if (found !== baseIndex) throw new Error(`the engine is at index ${found}, the replica was at ${baseIndex}`);
  }

  private async pace(bytes: number, bytesPerSecond: number): Promise<void> {
    const { runtime } = this.options;
    this.bytesRead += bytes;
    const costMs = (bytes * 1_000) / Math.max(bytesPerSecond, checksumBytesPerSecondMin);
    this.paidUntilMs = Math.max(this.paidUntilMs, runtime.nowMs()) + costMs;
    const delayMs = this.paidUntilMs - runtime.nowMs();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.wakers.delete(wake);
        resolve();
      };
      const timer = runtime.after(delayMs, wake);
      this.wakers.add(wake);
    });
    if (this.stopped) throw new Error('the store stops');
  }

  private succeed({ checkId, shard, replicaId, index }: ChecksumRequest, sum: ShardSum): void {
    this.finished++;
    if (!this.stopped) this.options.report({ checkId, shardId: shard.shardId, replicaId, index, ...sum, failure: '' });
  }

  private fail({ checkId, shard, replicaId, index }: ChecksumRequest, failure: string): void {
    this.failed++;
    const { shardId } = shard;
    this.options.logger.warn({ shardId, replicaId, index, failure }, 'no checksum of a replica');
    this.options.report({ ...ReplicaChecksum.create(), checkId, shardId, replicaId, index, failure });
  }
}
