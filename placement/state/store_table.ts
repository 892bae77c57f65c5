import type { TypedError } from '../../src/base/wire_errors.js';
import { failedPrecondition, serverIsBusy, storeNotFound } from '../../src/base/wire_errors.js';
import { storesMax } from '../limits.js';
import type { StoreRecord, StoredStoreState } from './records.js';

/** The stores that ever were, found by id, by data directory and by address. */
export class StoreTable {
  private readonly byId = new Map<number, StoreRecord>();
  private readonly idByDirectory = new Map<string, number>();
  private readonly idByAddress = new Map<string, number>();

  get(storeId: number): StoreRecord | undefined {
    return this.byId.get(storeId);
  }

  all(): IterableIterator<StoreRecord> {
    return this.byId.values();
  }

  atAddress(address: string): StoreRecord | undefined {
    return this.byId.get(this.idByAddress.get(address) ?? 0);
  }

  /** Which store registers: by its id, or by its directory if it names none (0). Undefined: a new one. */
  registrant(storeId: number, directoryId: string): StoreRecord | undefined {
    return this.byId.get(storeId === 0 ? (this.idByDirectory.get(directoryId) ?? 0) : storeId);
  }

  /** Null: the store may register. */
  refusalOfRegistration(storeId: number, directoryId: string): TypedError | null {
    const before = this.registrant(storeId, directoryId);
    if (before === undefined) {
      if (storeId !== 0) return storeNotFound(storeId);
      return this.byId.size >= storesMax ? serverIsBusy('placement.stores', 60_000) : null;
    }
    if (before.state === 'tombstone') return removed(before.storeId);
    if (before.directoryId === directoryId) return null;
    const message = `store ${before.storeId} is registered with another data directory`;
    return failedPrecondition('DIRECTORY_MISMATCH', message);
  }

  /** Null: the store may be brought into the state. isEmpty: no shard has a replica on it. */
  refusalOfState(store: StoreRecord, state: StoredStoreState, isEmpty: boolean): TypedError | null {
    if (store.state === state) return null;
    if (store.state === 'tombstone') return removed(store.storeId);
    if (state !== 'tombstone' || (store.state === 'draining' && isEmpty)) return null;
    return failedPrecondition('STORE_NOT_EMPTY', `store ${store.storeId} must be drained before it is removed`);
  }

  put(store: StoreRecord): void {
    const before = this.byId.get(store.storeId);
    if (before !== undefined && this.idByAddress.get(before.address) === store.storeId) {
      this.idByAddress.delete(before.address);
    }
    if (store.address !== '') this.idByAddress.set(store.address, store.storeId);
    this.byId.set(store.storeId, store);
    this.idByDirectory.set(store.directoryId, store.storeId);
  }
}

function removed(storeId: number): TypedError {
  return failedPrecondition('STORE_TOMBSTONE', `store ${storeId} was removed from the cluster`);
}
