import type { Runtime } from '../src/base/runtime.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import type { WatchRoutesResponse } from '../src/gen/skerry/v1/placement.js';
import type { LeaderTable } from './leader_table.js';
import { routesPerFrameMax, watcherBacklogMax, watchersMax } from './limits.js';
import { routeOf, storeToWire } from './services/convert.js';
import type { ClusterState } from './state/cluster_state.js';

/** Where a watcher's frames go. */
export interface WatchSink {
  /** False: hold back until drained() of the watcher is called. */
  write(frame: WatchRoutesResponse): boolean;
  end(): void;
}

export interface Watcher {
  drained(): void;
  close(): void;
}

interface WatcherState {
  /** 0: all keyspaces. */
  readonly keyspaceId: number;
  /** Another member's mirror: served by the leader only. */
  readonly mirror: boolean;
  readonly sink: WatchSink;
  /** The rest of the initial listing; null when it is done. */
  listing: IterableIterator<number> | null;
  readonly dirtyShards: Set<number>;
  readonly dirtyStores: Set<number>;
  /** It has not been told of the present placement members. */
  membersDue: boolean;
  blocked: boolean;
  closed: boolean;
}

/**
 * Sends route changes to watchers: first a listing of all routes, then what changed, once per turn. A watcher's backlog
 * is a set of shards, not of frames, so changes of one shard that it was too slow for become one.
 */
export class RouteFeed {
  private readonly watchers = new Set<WatcherState>();
  private flushPending = false;
  private readonly runtime: Runtime;
  private readonly state: () => ClusterState;
  private readonly leaders: LeaderTable;
  private readonly memberList: () => MemberList;

  constructor(runtime: Runtime, state: () => ClusterState, leaders: LeaderTable, memberList: () => MemberList) {
    this.runtime = runtime;
    this.state = state;
    this.leaders = leaders;
    this.memberList = memberList;
  }

  get size(): number {
    return this.watchers.size;
  }

  /** Null: too many watchers. */
  watch(keyspaceId: number, mirror: boolean, sink: WatchSink): Watcher | null {
    if (this.watchers.size >= watchersMax) return null;
    const state = this.state();
    const ids = [...state.shards()]
      .filter((s) => keyspaceId === 0 || s.keyspaceId === keyspaceId)
      .map((s) => s.shardId);
    const watcher: WatcherState = {
      keyspaceId,
      mirror,
      sink,
      listing: ids.values(),
      dirtyShards: new Set(),
      dirtyStores: new Set([...state.stores()].map((s) => s.storeId)),
      membersDue: true,
      blocked: false,
      closed: false,
    };
    this.watchers.add(watcher);
    this.pump(watcher);
    return {
      drained: () => {
        watcher.blocked = false;
        this.pump(watcher);
      },
      close: () => this.close(watcher),
    };
  }

  routeChanged(shardId: number): void {
    for (const watcher of this.watchers) watcher.dirtyShards.add(shardId);
    this.flushSoon();
  }

  storeChanged(storeId: number): void {
    for (const watcher of this.watchers) watcher.dirtyStores.add(storeId);
    this.flushSoon();
  }

  membersChanged(): void {
    for (const watcher of this.watchers) watcher.membersDue = true;
    this.flushSoon();
  }

  /** Everything may have changed: watchers subscribe anew. */
  endAll(): void {
    for (const watcher of [...this.watchers]) this.end(watcher);
  }

  /** This member leads no more: mirrors must find the new leader. */
  endMirrors(): void {
    for (const watcher of [...this.watchers]) if (watcher.mirror) this.end(watcher);
  }

  private flushSoon(): void {
    if (this.flushPending || this.watchers.size === 0) return;
    this.flushPending = true;
    this.runtime.nextTurn(() => {
      this.flushPending = false;
      for (const watcher of [...this.watchers]) this.pump(watcher);
    });
  }

  private pump(watcher: WatcherState): void {
    if (watcher.dirtyShards.size > watcherBacklogMax) {
      this.end(watcher);
      return;
    }
    while (!watcher.closed && !watcher.blocked) {
      const frame = watcher.listing === null ? this.changes(watcher) : this.listing(watcher, watcher.listing);
      if (frame === null) return;
      watcher.blocked = !watcher.sink.write(frame);
    }
  }

  private listing(watcher: WatcherState, rest: IterableIterator<number>): WatchRoutesResponse {
    const ids: number[] = [];
    let initialDone = false;
    while (ids.length < routesPerFrameMax) {
      const next = rest.next();
      if (next.done === true) {
        initialDone = true;
        watcher.listing = null;
        break;
      }
      // It goes out as it is now, so an earlier change of it needs no frame of its own.
      watcher.dirtyShards.delete(next.value);
      ids.push(next.value);
    }
    return this.frame(watcher, ids, initialDone);
  }

  private changes(watcher: WatcherState): WatchRoutesResponse | null {
    if (watcher.dirtyShards.size === 0 && watcher.dirtyStores.size === 0 && !watcher.membersDue) return null;
    const ids: number[] = [];
    for (const shardId of watcher.dirtyShards) {
      if (ids.length === routesPerFrameMax) break;
      ids.push(shardId);
    }
    for (const shardId of ids) watcher.dirtyShards.delete(shardId);
    const frame = this.frame(watcher, ids, false);
    // Nothing of it may concern this watcher's keyspace.
    const isEmpty = frame.routes.length === 0 && frame.stores.length === 0 && frame.memberList === undefined;
    return isEmpty ? this.changes(watcher) : frame;
  }

  private frame(watcher: WatcherState, shardIds: readonly number[], initialDone: boolean): WatchRoutesResponse {
    const state = this.state();
    const memberList = watcher.membersDue ? this.memberList() : undefined;
    watcher.membersDue = false;
    const frame: WatchRoutesResponse = { error: undefined, routes: [], stores: [], initialDone, memberList };
    for (const shardId of shardIds) {
      const shard = state.shard(shardId);
      if (shard === undefined || (watcher.keyspaceId !== 0 && shard.keyspaceId !== watcher.keyspaceId)) continue;
      // Shards of a keyspace that is still being planned are nobody's business yet.
      if (state.keyspace(shard.keyspaceId)?.phase !== 'planning') frame.routes.push(routeOf(shard, this.leaders));
    }
    for (const storeId of watcher.dirtyStores) {
      const store = state.store(storeId);
      if (store !== undefined) frame.stores.push(storeToWire(store, state, null));
    }
    watcher.dirtyStores.clear();
    return frame;
  }

  private end(watcher: WatcherState): void {
    this.close(watcher);
    watcher.sink.end();
  }

  private close(watcher: WatcherState): void {
    watcher.closed = true;
    this.watchers.delete(watcher);
  }
}
