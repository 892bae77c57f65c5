import type { Runtime, TimerHandle } from '../base/runtime.js';
import type { Keyspace, ShardRoute, Store } from '../gen/skerry/v1/meta.js';
import type { WatchRoutesResponse } from '../gen/skerry/v1/placement.js';
import { PlacementService } from '../gen/skerry/v1/placement.js';
import type { Dial } from '../rpc/channel.js';
import { backoffMs } from './backoff.js';
import { SkerryError } from './errors.js';
import { routesPageMax } from './limits.js';
import { PlacementMembers } from './placement_members.js';

/** What a client asks of the placement service. All calls may be repeated. */

export interface Routes {
  readonly routes: ShardRoute[];
  readonly stores: Store[];
}

export interface WatchHandlers {
  changed(routes: readonly ShardRoute[], stores: readonly Store[]): void;
}

export class PlacementClient {
  readonly members: PlacementMembers;
  readonly #runtime: Runtime;
  #clusterId = 0;
  #closed = false;
  #cancelWatch: (() => void) | null = null;

  constructor(addresses: readonly string[], runtime: Runtime, dial: Dial) {
    this.members = new PlacementMembers(addresses, runtime, dial);
    this.#runtime = runtime;
  }

  get clusterId(): number {
    return this.#clusterId;
  }

  /** Learns the cluster's id and members; waits for a cluster that is not bootstrapped yet until the deadline. */
  async findCluster(deadlineMs: number): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const info = await this.members.call(PlacementService.getClusterInfo, {}, { deadlineMs, repeatable: true });
      this.members.learn(info.memberList);
      if (info.clusterId !== 0) {
        this.#clusterId = info.clusterId;
        return;
      }
      const pauseMs = backoffMs(attempt, this.#runtime.random());
      if (this.#runtime.nowMs() + pauseMs >= deadlineMs) {
        throw new SkerryError('FAILED_PRECONDITION', 'the cluster is not bootstrapped yet: start its stores', {
          retryable: true,
          details: { reason: 'NOT_BOOTSTRAPPED' },
        });
      }
      await new Promise<void>((resolve) => void this.#runtime.after(pauseMs, resolve));
    }
  }

  async keyspace(name: string, deadlineMs: number): Promise<Keyspace> {
    const { keyspace } = await this.members.call(
      PlacementService.getKeyspace,
      { clusterId: this.#clusterId, name },
      { deadlineMs, repeatable: true },
    );
    if (keyspace === undefined) throw new SkerryError('INTERNAL', 'the placement service named no keyspace');
    return keyspace;
  }

  /** The routes of [startKey, endKey), open where empty, over all pages. */
  async listRoutes(keyspaceId: number, startKey: Buffer, endKey: Buffer, deadlineMs: number): Promise<Routes> {
    const all: Routes = { routes: [], stores: [] };
    let from: Uint8Array = startKey;
    for (;;) {
      const page = await this.members.call(
        PlacementService.listRoutes,
        { clusterId: this.#clusterId, keyspaceId, startKey: from, endKey, limit: routesPageMax },
        { deadlineMs, repeatable: true },
      );
      all.routes.push(...page.routes);
      all.stores.push(...page.stores);
      const next = page.routes.at(-1)?.shard?.endKey;
      if (!page.more || next === undefined || next.length === 0) return all;
      from = next;
    }
  }

  /** A number that the cluster gives out once. An id that is lost on the way is never used: no harm. */
  async allocateId(deadlineMs: number): Promise<number> {
    const { firstId } = await this.members.call(
      PlacementService.allocateIds,
      { clusterId: this.#clusterId, count: 1 },
      { deadlineMs, repeatable: true },
    );
    return firstId;
  }

  /** Follows a keyspace's routes from now on, at one member after the other, until close(). */
  watchRoutes(keyspaceId: number, handlers: WatchHandlers): void {
    let failures = 0;
    let timer: TimerHandle | null = null;
    let cancelStream: (() => void) | null = null;
    this.#cancelWatch = () => {
      timer?.cancel();
      cancelStream?.();
    };
    const again = (): void => {
      cancelStream = null;
      if (this.#closed) return;
      this.members.rotate();
      timer = this.#runtime.after(backoffMs(failures++, this.#runtime.random()), subscribe);
    };
    const subscribe = (): void => {
      const request = { clusterId: this.#clusterId, keyspaceId };
      // A refusal ends the stream as a broken line does.
      let refused: (() => void) | null = null;
      const frame = (response: WatchRoutesResponse): void => {
        if (response.error !== undefined) {
          refused?.();
          return;
        }
        failures = 0;
        this.members.learn(response.memberList);
        handlers.changed(response.routes, response.stores);
      };
      void this.members.stream(PlacementService.watchRoutes, request, { frame, closed: again }).then((stream) => {
        if (stream === null) {
          again();
          return;
        }
        cancelStream = () => stream.cancel();
        refused = () => {
          stream.cancel();
          again();
        };
      });
    };
    subscribe();
  }

  close(): void {
    this.#closed = true;
    this.#cancelWatch?.();
    this.members.close();
  }
}
