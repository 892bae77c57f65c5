import type { Runtime } from '../src/base/runtime.js';
import { placementUnavailable } from '../src/base/wire_errors.js';
import type { MemberList } from '../src/gen/skerry/v1/members.js';
import type { StoreCommand, StoreSessionResponse } from '../src/gen/skerry/v1/placement.js';
import { commandsPerFrameMax, sessionBacklogMax } from './limits.js';
import { storeToWire } from './services/convert.js';
import type { ClusterState } from './state/cluster_state.js';

/** Where a session's frames go. */
export interface SessionSink {
  /** False: hold back until drained(). */
  write(frame: StoreSessionResponse): boolean;
  end(): void;
}

/** A store's line to this leader. */
export interface StoreSession {
  readonly storeId: number;
  drained(): void;
  close(): void;
}

interface SessionState extends StoreSession {
  readonly sink: SessionSink;
  readonly queue: StoreCommand[];
  readonly dirtyStores: Set<number>;
  /** It has not been told of the present placement members. */
  membersDue: boolean;
  blocked: boolean;
}

/** The sessions of the leader, one per store: commands of a turn leave in one frame. */
export class StoreSessions {
  private readonly byStore = new Map<number, SessionState>();
  private flushPending = false;
  private commandsDropped = 0;
  private readonly runtime: Runtime;
  private readonly state: () => ClusterState;
  private readonly memberList: () => MemberList;

  constructor(runtime: Runtime, state: () => ClusterState, memberList: () => MemberList) {
    this.runtime = runtime;
    this.state = state;
    this.memberList = memberList;
  }

  get size(): number {
    return this.byStore.size;
  }

  /** Commands that a full backlog refused. */
  get dropped(): number {
    return this.commandsDropped;
  }

  has(storeId: number): boolean {
    return this.byStore.has(storeId);
  }

  /** A store that opens a second session has lost the first. */
  open(storeId: number, sink: SessionSink): StoreSession {
    const before = this.byStore.get(storeId);
    if (before !== undefined) {
      before.close();
      before.sink.end();
    }
    const session: SessionState = {
      storeId,
      sink,
      queue: [],
      dirtyStores: new Set([...this.state().stores()].map((s) => s.storeId)),
      membersDue: true,
      blocked: false,
      drained: () => {
        session.blocked = false;
        this.pump(session);
      },
      close: () => {
        if (this.byStore.get(storeId) === session) this.byStore.delete(storeId);
      },
    };
    this.byStore.set(storeId, session);
    this.flushSoon();
    return session;
  }

  /** Commands to a store without a session are lost; whoever sent them looks again. */
  send(storeId: number, command: StoreCommand): void {
    const session = this.byStore.get(storeId);
    if (session === undefined || session.queue.length >= sessionBacklogMax) {
      this.commandsDropped++;
      return;
    }
    session.queue.push(command);
    this.flushSoon();
  }

  storeChanged(storeId: number): void {
    for (const session of this.byStore.values()) session.dirtyStores.add(storeId);
    this.flushSoon();
  }

  membersChanged(): void {
    for (const session of this.byStore.values()) session.membersDue = true;
    this.flushSoon();
  }

  /** Sends every store to the new leader, if one is known. */
  endAll(leaderAddress: string): void {
    for (const session of [...this.byStore.values()]) {
      session.close();
      session.sink.write(redirect(leaderAddress));
      session.sink.end();
    }
  }

  private flushSoon(): void {
    if (this.flushPending || this.byStore.size === 0) return;
    this.flushPending = true;
    this.runtime.nextTurn(() => {
      this.flushPending = false;
      for (const session of [...this.byStore.values()]) this.pump(session);
    });
  }

  private pump(session: SessionState): void {
    while (!session.blocked && (session.queue.length > 0 || session.dirtyStores.size > 0 || session.membersDue)) {
      session.blocked = !session.sink.write(this.frame(session));
    }
  }

  private frame(session: SessionState): StoreSessionResponse {
    const state = this.state();
    const stores = [...session.dirtyStores].flatMap((id) => {
      const store = state.store(id);
      return store === undefined ? [] : [storeToWire(store, state, null)];
    });
    session.dirtyStores.clear();
    const memberList = session.membersDue ? this.memberList() : undefined;
    session.membersDue = false;
    let count = 0;
    for (let weight = 0; count < session.queue.length && weight < commandsPerFrameMax; count++) {
      weight += weightOf(session.queue[count]);
    }
    return { error: undefined, commands: session.queue.splice(0, count), stores, leaderAddress: '', memberList };
  }
}

/** What a member that does not lead answers to a session: where to go, or that nobody knows. */
export function redirect(leaderAddress: string): StoreSessionResponse {
  const error = leaderAddress === '' ? placementUnavailable('') : undefined;
  return { error, commands: [], stores: [], leaderAddress, memberList: undefined };
}

/** A command that names many shards fills as much of a frame as several that name one. */
function weightOf(command: StoreCommand | undefined): number {
  return command?.command?.$case === 'createShards' ? 1 + command.command.value.shards.length / 16 : 1;
}
