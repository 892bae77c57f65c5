import type { Logger } from '../src/base/logger.js';
import type { Runtime, TimerHandle } from '../src/base/runtime.js';
import type { WatchRoutesResponse } from '../src/gen/skerry/v1/placement.js';
import type { RpcStream } from '../src/rpc/channel.js';
import type { LeaderTable } from './leader_table.js';
import { mirrorRetryMs } from './limits.js';
import type { MemberLines } from './member_lines.js';

export interface LeaderMirrorOptions {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly lines: MemberLines;
  readonly leaders: LeaderTable;
  readonly clusterId: () => number;
  readonly routeChanged: (shardId: number) => void;
}

/**
 * Keeps a member that does not lead informed of who leads which shard, by watching the leader's routes. Descriptors come
 * by way of the log; only leaders are taken from here. What is known stays while the line is down: old routes are
 * better than none, since stores correct them.
 */
export class LeaderMirror {
  private readonly options: LeaderMirrorOptions;
  private followed = 0;
  private stream: RpcStream<never> | null = null;
  private retry: TimerHandle | null = null;

  constructor(options: LeaderMirrorOptions) {
    this.options = options;
  }

  /** memberId 0: follow nobody. */
  follow(memberId: number): void {
    if (memberId === this.followed) return;
    this.followed = memberId;
    this.drop();
    if (memberId !== 0) this.subscribe();
  }

  private drop(): void {
    this.retry?.cancel();
    this.retry = null;
    const stream = this.stream;
    this.stream = null;
    stream?.cancel();
  }

  private subscribe(): void {
    const { lines, clusterId, runtime, logger } = this.options;
    const id = clusterId();
    // Nothing has a route before the cluster has a name.
    if (id === 0) {
      this.subscribeLater();
      return;
    }
    const stream = lines.watchRoutes(
      this.followed,
      { clusterId: id, keyspaceId: 0 },
      {
        frame: (frame) => runtime.nextTurn(() => this.take(stream, frame)),
        closed: (reason) => {
          if (this.stream !== stream) return;
          this.stream = null;
          logger.debug({ reason, memberId: this.followed }, 'route mirror ended; subscribing again');
          this.subscribeLater();
        },
      },
    );
    this.stream = stream;
  }

  private subscribeLater(): void {
    this.retry = this.options.runtime.after(mirrorRetryMs, () => this.subscribe());
  }

  private take(stream: RpcStream<never>, frame: WatchRoutesResponse): void {
    if (this.stream !== stream) return;
    for (const { shard, leaderReplicaId, leaderStoreId, term } of frame.routes) {
      if (shard === undefined || term === 0) continue;
      const changed = this.options.leaders.set(shard.shardId, { leaderReplicaId, leaderStoreId, term });
      if (changed) this.options.routeChanged(shard.shardId);
    }
  }
}
