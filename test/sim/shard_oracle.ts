import { createHash } from 'node:crypto';
import { dataRange, replicaKey, sessionRange } from '../../src/engine/keys.js';
import type { MemoryEngine } from '../../src/engine/memory_engine.js';
import { ReplicaState } from '../../src/gen/skerry/v1/kv.js';
import type { Shard } from '../../src/gen/skerry/v1/meta.js';
import { decodeReplicaRecord } from '../../store/records.js';
import type { Store } from '../../store/store.js';
import { SafetyError } from './verdict.js';

/** Checksums kept per shard; older positions are not compared any more. */
const positionsMax = 4_096;

/**
 * State machine safety above the log: replicas of a shard that have applied the same hold the same rows and sessions;
 * and the ranges of one store's replicas never overlap.
 */
export class ShardOracle {
  private readonly checksums = new Map<number, Map<number, { readonly sum: string; readonly by: string }>>();
  /** Shards of which some replica has seen that they became a part of another one, with the version that this one has had since. */
  private readonly takenIn = new Map<number, number>();
  /** Versions with which shards were seen to wait for a merge, by shard and by the version that the other one would have after it. */
  private readonly waits = new Map<string, number>();
  compared = 0;

  get mergedCount(): number {
    return this.takenIn.size;
  }

  /** Looks at what a store's engine holds at this moment. */
  observe(name: string, store: Store, engine: MemoryEngine): void {
    const shards: Shard[] = [];
    for (const machine of store.replicas.machines()) {
      if (machine.phase !== 'normal') continue;
      shards.push(machine.shard);
      this.noteMerges(machine.shard);
      this.compare(name, machine.shardId, engine);
    }
    for (const shard of shards) this.checkMerged(name, shard);
    checkDisjoint(name, shards);
  }

  private noteMerges({ shardId, merge, epoch }: Shard): void {
    for (const gone of merge?.merged ?? []) this.takenIn.set(gone.shardId, gone.version);
    if (merge?.into === undefined) return;
    const waiting = epoch?.version ?? 0;
    const after = Math.max(waiting, merge.into.epoch?.version ?? 0) + 1;
    this.waits.set(`${shardId}/${after}`, waiting);
  }

  /**
   * INV-46: a shard that became a part of another one was not given its keys back. What counts is the wait that led to the merge: the
   * versions between earlier ones, which were taken back, are those of replicas that lag.
   */
  private checkMerged(name: string, { shardId, epoch }: Shard): void {
    const after = this.takenIn.get(shardId);
    const waited = after === undefined ? undefined : this.waits.get(`${shardId}/${after}`);
    if (waited === undefined || (epoch?.version ?? 0) <= waited) return;
    throw new SafetyError(`${name} serves shard ${shardId}, which became a part of another one`);
  }

  private compare(name: string, shardId: number, engine: MemoryEngine): void {
    const { contents } = engine;
    const bytes = contents.get(replicaKey(shardId));
    if (bytes === null) return;
    const { state, shard, appliedIndex } = decodeReplicaRecord(bytes);
    if (state !== ReplicaState.NORMAL || shard === undefined) return;
    const hash = createHash('md5');
    const rows = (range: { start: Buffer; end: Buffer }): void => {
      const page = contents.page({ ...range, limit: 1_000_000, maxBytes: 2 ** 30, reverse: false, keysOnly: false });
      for (const { key, value } of page.rows) hash.update(key).update('=').update(value).update(';');
    };
    rows(dataRange(shard.keyspaceId, shard.startKey, shard.endKey));
    rows(sessionRange(shardId));
    const { confVer = 0, version = 0 } = shard.epoch ?? {};
    hash.update(`${confVer}/${version}`);
    this.note(shardId, appliedIndex, hash.digest('hex'), name);
  }

  private note(shardId: number, index: number, sum: string, by: string): void {
    let positions = this.checksums.get(shardId);
    if (positions === undefined) {
      positions = new Map();
      this.checksums.set(shardId, positions);
    }
    const known = positions.get(index);
    if (known === undefined) {
      positions.set(index, { sum, by });
      const [oldest] = positions.keys();
      if (positions.size > positionsMax && oldest !== undefined) positions.delete(oldest);
      return;
    }
    if (known.by !== by) this.compared++;
    if (known.sum !== sum) {
      throw new SafetyError(`replicas of shard ${shardId} differ at applied index ${index}: ${known.by} and ${by}`);
    }
  }
}

function checkDisjoint(name: string, shards: readonly Shard[]): void {
  const sorted = [...shards].sort((a, b) => a.keyspaceId - b.keyspaceId || Buffer.compare(a.startKey, b.startKey));
  sorted.forEach((shard, at) => {
    const next = sorted[at + 1];
    if (next === undefined || next.keyspaceId !== shard.keyspaceId) return;
    if (shard.endKey.length === 0 || Buffer.compare(shard.endKey, next.startKey) > 0) {
      throw new SafetyError(`${name} holds shards ${shard.shardId} and ${next.shardId}, which overlap`);
    }
  });
}

/** The shards of one keyspace must cover it without a gap or overlap. */
export function checkCover(shards: readonly Shard[]): void {
  const sorted = [...shards].sort((a, b) => Buffer.compare(a.startKey, b.startKey));
  let at: Uint8Array | null = Buffer.alloc(0);
  for (const shard of sorted) {
    if (at === null || Buffer.compare(shard.startKey, at) !== 0) {
      throw new SafetyError(`the keyspace has a gap or an overlap before shard ${shard.shardId}`);
    }
    at = shard.endKey.length === 0 ? null : shard.endKey;
  }
  if (at !== null) throw new SafetyError('the end of the keyspace belongs to no shard');
}
