import type { StoreCommand } from '../src/gen/skerry/v1/placement.js';
import type { ClusterView } from './cluster_view.js';
import { createQuietMs, createResendMs, shardsPerCreateMax } from './limits.js';
import type { KeyspaceRecord, ShardRecord } from './state/records.js';

interface Creation {
  /** Shards that no leader has reported yet. */
  readonly waiting: Set<number>;
  /** When its shards were last named to the stores, or a leader came forth. */
  progressAtMs: number;
  /** When it began, or a leader came forth. */
  movedAtMs: number;
}

export interface KeyspaceProgressOptions {
  readonly view: ClusterView;
  readonly send: (storeId: number, command: StoreCommand) => void;
  /** Every shard has had a leader. Called until the keyspace is ready. */
  readonly complete: (keyspaceId: number) => void;
}

/**
 * Follows keyspaces in phase creating: tells the stores which shards to make, once, when a store comes back, and again
 * when nothing moves; and notices when every shard has a leader.
 */
export class KeyspaceProgress {
  private readonly creations = new Map<number, Creation>();
  private readonly options: KeyspaceProgressOptions;

  constructor(options: KeyspaceProgressOptions) {
    this.options = options;
    for (const keyspace of options.view.state.keyspaces()) this.keyspaceChanged(keyspace);
  }

  keyspaceChanged(keyspace: KeyspaceRecord): void {
    if (keyspace.phase !== 'creating') {
      this.creations.delete(keyspace.keyspaceId);
      return;
    }
    if (this.creations.has(keyspace.keyspaceId)) return;
    const { view } = this.options;
    const waiting = new Set<number>();
    const shards: ShardRecord[] = [];
    for (const shard of view.state.shardsIn(keyspace.keyspaceId, none, none)) {
      if (view.leaderOf(shard.shardId) !== undefined) continue;
      waiting.add(shard.shardId);
      shards.push(shard);
    }
    this.creations.set(keyspace.keyspaceId, { waiting, progressAtMs: view.nowMs, movedAtMs: view.nowMs });
    this.announce(shards, null);
    this.completeIfDone(keyspace.keyspaceId);
  }

  leaderReported(shardId: number): void {
    for (const [keyspaceId, creation] of this.creations) {
      if (!creation.waiting.delete(shardId)) continue;
      creation.progressAtMs = this.options.view.nowMs;
      creation.movedAtMs = this.options.view.nowMs;
      this.completeIfDone(keyspaceId);
    }
  }

  /** The store may have missed what was said before; it names what it holds, and gets the rest. */
  storeReturned(storeId: number, held: ReadonlySet<number>): void {
    const { state } = this.options.view;
    for (const keyspaceId of this.creations.keys()) {
      const shards = [...state.shardsIn(keyspaceId, none, none)].filter((shard) => !held.has(shard.shardId));
      this.announce(shards, storeId);
    }
  }

  /** Leaders are just coming forth one by one: how they are spread says nothing yet. */
  get isMoving(): boolean {
    const { nowMs } = this.options.view;
    for (const creation of this.creations.values()) if (nowMs - creation.movedAtMs < createQuietMs) return true;
    return false;
  }

  tick(): void {
    const { view } = this.options;
    for (const [keyspaceId, creation] of this.creations) {
      if (view.nowMs - creation.progressAtMs < createResendMs) continue;
      creation.progressAtMs = view.nowMs;
      const shards = [...creation.waiting].flatMap((id) => view.state.shard(id) ?? []);
      this.announce(shards, null);
      this.completeIfDone(keyspaceId);
    }
  }

  private completeIfDone(keyspaceId: number): void {
    if (this.creations.get(keyspaceId)?.waiting.size === 0) this.options.complete(keyspaceId);
  }

  private announce(shards: readonly ShardRecord[], onlyStoreId: number | null): void {
    const byStore = new Map<number, ShardRecord[]>();
    for (const shard of shards) {
      // A shard that has changed since it was made exists; raft brings its newer replicas.
      if (shard.epoch.confVer !== 1 || shard.epoch.version !== 1) continue;
      for (const { storeId } of shard.replicas) {
        if (onlyStoreId !== null && storeId !== onlyStoreId) continue;
        const list = byStore.get(storeId);
        if (list === undefined) byStore.set(storeId, [shard]);
        else list.push(shard);
      }
    }
    for (const [storeId, list] of byStore) {
      for (let at = 0; at < list.length; at += shardsPerCreateMax) {
        const run = list.slice(at, at + shardsPerCreateMax);
        const firstLeaders = run.map((shard) => shard.replicas[0]?.replicaId ?? 0);
        const command: StoreCommand['command'] = { $case: 'createShards', value: { shards: run, firstLeaders } };
        // No answer is waited for: the leader's report is the answer.
        this.options.send(storeId, { commandId: 0, command });
      }
    }
  }
}

const none = Buffer.alloc(0);
