import { DelayWindow } from '../src/base/delay_window.js';
import type { OverloadLimit } from '../src/base/overload_limits.js';
import {
  busyRetryAfterMs,
  busyRetryAfterMsMax,
  opOverheadBytes,
  shardBytesMax,
  shardOpsMax,
  storeBytesMax,
  storeOpsMax,
  streamBytesMax,
  streamOpsMax,
  writeDelayIntervalMs,
  writeDelayTargetMs,
  writeWindowGrowthOps,
  writeWindowOpsMin,
} from './limits.js';

/** Operations and bytes in flight against a bound. */
export class Load {
  ops = 0;
  bytes = 0;

  add(bytes: number): void {
    this.ops++;
    this.bytes += bytes;
  }

  remove(bytes: number): void {
    this.ops--;
    this.bytes -= bytes;
  }

  hasRoom(bytes: number, opsMax: number, bytesMax: number): boolean {
    return this.ops < opsMax && this.bytes + bytes <= bytesMax;
  }
}

export interface AdmissionLimits {
  readonly streamOps: number;
  readonly streamBytes: number;
  readonly shardOps: number;
  readonly shardBytes: number;
  readonly storeOps: number;
  readonly storeBytes: number;
}

export const admissionLimits: AdmissionLimits = {
  streamOps: streamOpsMax,
  streamBytes: streamBytesMax,
  shardOps: shardOpsMax,
  shardBytes: shardBytesMax,
  storeOps: storeOpsMax,
  storeBytes: storeBytesMax,
};

/** Name of a limit that refuses an operation. */
export type BusyLimit = Extract<
  OverloadLimit,
  'stream_in_flight' | 'shard_in_flight' | 'store_in_flight' | 'write_delay'
>;

/**
 * Bounds what is in flight per stream, per shard and per store. Past a bound an operation is refused, never queued. Writes are bounded
 * by time as well: `writes` follows them from proposal to outcome, also past the deadline of whoever waits, and narrows
 * while all of them take too long.
 */
export class Admission {
  readonly store = new Load();
  /** Operations refused so far, by the limit that was reached. */
  readonly refusals: Record<BusyLimit, number> = {
    stream_in_flight: 0,
    shard_in_flight: 0,
    store_in_flight: 0,
    write_delay: 0,
  };
  readonly writes = new DelayWindow({
    targetMs: writeDelayTargetMs,
    intervalMs: writeDelayIntervalMs,
    opsMin: writeWindowOpsMin,
    // A store that knows nothing refuses nothing: clients begin with little.
    opsFirst: storeOpsMax,
    opsMax: storeOpsMax,
    growthOps: writeWindowGrowthOps,
  });
  private readonly shards = new Map<number, Load>();
  private readonly limits: AdmissionLimits;

  constructor(limits: AdmissionLimits = admissionLimits) {
    this.limits = limits;
  }

  /** Takes an operation in, or names the limit that is reached. */
  admit(stream: Load | null, shardId: number, bodyBytes: number): BusyLimit | null {
    const limit = this.tryAdmit(stream, shardId, bodyBytes);
    if (limit !== null) this.refusals[limit]++;
    return limit;
  }

  /** Whether one more write may be proposed. If not: how long its client should wait, which is what writes take now; else 0. */
  refuseWriteForMs(): number {
    if (this.writes.hasRoom) return 0;
    this.refusals.write_delay++;
    return Math.min(busyRetryAfterMsMax, Math.max(busyRetryAfterMs, Math.ceil(this.writes.delayMs)));
  }

  private tryAdmit(stream: Load | null, shardId: number, bodyBytes: number): BusyLimit | null {
    const bytes = bodyBytes + opOverheadBytes;
    const { limits } = this;
    if (stream !== null && !stream.hasRoom(bytes, limits.streamOps, limits.streamBytes)) return 'stream_in_flight';
    if (!this.store.hasRoom(bytes, limits.storeOps, limits.storeBytes)) return 'store_in_flight';
    let shard = this.shards.get(shardId);
    if (shard === undefined) {
      shard = new Load();
      this.shards.set(shardId, shard);
    } else if (!shard.hasRoom(bytes, limits.shardOps, limits.shardBytes)) {
      return 'shard_in_flight';
    }
    stream?.add(bytes);
    this.store.add(bytes);
    shard.add(bytes);
    return null;
  }

  release(stream: Load | null, shardId: number, bodyBytes: number): void {
    const bytes = bodyBytes + opOverheadBytes;
    stream?.remove(bytes);
    this.store.remove(bytes);
    const shard = this.shards.get(shardId);
    shard?.remove(bytes);
    if (shard?.ops === 0) this.shards.delete(shardId);
  }
}
