import type { StoreCommand } from '../src/gen/skerry/v1/placement.js';
import type { ClusterView } from './cluster_view.js';
import { createQuietMs, createResendMs, shardsCreatingMax, shardsPerCreateMax } from './limits.js';
import type { KeyspaceRecord, ShardRecord } from './state/records.js';

interface Creation {
  /** Shards that no store was told of yet. */
  readonly unnamed: Set<number>;
  /** Shards that stores were told to make, and that no leader has reported yet. */
  readonly waiting: Set<number>;
  /** When its shards were last named to the stores, or a leader came forth. */
  progressAtMs: number;
  /** When it began, or a leader came forth. */
  movedAtMs: number;
}

export interface KeyspaceProgressOptions {
  readonly view: ClusterView;
  readonly send: (storeId: number, command: NonNullable<StoreCommand['command']>) => void;
  /** Every shard has had a leader. Called until the keyspace is ready. */
  readonly complete: (keyspaceId: number) => void;
}

/**
 * Follows keyspaces in phase creating: tells the stores which shards to make, so many at a time that their elections are no
 * storm; tells them again when a store comes back, or when nothing moves; and notices when every shard has a leader.
 *
 *   unnamed ──room among those that wait──▶ waiting ──a leader reports──▶ done
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
    const unnamed = new Set<number>();
    for (const shard of view.state.shardsIn(keyspace.keyspaceId, none, none)) {
      if (view.leaderOf(shard.shardId) === undefined) unnamed.add(shard.shardId);
    }
    const creation = { unnamed, waiting: new Set<number>(), progressAtMs: view.nowMs, movedAtMs: view.nowMs };
    this.creations.set(keyspace.keyspaceId, creation);
    this.nameMore(creation);
    this.completeIfDone(keyspace.keyspaceId);
  }

  leaderReported(shardId: number): void {
    for (const [keyspaceId, creation] of this.creations) {
      if (!creation.waiting.delete(shardId) && !creation.unnamed.delete(shardId)) continue;
      creation.progressAtMs = this.options.view.nowMs;
      creation.movedAtMs = this.options.view.nowMs;
      this.nameMore(creation);
      this.completeIfDone(keyspaceId);
    }
  }

  /** The store may have missed what was said before; it names what it holds, and gets the rest. */
  storeReturned(storeId: number, held: ReadonlySet<number>): void {
    const { state } = this.options.view;
    for (const [keyspaceId, { unnamed }] of this.creations) {
      const missing = (id: number): boolean => !held.has(id) && !unnamed.has(id);
      const shards = [...state.shardsIn(keyspaceId, none, none)].filter((shard) => missing(shard.shardId));
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
      this.announce(this.recordsOf(creation.waiting), null);
      this.completeIfDone(keyspaceId);
    }
  }

  private completeIfDone(keyspaceId: number): void {
    const creation = this.creations.get(keyspaceId);
    if (creation?.waiting.size === 0 && creation.unnamed.size === 0) this.options.complete(keyspaceId);
  }

  /** Names the next shards once there is room for a command of them, or for all that are left. */
  private nameMore({ unnamed, waiting }: Creation): void {
    const room = shardsCreatingMax - waiting.size;
    if (unnamed.size === 0 || room < Math.min(shardsPerCreateMax, unnamed.size)) return;
    const named: number[] = [];
    for (const shardId of unnamed) {
      if (named.length === room) break;
      unnamed.delete(shardId);
      waiting.add(shardId);
      named.push(shardId);
    }
    this.announce(this.recordsOf(named), null);
  }

  private recordsOf(shardIds: Iterable<number>): ShardRecord[] {
    return [...shardIds].flatMap((id) => this.options.view.state.shard(id) ?? []);
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
        // No answer is waited for: the leader's report is the answer.
        this.options.send(storeId, { $case: 'createShards', value: { shards: run, firstLeaders } });
      }
    }
  }
}

const none = Buffer.alloc(0);
