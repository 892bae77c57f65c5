import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import { Shard } from '../src/gen/skerry/v1/meta.js';
import { epochOf } from './descriptor.js';
import { placementCallTimeoutMs, staleQuestionsMax, staleReplicaMs } from './limits.js';
import type { PlacementConnector } from './placement_connector.js';
import type { PlacementMembers } from './placement_members.js';
import type { Replicas } from './replicas.js';

/**
 * Replicas that were removed from their group while they could not hear of it: nobody leads them, and
 * their votes are not wanted. After a while without a leader, or at once when a peer says so, the store asks placement and destroys the replica when
 * it is no member at a later epoch than its own, or when its shard became a part of another one. No answer, or an unknown shard,
 * changes nothing.
 */
export interface StaleReplicasOptions {
  readonly clusterId: number;
  readonly replicas: Replicas;
  readonly members: PlacementMembers;
  readonly connector: PlacementConnector;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly fatal: (error: Error) => void;
}

export class StaleReplicas {
  private readonly options: StaleReplicasOptions;
  private readonly asking = new Set<number>();
  private timer: TimerHandle | null = null;

  constructor(options: StaleReplicasOptions) {
    this.options = options;
  }

  start(): void {
    this.timer = this.options.runtime.every(staleReplicaMs / 4, () => {
      for (const { shardId, replicaId } of this.options.replicas.leaderless(staleReplicaMs))
        this.ask(shardId, replicaId);
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** Asks whether a replica is still a member; past the limit of questions it waits for the next look. */
  ask(shardId: number, replicaId: number): void {
    if (this.timer === null || this.asking.has(shardId) || this.asking.size >= staleQuestionsMax) return;
    this.asking.add(shardId);
    this.check(shardId, replicaId)
      .catch((error: unknown) => this.options.fatal(error instanceof Error ? error : new Error(String(error))))
      .finally(() => this.asking.delete(shardId));
  }

  private async check(shardId: number, replicaId: number): Promise<void> {
    const { clusterId, replicas, members, connector, logger } = this.options;
    let shard;
    try {
      const { keyspaceId, startKey } = replicas.descriptorHeld(shardId, replicaId) ?? Shard.create();
      const request = { clusterId, shardId, keyspaceId, startKey };
      shard = (await connector.getShardById(members.current(), request, placementCallTimeoutMs)).route?.shard;
    } catch (error) {
      logger.debug({ shardId, err: error }, 'placement does not answer about a shard without a leader');
      return;
    }
    if (shard === undefined || shard.replicas.some((r) => r.replicaId === replicaId)) return;
    const own = replicas.descriptorHeld(shardId, replicaId);
    if (own === null) return;
    if (shard.shardId !== shardId) {
      if (this.wasTakenIn(own, shard)) await replicas.destroy(shardId, replicaId);
      return;
    }
    // Placement hears of a configuration once a majority of its voters know it for good, so nobody needs this vote any more.
    const known = shard.epoch?.confVer ?? 0;
    const knowsItself = own.replicas.length > 0 && !own.replicas.some((r) => r.replicaId === replicaId);
    if (known < epochOf(own).confVer || (known === epochOf(own).confVer && !knowsItself)) return;
    await replicas.destroy(shardId, replicaId);
  }

  /**
   * Another shard has our keys at a later version, and placement knows no shard of our id: it became a part of another one. While a replica
   * here may still take ours in, it must find it.
   */
  private wasTakenIn(own: Shard, holder: Shard): boolean {
    const { replicas } = this.options;
    if (epochOf(holder).version <= epochOf(own).version || replicas.merges.awaitsTarget(own.shardId)) return false;
    const here = replicas.machine(holder.shardId);
    return here === undefined || epochOf(here.shard).version >= epochOf(holder).version;
  }
}
