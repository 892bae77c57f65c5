import { encodeKey } from '../base/encoded_key.js';
import type { Runtime, TimerHandle } from '../base/runtime.js';
import type { Keyspace } from '../gen/skerry/v1/meta.js';
import type { Dial, StreamDial } from '../rpc/channel.js';
import { SkerryError } from './errors.js';
import { placementCallTimeoutMs, timeoutMsDefault, wheelTickMs } from './limits.js';
import type { Operation } from './operation.js';
import { PlacementClient } from './placement_client.js';
import type { RouterLimits, RouterPort, RouterStats } from './router.js';
import { Router } from './router.js';
import type { StoreTraffic } from './store_pool.js';
import { StorePool } from './store_pool.js';

export interface CoreOptions {
  readonly placement: readonly string[];
  readonly keyspace: string;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly limits: RouterLimits;
  readonly runtime: Runtime;
  /** How placement is reached. */
  readonly dial: Dial;
  /** How stores are. */
  readonly dialStore: StreamDial;
}

export interface ClientStats extends RouterStats {
  readonly stores: readonly StoreTraffic[];
}

/**
 * The shell around the router: it does what the router's port is asked, over its channels, and lets the router's time pass.
 * One timer runs while operations are outstanding, none when the client is idle.
 */
export class ClientCore implements RouterPort {
  readonly keyspace: Keyspace;
  readonly timeoutMs: number;
  readonly runtime: Runtime;
  readonly #placement: PlacementClient;
  readonly #router: Router;
  readonly #pool: StorePool;
  #timer: TimerHandle | null = null;
  #closed = false;

  /** Finds the cluster and the keyspace and begins to follow its routes. @throws SkerryError */
  static async connect(options: CoreOptions): Promise<ClientCore> {
    const placement = new PlacementClient(options.placement, options.runtime, options.dial);
    try {
      const deadlineMs = options.runtime.nowMs() + options.connectTimeoutMs;
      await placement.findCluster(deadlineMs);
      const keyspace = await placement.keyspace(options.keyspace, deadlineMs);
      return new ClientCore(options, placement, keyspace);
    } catch (error) {
      placement.close();
      throw error;
    }
  }

  private constructor(options: CoreOptions, placement: PlacementClient, keyspace: Keyspace) {
    this.keyspace = keyspace;
    this.timeoutMs = options.timeoutMs;
    this.runtime = options.runtime;
    this.#placement = placement;
    this.#router = new Router(keyspace.keyspaceId, options.runtime, this, options.limits);
    this.#pool = new StorePool(placement.clusterId, options.runtime, options.dialStore, this.#router);
    placement.watchRoutes(keyspace.keyspaceId, {
      changed: (routes, stores) => {
        this.#pool.learn(stores);
        this.#router.applyRoutes(routes);
      },
    });
  }

  get clusterId(): number {
    return this.#placement.clusterId;
  }

  encodedKey(userKey: Buffer): Buffer {
    return encodeKey(this.keyspace.partitioning, userKey);
  }

  stats(): ClientStats {
    return { ...this.#router.stats(), stores: this.#pool.traffic() };
  }

  /** Sends an operation on its way; it settles its own promise. */
  submit(operation: Operation, signal?: AbortSignal): void {
    if (signal !== undefined) this.followSignal(operation, signal);
    if (operation.done) return;
    this.#router.submit(operation);
    this.#armTimer();
  }

  /** Gives the operation up when the signal says so. */
  followSignal(operation: Operation, signal: AbortSignal): void {
    if (signal.aborted) {
      operation.state = 'done';
      operation.reject(new SkerryError('ABORTED', 'aborted by the caller', { cause: signal.reason }));
      return;
    }
    const onAbort = (): void => this.#router.abort(operation, signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    operation.detach = () => signal.removeEventListener('abort', onAbort);
  }

  #armTimer(): void {
    if (this.#timer !== null || this.#closed || this.#router.pending === 0) return;
    this.#timer = this.runtime.after(wheelTickMs, () => {
      this.#timer = null;
      this.#router.advance();
      this.#armTimer();
    });
  }

  send(storeId: number, operation: Operation): void {
    this.#pool.send(storeId, operation);
  }

  nextTurn(fn: () => void): void {
    this.runtime.nextTurn(fn);
  }

  withdraw(storeId: number, operation: Operation): void {
    this.#pool.withdraw(storeId, operation);
  }

  lookUp(startKey: Buffer, endKey: Buffer): void {
    const deadlineMs = this.runtime.nowMs() + placementCallTimeoutMs;
    this.#placement.listRoutes(this.keyspace.keyspaceId, startKey, endKey, deadlineMs).then(
      ({ routes, stores }) => {
        if (this.#closed) return;
        this.#pool.learn(stores);
        this.#router.lookUpDone(routes);
      },
      (error: unknown) => {
        if (!this.#closed) this.#router.lookUpFailed(error instanceof Error ? error.message : String(error));
      },
    );
  }

  openSession(): void {
    this.#placement.allocateId(this.runtime.nowMs() + timeoutMsDefault).then(
      (id) => {
        if (!this.#closed) this.#router.sessionOpened(id);
      },
      (error: unknown) => {
        if (this.#closed) return;
        // While writes wait for it the service may come back; their deadlines end the wait.
        if (error instanceof SkerryError && error.retryable) this.openSession();
        else this.#router.sessionRefused(new SkerryError('INTERNAL', 'no session could be opened', { cause: error }));
      },
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#router.close();
    this.#pool.close();
    this.#placement.close();
  }
}
