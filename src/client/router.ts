import { assert } from '../base/assert.js';
import type { Runtime } from '../base/runtime.js';
import type { Error as ErrorReply } from '../gen/skerry/v1/error.js';
import type { ShardRoute } from '../gen/skerry/v1/meta.js';
import type { ResultKind } from '../wire/kv_codec.js';
import { decodeErrorResult, ResultKind as resultKinds, WireError } from '../wire/kv_codec.js';
import { Admission } from './admission.js';
import { backoffMs } from './backoff.js';
import { consistencyLinearizable } from './consistency.js';
import type { SkerryError } from './errors.js';
import { redirectsMax } from './limits.js';
import { LoadControl } from './load_control.js';
import { LookUps } from './look_ups.js';
import type { Operation } from './operation.js';
import { WriteOperation } from './operation.js';
import {
  busyError,
  closedError,
  deadlineError,
  finalError,
  givenUpError,
  keysInSeveralShardsError,
  overloadedError,
} from './operation_errors.js';
import type { FailureKind } from './retry_table.js';
import { failureKindOf, retryTable } from './retry_table.js';
import { Session } from './session.js';
import type { CachedShard } from './shard_cache.js';
import { ShardCache } from './shard_cache.js';
import { StoreChoice } from './store_choice.js';
import { TimingWheel } from './timing_wheel.js';

/**
 * The router decides everything about an operation between its submission and its answer: where it goes, what its
 * failures teach, when it is tried again, when it is over. It is a state machine: calls in, calls to its port out,
 * no I/O, no promise, no timer. The shell (skerry_client.ts) or a simulator does what the port is asked.
 *
 *   submit ─▶ admission ─▶ dispatch ─▶ port.send ─▶ answered / failed ─▶ learn ─▶ retry table ─▶ dispatch, rest, fail
 *                             └ no route: port.lookUp ─▶ routesArrived
 */
export interface RouterPort {
  /** Hands an operation to a store's connection, which calls prepare() when it writes it and answered() or failed() after. */
  send(storeId: number, operation: Operation): void;
  /** The operation is over: its answer, if one comes, is of no use. */
  withdraw(storeId: number, operation: Operation): void;
  /** Asks for the routes of [startKey, endKey), open where empty; lookUpDone() or lookUpFailed() must follow, not within the call. One at a time. */
  lookUp(startKey: Buffer, endKey: Buffer): void;
  /** Asks for a session id; sessionOpened() or sessionRefused() must follow. One at a time. */
  openSession(): void;
  /** Runs `fn` in the next turn of the event loop. A caller that asks again at once when it is refused would stop the loop otherwise. */
  nextTurn(fn: () => void): void;
}

export interface RouterStats {
  readonly inFlight: number;
  readonly waiting: number;
  /** Attempts beyond the first of each operation. */
  readonly retries: number;
  readonly lookUps: number;
  /** Failures by their row in the retry table. */
  readonly failures: Readonly<Partial<Record<FailureKind, number>>>;
}

export interface RouterLimits {
  readonly inFlightOps: number;
  readonly inFlightBytes: number;
  readonly waitingOps: number;
}

export class Router {
  readonly cache: ShardCache;
  readonly session = new Session();
  readonly #port: RouterPort;
  readonly #runtime: Pick<Runtime, 'nowMs' | 'random'>;
  readonly #load: LoadControl;
  readonly #admission: Admission<Operation>;
  readonly #stores = new StoreChoice();
  readonly #wheel: TimingWheel<Operation>;
  readonly #lookUps: LookUps;
  /** Writes that wait for the session's id. */
  #sessionWaiters: WriteOperation[] = [];
  #sessionOpening = false;
  #closed = false;
  /** True while those that wait are let in: what ends meanwhile leaves its room to that same loop. */
  #lettingIn = false;
  #retries = 0;
  readonly #failures: Partial<Record<FailureKind, number>> = {};

