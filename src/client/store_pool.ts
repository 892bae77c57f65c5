import type { Runtime } from '../base/runtime.js';
import type { Store } from '../gen/skerry/v1/meta.js';
import type { StreamDial } from '../rpc/channel.js';
import type { Operation } from './operation.js';
import type { Router } from './router.js';
import { StoreConnection } from './store_connection.js';

export interface StoreTraffic {
  readonly storeId: number;
  readonly address: string;
  readonly frames: number;
  readonly operations: number;
  readonly bytes: number;
}

/** The connections to all stores that were needed so far, by the addresses that the placement service gave last. */
export class StorePool {
  readonly #clusterId: number;
  readonly #runtime: Runtime;
  readonly #dial: StreamDial;
  readonly #router: Router;
  readonly #addresses = new Map<number, string>();
  readonly #connections = new Map<number, StoreConnection>();

  constructor(clusterId: number, runtime: Runtime, dial: StreamDial, router: Router) {
    this.#clusterId = clusterId;
    this.#runtime = runtime;
    this.#dial = dial;
    this.#router = router;
  }

  /** Learns addresses. A store that moved is asked at its new address from now on. */
  learn(stores: readonly Store[]): void {
    for (const { storeId, address } of stores) {
      if (address === '') continue;
      this.#addresses.set(storeId, address);
      const connection = this.#connections.get(storeId);
      if (connection !== undefined && connection.address !== address) {
        this.#connections.delete(storeId);
        this.#router.storeReached(storeId);
        connection.close();
      }
    }
  }

  send(storeId: number, operation: Operation): void {
    const connection = this.#connection(storeId);
    if (connection !== null) connection.send(operation);
    else {
      // The router is not called from within its own call.
      this.#runtime.nextTurn(() => {
        this.#router.storeLost(storeId);
        this.#router.failed(operation, 'unreachable', `the address of store ${storeId} is not known`);
      });
    }
  }

  withdraw(storeId: number, operation: Operation): void {
    this.#connections.get(storeId)?.withdraw(operation);
  }

  traffic(): StoreTraffic[] {
    return [...this.#connections.values()].map((c) => ({ storeId: c.storeId, address: c.address, ...c.stats }));
  }

  #connection(storeId: number): StoreConnection | null {
    const known = this.#connections.get(storeId);
    if (known !== undefined) return known;
    const address = this.#addresses.get(storeId);
    if (address === undefined) return null;
    const target = { clusterId: this.#clusterId, storeId, address };
    const connection = new StoreConnection(target, this.#dial(address), this.#runtime, this.#router);
    this.#connections.set(storeId, connection);
    return connection;
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }
}