  constructor(keyspaceId: number, runtime: Pick<Runtime, 'nowMs' | 'random'>, port: RouterPort, limits: RouterLimits) {
    this.cache = new ShardCache(keyspaceId);
    this.#port = port;
    this.#runtime = runtime;
    this.#load = new LoadControl(limits.inFlightOps);
    this.#admission = new Admission(this.#load.window, limits.inFlightBytes, limits.waitingOps);
    this.#wheel = new TimingWheel(runtime.nowMs());
    this.#lookUps = new LookUps((startKey, endKey) => port.lookUp(startKey, endKey));
  }

  /** Operations that are not done; while there are some, advance() is due every tick. */
  get pending(): number {
    return this.#wheel.size;
  }

  stats(): RouterStats {
    return {
      inFlight: this.#admission.inFlight,
      waiting: this.#admission.waiting,
      retries: this.#retries,
      lookUps: this.#lookUps.count,
      failures: { ...this.#failures },
    };
  }

  /** Takes an operation; it is settled exactly once, by its deadline at the latest. */
  submit(operation: Operation): void {
    const refusal = this.#closed ? closedError() : this.#enter(operation);
    if (refusal === null) return;
    operation.state = 'done';
    operation.detach?.();
    this.#port.nextTurn(() => operation.reject(refusal));
  }

  /** Lets an operation in, or to those that wait. Returns why neither can be. */
  #enter(operation: Operation): SkerryError | null {
    const nowMs = this.#runtime.nowMs();
    const refusal = this.#load.waitsTooLong(operation, this.#admission.waiting, nowMs);
    if (refusal !== null) return refusal;
    const entry = this.#admission.enter(operation);
    if (entry === 'refused') return overloadedError('waitingOpsMax', 0);
    this.#wheel.add(operation, operation.deadlineMs);
    if (entry === 'admitted') this.#begin(operation);
    else this.#load.waits(nowMs);
    return null;
  }

  #endsTooLate(operation: Operation, nowMs: number): boolean {
    const error = this.#load.comesTooLate(operation, nowMs);
    if (error !== null) this.#fail(operation, error);
    return error !== null;
  }

  #begin(operation: Operation): void {
    if (operation instanceof WriteOperation && this.session.id === 0) {
      this.#sessionWaiters.push(operation);
      if (this.#sessionOpening) return;
      this.#sessionOpening = true;
      this.#port.openSession();
    } else this.#dispatch(operation);
  }

  sessionOpened(sessionId: number): void {
    this.#sessionOpening = false;
    this.session.open(sessionId);
    for (const operation of this.#sessionWaiters.splice(0)) if (!operation.done) this.#begin(operation);
  }

  /** No session can be had. The writes that wait for one fail; the next write asks again. */
  sessionRefused(error: SkerryError): void {
    this.#sessionOpening = false;
    for (const operation of this.#sessionWaiters.splice(0)) if (!operation.done) this.#fail(operation, error);
  }

  /** Sends the operation to the store that should serve it now, or looks its route up first. */
  #dispatch(operation: Operation): void {
    const shard = operation.locate(this.cache);
    if (shard === null) {
      this.#lookUp(operation);
      return;
    }
    if (operation.moreKeys.length > 0 && !operation.moreKeys.every((key) => this.cache.find(key) === shard)) {
      this.#divide(operation);
      return;
    }
    if (operation instanceof WriteOperation) this.#settleIn(operation, shard.shardId);
    const storeId = this.#stores.choose(shard, operation, this.#runtime.nowMs());
    if (storeId === 0) {
      this.#lookUp(operation);
      return;
    }
    const refusal = this.#load.refusedBy(storeId, operation, this.#runtime.nowMs());
    if (refusal !== null) {
      const error = busyError(operation, refusal);
      this.#port.nextTurn(() => operation.reject(error));
      this.#finish(operation);
      return;
    }
    this.#admission.stepBack(operation);
    operation.shard = shard;
    operation.storeId = storeId;
    operation.state = 'sent';
    operation.written = false;
    if (operation.attempts > 0) this.#retries++;
    operation.attempts++;
    operation.attemptsSincePause++;
    this.#port.send(storeId, operation);
  }

  /**
   * Numbers a write for the shard that it goes to. One that surely had no effect gets a new sequence when its key has come to
   * another shard: that shard may have been told a floor above the old one.
   */
  #settleIn(write: WriteOperation, shardId: number): void {
    if (write.sequence > 0 && write.sequenceShardId !== shardId && !write.maybeApplied) {
      this.session.remove(write);
      write.sequence = 0;
    }
    if (write.sequence === 0) this.session.number(write);
    write.sequenceShardId = shardId;
    this.session.placeIn(write, shardId);
  }

  /** The keys lie in several shards: one part for each shard takes the operation's place. */
  #divide(operation: Operation): void {
    const groups = new Map<CachedShard, number[]>();
    for (const [i, key] of [operation.key, ...operation.moreKeys].entries()) {
      const shard = this.cache.find(key);
      if (shard === null) {
        this.#lookUp(operation);
        return;
      }
      const group = groups.get(shard);
      if (group === undefined) groups.set(shard, [i]);
      else group.push(i);
    }
    if (operation.divide === null) {
      this.#fail(operation, keysInSeveralShardsError(operation));
      return;
    }
    for (const part of operation.divide([...groups.values()])) {
      if (operation instanceof WriteOperation && part instanceof WriteOperation && operation.maybeApplied) {
        // Both sides of a split remember the sequence, so each answers its part of the retry as it would the whole.
        part.sequence = operation.sequence;
        part.maybeApplied = true;
      }
      this.#admission.add(part);
      this.#wheel.add(part, part.deadlineMs);
      this.#dispatch(part);
    }
    // Last: until the parts have their places the whole holds the shards' floors down.
    this.#finish(operation);
  }

  /**
   * Called when a connection is about to write the operation: fills in the wire's fields. False: the operation is
   * over, or its route changed since it was handed over and the router has seen to it.
   */
  prepare(operation: Operation, id: number, nowMs: number): boolean {
    if (operation.state !== 'sent') return false;
    const shard = operation.shard;
    assert(shard !== null, 'an operation that is sent has a route');
    if (this.cache.byId(shard.shardId) !== shard) {
      this.#dispatch(operation);
      return false;
    }
    if (this.#endsTooLate(operation, nowMs)) return false;
    operation.id = id;
    operation.shardId = shard.shardId;
    operation.confVer = shard.confVer;
    operation.version = shard.version;
    operation.timeoutMs = Math.max(1, Math.ceil(operation.deadlineMs - nowMs));
    operation.encode(this.session);
    operation.written = true;
    operation.writtenMs = nowMs;
    return true;
  }

  /** A store's answer to the present attempt. */
  answered(operation: Operation, kind: ResultKind, body: Buffer): void {
    if (operation.state !== 'sent') return;
    operation.written = false;
    let reply: ErrorReply | null = null;
    try {
      if (kind === resultKinds.error) reply = decodeErrorResult(body);
      else if (operation.accept(kind, body)) {
        this.#load.served(operation, this.#runtime.nowMs());
        this.#learnFromSuccess(operation);
        this.#finish(operation);
        return;
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
    }
    if (reply === null) this.#handle(operation, 'unknown', null, 'an answer that this client does not understand');
    else this.#handle(operation, failureKindOf(reply), reply, reply.message);
  }

  /** The attempt has no answer: the connection broke, or could not be made. */
  failed(operation: Operation, kind: 'connectionLost' | 'unreachable', message: string): void {
    if (operation.state !== 'sent') return;
    operation.written = false;
    this.#handle(operation, kind, null, message);
  }

  /** A store cannot be reached: others are asked first for a while. To be called once, before its operations fail. */
  storeLost(storeId: number): void {
    this.#stores.lost(storeId, this.#runtime.nowMs());
  }

  storeReached(storeId: number): void {
    this.#stores.reached(storeId);
  }

  #learnFromSuccess(operation: Operation): void {
    const shard = operation.shard;
    if (shard !== null && operation.consistency <= consistencyLinearizable && shard.leaderStoreId === 0) {
      this.cache.applyLeader(shard.shardId, operation.storeId, shard.term);
    }
  }

  #handle(operation: Operation, kind: FailureKind, reply: ErrorReply | null, message: string): void {
    const { action, certain, code } = retryTable[kind];
    this.#failures[kind] = (this.#failures[kind] ?? 0) + 1;
    operation.lastFailure = { kind, storeId: operation.storeId, message };
    if (!certain) operation.maybeApplied = true;
    this.#learn(operation, kind, reply);
    switch (action) {
      case 'fail':
        this.#fail(operation, finalError(operation, code, reply, message));
        return;
      case 'redirect':
        if (this.#mayGoOnAtOnce(operation, kind)) this.#dispatch(operation);
        else this.#rest(operation, 0, this.#namesStranger(operation, reply));
        return;
      case 'refresh':
        if (this.#mayGoOnAtOnce(operation, kind)) this.#dispatch(operation);
        else if (operation.attemptsSincePause <= redirectsMax && reply !== null) this.#lookUp(operation);
        else this.#rest(operation, 0, true);
        return;
      case 'backOff':
      case 'rotate':
        if (reply?.detail?.$case !== 'serverIsBusy') this.#rest(operation, 0, false);
        else if (this.#load.mayRetry(operation, reply.detail.value, this.#runtime.nowMs())) {
          this.#rest(operation, reply.detail.value.retryAfterMs, false);
        } else this.#fail(operation, busyError(operation, reply.detail.value));
    }
  }

  /** Takes what a failure teaches into the cache. */
  #learn(operation: Operation, kind: FailureKind, reply: ErrorReply | null): void {
    const shard = operation.shard;
    if (shard === null) return;
    const detail = reply?.detail;
    if (detail?.$case === 'notLeader' || detail?.$case === 'undetermined') {
      this.cache.denyLeader(shard.shardId, operation.storeId);
      const leader = detail.value.leaderStoreId;
      const term = detail.$case === 'notLeader' ? detail.value.term : shard.term;
      if (leader !== operation.storeId) this.cache.applyLeader(shard.shardId, leader, term);
    } else if (detail?.$case === 'epochNotMatch') {
      for (const current of detail.value.currentShards) this.#displaced(this.cache.applyShard(current));
    } else if (detail?.$case === 'keyNotInShard') {
      this.#displaced([this.cache.forget(shard.shardId)]);
    } else if (retryTable[kind].action === 'refresh') {
      this.cache.denyLeader(shard.shardId, operation.storeId);
    }
  }

  /** True when the failure taught something that makes another attempt worth while now. */
  #mayGoOnAtOnce(operation: Operation, kind: FailureKind): boolean {
    if (operation.attemptsSincePause > redirectsMax) return false;
    const asked = operation.shard;
    const now = operation.locate(this.cache);
    if (now === null || asked === null) return true;
    if (now.shardId !== asked.shardId || now.version !== asked.version || now.confVer !== asked.confVer) return true;
    const nowMs = this.#runtime.nowMs();
    if (kind === 'connectionLost' || kind === 'unreachable') return this.#stores.hasOther(now, operation, nowMs);
    const leader = now.leaderStoreId;
    return leader !== 0 && leader !== operation.storeId && !this.#stores.isSuspect(leader, nowMs);
  }

  /** True when the answer names a leader that is not among the replicas that are known: the route is old. */
  #namesStranger(operation: Operation, reply: ErrorReply | null): boolean {
    const named = reply?.detail?.$case === 'notLeader' ? reply.detail.value.leaderStoreId : 0;
    return named !== 0 && operation.shard?.replicas.some((r) => r.storeId === named) === false;
  }

  /** A pause, then another attempt; with a fresh route if that is wanted. */
  #rest(operation: Operation, atLeastMs: number, wantsLookUp: boolean): void {
    const pauseMs = backoffMs(operation.pauses, this.#runtime.random(), atLeastMs);
    operation.pauses++;
    operation.attemptsSincePause = 0;
    operation.wantsLookUp = wantsLookUp;
    operation.state = 'resting';
    this.#wheel.remove(operation);
    this.#wheel.add(operation, Math.min(this.#runtime.nowMs() + pauseMs, operation.deadlineMs));
    // Who a busy store told to come back is part of its queue; who waits for a leader or a route is in nobody's.
    if (atLeastMs > 0) return;
    this.#admission.stepAside(operation);
    this.#letIn();
  }

  #lookUp(operation: Operation): void {
    operation.state = 'routing';
    operation.wantsLookUp = false;
    if (operation instanceof WriteOperation && operation.sequence > 0) this.#place(operation);
    this.#admission.stepAside(operation);
    this.#lookUps.want(operation);
    this.#letIn();
  }

  /** Ends a look-up. Operations whose route is still not known try again after a pause. */
  lookUpDone(routes: readonly ShardRoute[]): void {
    this.applyRoutes(routes);
    this.#afterLookUp('the placement service knows no shard for the key yet');
  }

  /** As lookUpDone, without an answer. The routes known before may still do. */
  lookUpFailed(message: string): void {
    this.#afterLookUp(message);
  }

  #afterLookUp(message: string): void {
    for (const operation of this.#lookUps.done()) {
      if (operation.state !== 'routing') continue;
      if (operation.locate(this.cache) !== null) this.#dispatch(operation);
      else {
        operation.lastFailure = { kind: 'placementUnavailable', storeId: 0, message };
        this.#rest(operation, 0, false);
      }
    }
    this.#lookUps.goOn();
  }

  /** Takes routes that were looked up or pushed. */
  applyRoutes(routes: readonly ShardRoute[]): void {
    for (const route of routes) this.#displaced(this.cache.applyRoute(route));
  }

  /** Ranges changed: the writes concerned belong to other shards now, and the floors follow them. */
  #displaced(shards: readonly (CachedShard | null)[] | null): void {
    if (shards === null) return;
    const shardIds = shards.flatMap((s) => (s === null ? [] : [s.shardId]));
    for (const write of this.session.displace(shardIds)) {
      if (write instanceof WriteOperation) this.#place(write);
    }
  }

  #place(write: WriteOperation): void {
    const shardIds = [write.key, ...write.moreKeys].map((key) => this.cache.find(key)?.shardId ?? null);
    this.session.placeAmong(write, shardIds);
  }

  /** Lets time pass: resumes what has rested, ends what is past its deadline. */
  advance(): void {
    const nowMs = this.#runtime.nowMs();
    this.#wheel.advance(nowMs, (operation) => {
      if (nowMs >= operation.deadlineMs) {
        this.#load.expired(operation, nowMs);
        this.#fail(operation, deadlineError(operation));
        return;
      }
      this.#wheel.add(operation, operation.deadlineMs);
      if (operation.state !== 'resting') return;
      if (operation.wantsLookUp) this.#lookUp(operation);
      else this.#dispatch(operation);
    });
  }

  /** The caller gives up. */
  abort(operation: Operation, reason: unknown): void {
    if (!operation.done) this.#fail(operation, givenUpError(operation, 'ABORTED', 'aborted by the caller', reason));
  }

  /** Fails everything that is not done and takes nothing more. */
  close(): void {
    this.#closed = true;
    for (const operation of this.#wheel.clear()) {
      operation.reject(givenUpError(operation, 'CLIENT_CLOSED', 'the client was closed', undefined));
      operation.state = 'done';
      operation.detach?.();
    }
  }

  #fail(operation: Operation, error: SkerryError): void {
    operation.reject(error);
    this.#finish(operation);
  }

  #finish(operation: Operation): void {
    if (operation.written) this.#port.withdraw(operation.storeId, operation);
    operation.state = 'done';
    operation.detach?.();
    this.#wheel.remove(operation);
    this.#lookUps.forget(operation);
    if (operation instanceof WriteOperation) this.session.remove(operation);
    this.#admission.leave(operation);
    this.#letIn();
  }

  /** Begins what waits as far as there is room; what is past its time ends instead. */
  #letIn(): void {
    if (this.#lettingIn) return;
    this.#lettingIn = true;
    const nowMs = this.#runtime.nowMs();
    for (let next = this.#admission.next(); next !== null; next = this.#admission.next()) {
      if (this.#endsTooLate(next, nowMs)) continue;
      this.#begin(next);
    }
    this.#lettingIn = false;
    if (this.#admission.waiting === 0) this.#load.waitsNoMore(nowMs);
  }
}
